"""Semantics §4 as a table."""

from __future__ import annotations

import pyarrow as pa
import pytest

from orchestration.errors import OutputModeError
from orchestration.streams.builder import stream
from orchestration.streams.modes import check_output_mode, needs_no_data_batch, update_keys
from orchestration.streams.schema import parse_schema
from orchestration.streams.static import static
from orchestration.streams.windows import session_window, window, window_time

EVENTS = {"ts": "TIMESTAMPTZ", "k": "VARCHAR", "v": "BIGINT"}
OUT = {"k": "VARCHAR", "n": "BIGINT"}


def same(rows: pa.Table) -> pa.Table:
    return rows


def apply(key, rows, state):
    return rows


@pytest.fixture
def make(make_source):
    """Query by name: what the table below speaks of."""
    raw = stream(make_source(parse_schema(EVENTS)))
    s = raw.with_watermark("ts", "10 seconds")
    other = stream(
        make_source(parse_schema({"rt": "TIMESTAMPTZ", "k2": "VARCHAR"}), name="other")
    ).with_watermark("rt", "10 seconds")
    more = stream(make_source(parse_schema(EVENTS), name="more")).with_watermark("ts", "5 seconds")
    pages = static("pages", schema={"k": "VARCHAR", "owner": "VARCHAR"})
    near = "k = k2 AND rt BETWEEN ts AND ts + INTERVAL 5 SECONDS"
    w = window("ts", "5 seconds")
    counted = s.group_by(w, "k").agg(n="count(*)")
    unmarked = raw.group_by(w, "k").agg(n="count(*)")
    return {
        "plain": raw.where("v > 0").select("k", "v"),
        "map": raw.map_batches(same, OUT),
        "watermark only": s.where("v > 0"),
        "static join": s.join(pages, on="k", how="left"),
        "union": s.union(more),
        "window": counted,
        "sliding": s.group_by(window("ts", "10 seconds", slide="5 seconds")).agg(n="count(*)"),
        "raw time": s.group_by("ts").agg(n="count(*)"),
        "renamed time": s.select("k", at="ts").group_by(window("at", "5 s")).agg(n="count(*)"),
        "union window": s.union(more).group_by(w).agg(n="count(*)"),
        "computed time": s.select("k", at="ts + INTERVAL 1 SECOND")
        .group_by(window("at", "5 s"))
        .agg(n="count(*)"),
        "unmarked window": unmarked,
        "no time": s.group_by("k").agg(n="sum(v)"),
        "global": raw.agg(n="sum(v)"),
        "distinct": raw.group_by("k").agg(n="count(distinct v)"),
        "session": s.group_by(session_window("ts", "10 s"), "k").agg(n="count(*)"),
        "dedup": raw.drop_duplicates("k"),
        "dedup time": s.drop_duplicates("k", "ts"),
        "dedup late": s.drop_duplicates("k"),
        "dedup within": s.drop_duplicates_within_watermark("k"),
        "inner": s.join(other, on=near),
        "inner unbounded": s.join(other, on="k = k2"),
        "left": s.join(other, on=near, how="left"),
        "full": s.join(other, on=near, how="full"),
        "semi": s.join(other, on=near, how="semi"),
        "limit": raw.limit(3),
        "limit after": counted.limit(3),
        "limit before": s.limit(3).group_by(w).agg(n="count(*)"),
        "order": raw.order_by("v"),
        "order after": counted.order_by("n DESC").limit(3),
        "order before": s.order_by("v").group_by(w).agg(n="count(*)"),
        "twice": counted.group_by(window(window_time(), "10 seconds")).agg(n="sum(n)"),
        "dedup then window": s.drop_duplicates("v", "ts").group_by(w).agg(n="count(*)"),
        "window then dedup": counted.drop_duplicates("k", "window_end"),
        "join then window": s.join(other, on=near).group_by(w).agg(n="count(*)"),
        "window then join": counted.join(
            other.group_by(window("rt", "5 seconds"), "k2").agg(m="count(*)").select(
                "window_start", "window_end", k="k2", m="m"
            ),
            on=["window_start", "window_end", "k"],
        ),
        "window then static": counted.join(pages, on="k"),
        "union of windows": counted.union(more.group_by(w, "k").agg(n="count(*)")),
        "apply": raw.apply_in_arrow_with_state(apply, "k", OUT, OUT),
        "apply timeout": s.apply_in_arrow_with_state(apply, "k", OUT, OUT, "event_time"),
        "window then apply": counted.apply_in_arrow_with_state(apply, "k", OUT, OUT),
    }  # fmt: skip


YES, ERR = "yes", "error"
TABLE = [
    # query, append, update, complete
    ("plain", YES, YES, ERR),
    ("map", YES, YES, ERR),
    ("watermark only", YES, YES, ERR),
    ("static join", YES, YES, ERR),
    ("union", YES, YES, ERR),
    ("window", YES, YES, YES),
    ("sliding", YES, YES, YES),
    ("raw time", YES, YES, YES),
    ("renamed time", YES, YES, YES),
    ("union window", YES, YES, YES),
    ("computed time", ERR, YES, YES),
    ("unmarked window", ERR, YES, YES),
    ("no time", ERR, YES, YES),
    ("global", ERR, YES, YES),
    ("distinct", ERR, YES, YES),
    ("session", YES, ERR, YES),
    ("dedup", YES, YES, ERR),
    ("dedup time", YES, YES, ERR),
    ("dedup late", YES, YES, ERR),
    ("dedup within", YES, YES, ERR),
    ("inner", YES, YES, ERR),
    ("inner unbounded", YES, YES, ERR),
    ("left", YES, ERR, ERR),
    ("full", YES, ERR, ERR),
    ("semi", YES, ERR, ERR),
    ("limit", YES, ERR, ERR),
    ("limit after", YES, ERR, YES),
    ("limit before", YES, ERR, ERR),
    ("order", ERR, ERR, ERR),
    ("order after", ERR, ERR, YES),
    ("order before", ERR, ERR, ERR),
    ("twice", YES, ERR, ERR),
    ("dedup then window", YES, YES, ERR),
    ("window then dedup", YES, ERR, ERR),
    ("join then window", YES, YES, ERR),
    ("window then join", YES, ERR, ERR),
    ("window then static", YES, ERR, YES),
    ("union of windows", YES, ERR, ERR),
    ("apply", YES, YES, ERR),
    ("apply timeout", YES, YES, ERR),
    ("window then apply", YES, ERR, ERR),
]


@pytest.mark.parametrize(
    ("query", "mode", "expected"),
    [
        (name, mode, expected)
        for name, *row in TABLE
        for mode, expected in zip(("append", "update", "complete"), row, strict=True)
    ],
)
def test_what_each_mode_can_hold(make, query, mode, expected):
    plan = make[query].plan()
    if expected == YES:
        check_output_mode(plan, mode)
        return
    with pytest.raises(OutputModeError) as caught:
        check_output_mode(plan, mode)
    assert f'output_mode="{mode}"' in str(caught.value)
    assert caught.value.remedy


def test_every_query_is_in_the_table(make):
    assert set(make) == {name for name, *_ in TABLE}


@pytest.mark.parametrize(
    ("query", "mode", "says", "remedy"),
    [
        ("plain", "complete", "a query without aggregation", 'output_mode="append"'),
        ("dedup", "complete", "drop_duplicates", 'output_mode="update"'),
        ("unmarked window", "append", "without a watermarked key", "on the window's column"),
        ("no time", "append", "without a watermarked key", 'window("ts", "5 minutes")'),
        ("session", "update", "session aggregation", '"complete"'),
        ("left", "update", "left join of two streams", 'output_mode="append"'),
        ("inner", "complete", "join of two streams", 'output_mode="append"'),
        ("limit", "update", "limit", '"append"'),
        ("limit", "complete", "limit", "after agg"),
        ("order", "append", "order_by", "order_by after agg"),
        ("twice", "update", "aggregation of an aggregation", 'output_mode="append"'),
        ("window then dedup", "update", "drop_duplicates after an aggregation", "append"),
        ("window then join", "update", "join of two streams after", "append"),
        ("window then apply", "complete", "apply_in_arrow_with_state after", "append"),
        ("window then static", "update", "join with a static table after", "before group_by"),
        ("union of windows", "update", "union after an aggregation", "after the union"),
    ],
)
def test_a_refusal_names_operation_and_remedy(make, query, mode, says, remedy):
    with pytest.raises(OutputModeError) as caught:
        check_output_mode(make[query].plan(), mode)
    assert says in str(caught.value)
    assert remedy in caught.value.remedy


def test_an_unknown_mode_is_refused(make):
    with pytest.raises(OutputModeError, match="there is no such mode") as caught:
        check_output_mode(make["plain"].plan(), "upsert")
    assert "append, update, complete" in caught.value.remedy


@pytest.mark.parametrize(
    ("query", "mode", "says"),
    [
        ("window", "append", ()),
        ("window", "update", ()),
        ("plain", "append", ()),
        ("dedup time", "append", ()),
        ("dedup within", "append", ()),
        ("left", "append", ()),
        ("dedup", "append", ("a key never leaves",)),
        ("dedup late", "append", ('"ts" is not among the keys',)),
        ("inner unbounded", "append", ("left side", "right side")),
        ("no time", "update", ("grows with the number of groups: no key",)),
        ("window", "complete", ("complete mode forgets no group",)),
        ("distinct", "update", ("grows with", "count(DISTINCT v) keeps all values")),
        ("global", "update", ()),
        ("limit after", "complete", ("complete mode", "without order_by")),
        ("order after", "complete", ("complete mode",)),
        ("apply", "append", ("grows with the number of keys",)),
        ("apply timeout", "append", ()),
    ],
)
def test_what_works_but_not_for_ever_is_told(make, query, mode, says):
    found = check_output_mode(make[query].plan(), mode)
    assert len(found) == len(says), found
    for text, part in zip(found, says, strict=True):
        assert part in text


def test_static_tables_alone_have_no_mode():
    made = static("t", schema=EVENTS).group_by("k").agg(n="count(*)").order_by("n").limit(2)
    assert check_output_mode(made.plan(), "append") == ()
    assert not needs_no_data_batch(made.plan(), "append")


@pytest.mark.parametrize(
    ("query", "due"),
    [
        ("plain", False),
        ("watermark only", False),
        ("static join", False),
        ("union", False),
        ("window", True),
        ("raw time", True),
        ("session", True),
        ("no time", True),  # nothing can leave, and yet it runs in Spark
        ("global", False),
        ("unmarked window", False),
        ("dedup", False),
        ("dedup time", True),
        ("dedup late", True),
        ("dedup within", True),
        ("inner", True),
        ("inner unbounded", False),
        ("left", True),
        ("limit", False),
        ("twice", True),
        ("apply", False),
        ("apply timeout", True),
    ],
)
def test_when_a_batch_without_data_is_due(make, query, due):
    plan = make[query].plan()
    assert needs_no_data_batch(plan, "append") is due
    assert needs_no_data_batch(plan, "update") is due
    assert not needs_no_data_batch(plan, "complete")


@pytest.mark.parametrize(
    ("build", "keys"),
    [
        (lambda q: q["plain"], None),
        (lambda q: q["dedup"], None),
        (lambda q: q["inner"], None),
        (lambda q: q["global"], ()),
        (lambda q: q["global"].select(total="n"), ()),
        (lambda q: q["no time"], ("k",)),
        (lambda q: q["window"], ("window_start", "window_end", "k")),
        (lambda q: q["window"].select("n", "k", "window_end"), ("window_end", "k")),
        (lambda q: q["window"].select(a="window_start", b="K", c="n * 2"), ("a", "b")),
        (
            lambda q: q["window"].select("*", x="1").where("x > 0"),
            ("window_start", "window_end", "k"),
        ),
        (lambda q: q["window"].select("*", window_end="now()"), ("window_start", "k")),
    ],
)
def test_update_keys_follow_the_columns(make, build, keys):
    plan = build(make).plan()
    assert update_keys(plan) == keys
    check_output_mode(plan, "update")


@pytest.mark.parametrize(
    ("build", "says", "remedy"),
    [
        (lambda q: q["window"].select("n", "window_end"), 'its key "k"', '.select("k"'),
        (lambda q: q["window"].select("n", "k"), 'its key "window_start"', "window_start"),
        (lambda q: q["no time"].select("n", k="upper(k)"), 'its key "k"', "complete"),
        (lambda q: q["no time"].map_batches(same, OUT), "map_batches after", "before group_by"),
    ],
)
def test_a_lost_key_is_refused_in_update_mode(make, build, says, remedy):
    plan = build(make).plan()
    with pytest.raises(OutputModeError, match=says) as caught:
        check_output_mode(plan, "update")
    assert remedy in caught.value.remedy
    check_output_mode(plan, "complete")


def test_a_condition_on_an_aggregate_is_told_in_update_mode(make):
    having = make["no time"].where("n > 1").plan()
    assert any("keeps the row it had" in text for text in check_output_mode(having, "update"))
    keyed = make["no time"].where("k <> 'x'").plan()
    assert not any("keeps the row it had" in t for t in check_output_mode(keyed, "update"))
