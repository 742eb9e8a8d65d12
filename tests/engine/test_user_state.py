"""``apply_in_arrow_with_state``: state, removal and timeouts, as in Structured Streaming."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.engine.stateful import user_state
from orchestration.engine.stateful.job import LateRows
from orchestration.errors import DeclarationError, SchemaError
from orchestration.streams.operators import ApplyWithState, WithWatermark
from orchestration.streams.plan import Chain, SourceRoot
from tests.engine.join_support import JoinQuery
from tests.engine.stateful_support import schema

ROWS = schema(k="VARCHAR", v="BIGINT", ts="TIMESTAMPTZ")
STATE = schema(total="BIGINT", calls="BIGINT")
OUTPUT = schema(k="VARCHAR", total="BIGINT", timed_out="BOOLEAN")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plan(function, timeout="event_time", keys=("k",), delay=10):
    apply = ApplyWithState("apply_1", function, keys, STATE, OUTPUT, timeout, "ts")
    return Chain(
        SourceRoot("source", ROWS), (WithWatermark("wm_1", "ts", delay * 1_000_000), apply)
    )


def given_row(key, total, *, timed_out=False):
    columns = {"k": [key["k"]], "total": [total], "timed_out": [timed_out]}
    return pa.table(columns, schema=OUTPUT)


def total_until_silence(key, rows, state):
    """A running total that is given and forgotten when nothing came for 5 seconds."""
    before = state.get() or {"total": 0, "calls": 0}
    if state.has_timed_out:
        assert rows.num_rows == 0
        assert rows.schema.equals(ROWS)
        state.remove()
        return given_row(key, before["total"], timed_out=True)
    total = before["total"] + (pc.sum(rows["v"]).as_py() or 0)
    state.update({"total": total, "calls": before["calls"] + 1})
    last = max(pc.max(rows["ts"]).as_py(), state.watermark)
    state.set_timeout_timestamp(last + timedelta(seconds=5))
    return None


def rows(*items):
    return [{"k": key, "v": value, "ts": time} for key, value, time in items]


def shown(found):
    return sorted((row["k"] or "", row["total"], row["timed_out"]) for row in found)


def counts(query):
    (found,) = query.output.operators
    return found["rows_total"], found["rows_removed"], found["rows_dropped_by_watermark"]


def test_state_goes_from_batch_to_batch(tmp_path):
    def totals(key, found, state):
        before = state.get() or {"total": 0}
        assert state.exists == (before != {"total": 0})
        total = before["total"] + pc.sum(found["v"]).as_py()
        state.update({"total": total})
        return given_row(key, total)

    query = JoinQuery(tmp_path, plan(totals, None))
    assert shown(query.batch(source=rows(("a", 1, 1), ("b", 2, 1), ("a", 3, 1)))) == [
        ("a", 4, False),
        ("b", 2, False),
    ]
    for number in range(20):  # over several merges
        assert shown(query.batch(source=rows(("a", 1, 1)))) == [("a", 5 + number, False)]
    assert counts(query) == (2, 0, 0)
    assert shown(query.batch(source=rows((None, 7, 1)))) == [("", 7, False)]
    assert shown(query.batch(source=rows((None, 1, 1)))) == [("", 8, False)]


def test_rows_of_a_key_come_in_their_order_of_arrival(tmp_path):
    seen = []

    def watch(key, found, state):
        seen.append((key["k"], found["v"].to_pylist()))

    query = JoinQuery(tmp_path, plan(watch, None))
    query.batch(source=rows(("a", 3, 1), ("b", 1, 1), ("a", 1, 1), ("a", 2, 1)))
    assert seen == [("a", [3, 1, 2]), ("b", [1])]


def test_a_timeout_fires_once_the_watermark_is_later(tmp_path):
    query = JoinQuery(tmp_path, plan(total_until_silence))
    assert query.batch(source=rows(("a", 1, 10), ("b", 1, 12))) == []
    assert counts(query) == (2, 0, 0)
    assert query.output.operators[0]["next_close_us"] == 15_000_001
    query.batch(source=rows(("c", 1, 25)))
    assert query.batch() == []  # the watermark is 15: not later than a's timeout
    query.batch(source=rows(("c", 1, 26)))
    assert shown(query.batch()) == [("a", 1, True)]
    assert counts(query) == (2, 1, 0)
    assert query.batch() == []


def test_rows_of_a_key_come_before_its_timeout_and_move_it(tmp_path):
    query = JoinQuery(tmp_path, plan(total_until_silence))
    query.batch(source=rows(("a", 1, 10), ("c", 1, 40)))
    # This batch's watermark is 30, past a's timeout at 15; but a has a row.
    assert query.batch(source=rows(("a", 2, 29))) == []
    query.batch(source=rows(("c", 1, 60)))
    assert shown(query.batch()) == [("a", 3, True), ("c", 2, True)][:1]


def test_late_rows_are_dropped_with_timeouts_only(tmp_path):
    query = JoinQuery(tmp_path / "with", plan(total_until_silence))
    query.batch(source=rows(("c", 1, 40)))
    query.batch()
    query.batch(source=rows(("a", 1, 30), ("a", 2, 31)))
    assert counts(query)[2] == 1
    assert len(query.output.late) == 1

    def total(key, found, state):
        return given_row(key, pc.sum(found["v"]).as_py())

    query = JoinQuery(tmp_path / "without", plan(total, None))
    query.batch(source=rows(("c", 1, 40)))
    query.batch()
    assert shown(query.batch(source=rows(("a", 1, 30)))) == [("a", 1, False)]


def test_a_timeout_is_to_be_set_anew_in_every_call(tmp_path):
    def once(key, found, state):
        if state.has_timed_out:
            return given_row(key, 0, timed_out=True)
        if not state.exists:
            state.set_timeout_timestamp(20)
        state.update({"total": 1})
        return None

    query = JoinQuery(tmp_path, plan(once))
    query.batch(source=rows(("a", 1, 10)))
    query.batch(source=rows(("a", 1, 11), ("z", 1, 60)))
    assert query.batch() == [{"k": "z", "total": 0, "timed_out": True}]


def test_a_timeout_without_a_state(tmp_path):
    def wait(key, found, state):
        if state.has_timed_out:
            assert not state.exists
            return given_row(key, 0, timed_out=True)
        state.set_timeout_timestamp(found["ts"][0].as_py())
        return None

    query = JoinQuery(tmp_path, plan(wait))
    query.batch(source=rows(("a", 1, 10), ("z", 1, 30)))
    assert counts(query) == (2, 0, 0)
    assert shown(query.batch()) == [("a", 0, True)]
    assert counts(query) == (1, 1, 0)


def test_removed_keys_leave_no_trace_in_the_end(tmp_path):
    def come_and_go(key, found, state):
        state.remove() if state.exists else state.update({"total": 1})

    query = JoinQuery(tmp_path, plan(come_and_go, None))
    for number in range(4):
        query.batch(source=rows((str(number), 1, 1)))
        query.batch(source=rows((str(number), 1, 1)))
    assert counts(query)[0] == 0
    assert sum(run.rows for run in query.state.operators["apply_1"].runs) == 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda s: s.update({"other": 1}), DeclarationError, "no columns of the state"),
        (lambda s: s.update([1]), DeclarationError, "a state is a dict"),
        (lambda s: s.update({"total": "x"}), SchemaError, "state_schema"),
        (lambda s: s.update({"total": 1.5}), SchemaError, "state_schema"),
        (lambda s: s.set_timeout_timestamp(29.9), DeclarationError, "watermark is 1970"),
        (
            lambda s: s.set_timeout_timestamp(datetime(1970, 1, 1)),  # noqa: DTZ001
            DeclarationError,
            "time zone",
        ),
    ],
)
def test_wrong_states_are_told(tmp_path, change, error, words):
    query = JoinQuery(
        tmp_path, plan(lambda key, found, state: change(state) if found["v"][0].as_py() else None)
    )
    query.batch(source=rows(("z", 0, 40)))
    with pytest.raises(error, match=words):
        query.batch(source=rows(("a", 1, 40)))


def test_timeouts_need_their_declaration(tmp_path):
    query = JoinQuery(
        tmp_path, plan(lambda key, found, state: state.set_timeout_timestamp(99), None)
    )
    with pytest.raises(DeclarationError, match='timeout="event_time"'):
        query.batch(source=rows(("a", 1, 1)))


def test_a_wrong_result_is_told(tmp_path):
    query = JoinQuery(tmp_path, plan(lambda key, found, state: found, None))
    with pytest.raises(
        SchemaError, match=r"apply_in_arrow_with_state: <lambda> returned the columns"
    ):
        query.batch(source=rows(("a", 1, 1)))


def test_pages_are_cut_between_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(user_state, "_PAGE_ROWS", 3)
    monkeypatch.setattr(user_state, "_PAGE_GROUPS", 4)

    def count(key, found, state):
        assert set(found["k"].to_pylist()) == {key["k"]}
        state.update({"total": found.num_rows})
        return given_row(key, found.num_rows)

    query = JoinQuery(tmp_path, plan(count, None))
    given_rows = [(f"k{number % 7}", 1, 1) for number in range(33)]
    expected = [(f"k{n}", sum(item[0] == f"k{n}" for item in given_rows), False) for n in range(7)]
    assert shown(query.batch(source=rows(*given_rows))) == expected
    assert counts(query) == (7, 0, 0)


class Model:
    """The same rules, one key after the other."""

    def __init__(self):
        self.state = {}  # key to [total, timeout]

    def batch(self, items, late, due):
        given, dropped = [], 0
        arrived = {}
        for key, value, time in items:
            if time <= late:
                dropped += 1
            else:
                arrived.setdefault(key, []).append((value, time))
        for key, found in arrived.items():
            total = self.state.get(key, [0])[0] + sum(value for value, _ in found)
            self.state[key] = [total, max(*(time for _, time in found), due) + 5]
        removed = 0
        for key, (total, timeout) in list(self.state.items()):
            if key not in arrived and timeout < due:
                given.append((key, total, True))
                del self.state[key]
                removed += 1
        return sorted(given), (len(self.state), removed, dropped)


BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9), st.integers(1, 99)), max_size=5),
    min_size=1,
    max_size=14,
)


@given(batches=BATCHES)
@settings(max_examples=15, deadline=None)
def test_batches_follow_the_rules(batches):
    with TemporaryDirectory() as directory:
        query, model = JoinQuery(Path(directory), plan(total_until_silence)), Model()
        for items in [*batches, []]:
            found = shown(query.batch(source=rows(*items)))
            expected, numbers = model.batch(items, query.late / 1000, query.watermark / 1000)
            assert found == expected
            assert counts(query) == numbers


def test_a_full_reprocess_calls_for_timeouts_too(tmp_path):
    query = JoinQuery(tmp_path, plan(total_until_silence), full=LateRows())
    query.watermark = 20_000
    found = query.batch(source=rows(("a", 1, 10), ("a", 2, 11), ("b", 1, 19)))
    assert shown(found) == [("a", 3, True)]
