"""Incremental = full for stateful queries: without the late rows, cut at the watermark."""

import pytest

from orchestration.streams.windows import session_window, window, window_time
from tests.support.twins import AGGREGATES, Twins, both, running, stream, timed, windowed

COUNTED = {"k": "VARCHAR", "n": "BIGINT"}

#: Name to: number of sources, output mode, whether it is run batch by batch, and the stream.
QUERIES = {
    "windows, append": (1, "append", False, lambda s: windowed(timed(s), "k")),
    "windows, update": (1, "update", False, lambda s: windowed(timed(s), "k")),
    "windows, complete": (1, "complete", False, lambda s: windowed(timed(s), "k")),
    "sliding windows": (1, "append", False,
        lambda s: timed(s).group_by(window("ts", "10 seconds", "4 seconds")).agg(**AGGREGATES)),
    "raw event time": (1, "append", False,
        lambda s: timed(s).group_by("ts", "k").agg(n="count(*)", mean="avg(x)")),
    "running totals": (1, "update", False, lambda s: stream(s).group_by("k").agg(**AGGREGATES)),
    "one total": (1, "complete", False, lambda s: stream(s).agg(n="count(*)", mean="avg(x)")),
    "top, ordered": (1, "complete", False,
        lambda s: stream(s).group_by("v").agg(n="count(*)").order_by("n DESC", "v").limit(3)),
    "sessions, append": (1, "append", True,
        lambda s: timed(s).group_by(session_window("ts", "4 seconds"), "k").agg(**AGGREGATES)),
    "sessions, complete": (1, "complete", False,
        lambda s: timed(s).group_by(session_window("ts", "4 seconds"), "k")
        .agg(n="count(*)", mean="avg(x)", most="max(v)")),
    "sessions with lists": (1, "complete", True,
        lambda s: timed(s).group_by(session_window("ts", "4 seconds"), "k").agg(**AGGREGATES)),
    "distinct with time": (1, "append", False, lambda s: timed(s).drop_duplicates("ts", "k")),
    "distinct for ever": (1, "append", False, lambda s: stream(s).drop_duplicates("k", "v")),
    "distinct within": (1, "append", True,
        lambda s: timed(s).drop_duplicates_within_watermark("k", "v")),
    "inner join": (2, "append", False, lambda a, b: both(a, b, "inner")),
    "left join": (2, "append", False, lambda a, b: both(a, b, "left")),
    "right join": (2, "append", False, lambda a, b: both(a, b, "right")),
    "full join": (2, "append", False, lambda a, b: both(a, b, "full")),
    "semi join": (2, "append", False, lambda a, b: both(a, b, "semi")),
    "union, counted": (2, "append", False,
        lambda a, b: windowed(timed(a).union(timed(b, "3 seconds")), "k", n="count(*)", m="avg(x)")),
    "union, by arrival": (2, "append", True,
        lambda a, b: windowed(timed(a).union(timed(b)), "k", values="list(v)")),
    "windows of windows": (1, "append", False,
        lambda s: windowed(timed(s), "k", n="count(*)", mean="avg(x)")
        .group_by(window(window_time(), "10 seconds")).agg(n="sum(n)", mean="avg(mean)")),
    "distinct, then counted": (1, "append", False,
        lambda s: windowed(timed(s).drop_duplicates("ts", "k"), n="count(*)")),
    "joined, then counted": (2, "append", False,
        lambda a, b: windowed(both(a, b, "inner"), n="count(*)", mean="avg(x)")),
    "the first rows": (1, "append", False, lambda s: stream(s).limit(7)),
    "far ahead set aside": (1, "append", True,
        lambda s: windowed(timed(s, max_future="100 days"), n="count(*)")),
    "a function with state": (1, "append", True,
        lambda s: stream(s).apply_in_arrow_with_state(running, ["k"], {"n": "BIGINT"}, COUNTED)),
    "the time of the batch": (1, "append", True,
        lambda s: windowed(timed(s), n="count(*)").select("*", at="now()")),
}  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", QUERIES)
def test_every_operator_equals_its_twin(name, seed):
    sources, mode, replayed, declare = QUERIES[name]
    twins = Twins(declare, sources, mode).feed(f"{name} {seed}")
    done, found = twins.prove()
    assert (found.outcome, found.reason) == ("identical", found.reason)
    assert found.full_rows == len(twins.test.table()) > 0
    assert done.replayed is replayed
    said = "batch by batch" if replayed else "in one pass"
    assert any(note.startswith(f"recomputed {said}") for note in found.notes)
    if twins.late:
        assert any(note.startswith(f"{twins.late} late row") for note in found.notes)
