from __future__ import annotations

import copy
import json

import pyarrow as pa
import pytest

from orchestration.streams.builder import stream
from orchestration.streams.fingerprint import VERSION, compare, fingerprint
from orchestration.streams.schema import parse_schema
from orchestration.streams.static import static
from orchestration.streams.windows import session_window, window

OUTPUT = parse_schema({"page": "VARCHAR", "cents": "DECIMAL(13,2)"})


@pytest.fixture
def kept(clicks):
    made = stream(clicks).where("amount >= 0").select("page", cents="amount * 100")
    return json.loads(json.dumps(fingerprint(made, OUTPUT, "append", ("page",))))


def changed(kept, **changes):
    new = copy.deepcopy(kept)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = new
        for key in parents:
            place = place[key]
        place[last] = value
    return new


def test_what_is_kept(kept, clicks):
    assert kept["version"] == VERSION
    assert kept["sources"] == {"clicks": {"kind": "files", "path": "in", "format": "json"}}
    assert kept["output_schema"] == {"page": "VARCHAR", "cents": "DECIMAL(13,2)"}
    assert kept["output_mode"] == "append"
    assert kept["partition_by"] == ["page"]
    assert kept["operators"][0] == {"where": "amount >= 0"}
    assert kept["input_schema"]["amount"] == "DECIMAL(10,2)"


def test_an_inferred_schema_is_kept_when_bound(unknown):
    made = stream(unknown).select("*")
    assert fingerprint(made, OUTPUT, "append", ())["input_schema"] is None
    bound = made.bind(pa.schema([("a", pa.int64())]))
    assert fingerprint(bound, OUTPUT, "append", ())["input_schema"] == {"a": "BIGINT"}


def test_nothing_changed(kept):
    assert compare(kept, kept) == ((), ())


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"output_mode": "update"}, 'the output mode was "append" and is "update"'),
        ({"partition_by": []}, "partition_by was page and is none"),
        ({"partition_by": ["page", "cents"]}, "partition_by was page and is page, cents"),
        ({"sources__clicks__path": "out"}, 'path of source "clicks" was "in" and is "out"'),
        ({"sources__clicks__format": "csv"}, 'format of source "clicks" was "json" and is "csv"'),
        ({"sources__clicks__kind": "cdc"}, 'kind of source "clicks" was "files" and is "cdc"'),
        (
            {"sources": {"other": {"kind": "files", "path": "in", "format": "json"}}},
            'source "clicks" is called "other" now',
        ),
        (
            {"output_schema": {"page": "VARCHAR"}},
            'output column "cents" (DECIMAL(13,2)) is gone',
        ),
        (
            {"output_schema__cents": "DOUBLE"},
            'output column "cents" was DECIMAL(13,2) and is DOUBLE',
        ),
        (
            {"output_schema": {"PAGE": "VARCHAR", "cents": "DECIMAL(13,2)"}},
            'output column "page" is spelled "PAGE"',
        ),
        ({"output_schema__os": "VARCHAR"}, 'output column "os" (VARCHAR) is new'),
    ],
)
def test_what_history_cannot_follow_is_refused(kept, changes, refused):
    found = compare(kept, changed(kept, **changes))
    assert len(found.refused) == 1
    assert found.refused[0].startswith(refused)


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"operators": [{"where": "amount > 1"}]}, "the operators changed"),
        (
            {"sources__clicks__glob": "*.json"},
            'glob of source "clicks" was not set and is "*.json"',
        ),
        ({"input_schema": {"page": "VARCHAR"}}, 'input column "event_id" (VARCHAR) is gone'),
        ({"input_schema__page": "JSON"}, 'input column "page" was VARCHAR and is JSON'),
        (
            {"output_schema": {"cents": "DECIMAL(13,2)", "page": "VARCHAR"}},
            "the output columns stand in another order",
        ),
        (
            {"sources__more": {"kind": "files", "path": "more", "format": "json"}},
            'source "more" was added',
        ),
        ({"sources": {}}, 'source "clicks" was removed'),
    ],
)
def test_what_the_next_batch_simply_uses_is_accepted_and_named(kept, changes, accepted):
    found = compare(kept, changed(kept, **changes))
    assert found.refused == ()
    assert any(line.startswith(accepted) for line in found.accepted)


def test_a_new_column_is_accepted_where_the_sink_takes_it(kept):
    new = changed(kept, output_schema__os="VARCHAR")
    assert compare(kept, new, add_columns=True).refused == ()
    assert 'output column "os" (VARCHAR) is new' in compare(kept, new, add_columns=True).accepted
    assert 'schema_evolution="add_columns"' in compare(kept, new).refused[0]
    gone = changed(kept, output_schema={"page": "VARCHAR", "os": "VARCHAR"})
    assert len(compare(kept, gone, add_columns=True).refused) == 1


def test_several_changes_are_all_named(kept):
    new = changed(kept, output_mode="complete", partition_by=[], sources__clicks__path="x")
    assert len(compare(kept, new).refused) == 3


def test_a_newer_headwaters_fingerprint_is_not_guessed_at(kept):
    found = compare(changed(kept, version=VERSION + 1), kept)
    assert "newer Headwater" in found.refused[0]


EVENTS = {"ts": "TIMESTAMPTZ", "k": "VARCHAR", "v": "BIGINT"}
WIDE = {**EVENTS, "extra": "VARCHAR"}
STATE_OUT = parse_schema({"n": "BIGINT"})


def apply(key, rows, state):
    return rows


def apply_too(key, rows, state):
    return rows


class Given:
    """Builders for the table below; sources ``a``, ``b``, ``c`` with event time."""

    def __init__(self, make_source):
        self.make = make_source

    def raw(self, name="a", schema=EVENTS):
        return stream(self.make(parse_schema(schema), name=name, details={"path": name}))

    def marked(self, name="a", delay="10 seconds", schema=EVENTS):
        return self.raw(name, schema).with_watermark("ts", delay)

    def counted(self, before=None, length="5 minutes", keys=("k",), **columns):
        s = self.marked() if before is None else before
        return s.group_by(window("ts", length), *keys).agg(**(columns or {"n": "count(*)"}))

    def joined(
        self, on="k = k2 AND rt BETWEEN ts AND ts + INTERVAL 5 SECONDS", how="inner", **more
    ):
        right = self.marked("b").select(rt="ts", k2="k", v2="v", **more)
        return self.marked("a").join(right, on=on, how=how)


@pytest.fixture
def given(make_source):
    return Given(make_source)


def between(old, new, mode="append"):
    prints = [json.loads(json.dumps(fingerprint(item, STATE_OUT, mode, ()))) for item in (old, new)]
    return compare(*prints)


SESSION = session_window("ts", "10 seconds")
STATE_REFUSED = {
    "grouping key added": (
        lambda g: g.counted(),
        lambda g: g.counted(keys=("k", "v")),
        "grouping keys of aggregate-0 were window(",
    ),
    "grouping key expression": (
        lambda g: g.counted(),
        lambda g: g.marked().group_by(window("ts", "5 minutes"), k="lower(k)").agg(n="count(*)"),
        "grouping keys of aggregate-0 were",
    ),
    "window length": (
        lambda g: g.counted(),
        lambda g: g.counted(length="10 minutes"),
        "length of the window of aggregate-0 was 5 minutes and is 10 minutes",
    ),
    "window slide": (
        lambda g: g.counted(),
        lambda g: (
            g.marked().group_by(window("ts", "5 minutes", slide="1 minute"), "k").agg(n="count(*)")
        ),
        "slide of the window of aggregate-0 was not set and is 1 minute",
    ),
    "session gap": (
        lambda g: g.marked().group_by(SESSION, "k").agg(n="count(*)"),
        lambda g: g.marked().group_by(session_window("ts", "9 s"), "k").agg(n="count(*)"),
        "gap of the window of aggregate-0 was INTERVAL 10000000",
    ),
    "window to session": (
        lambda g: g.counted(),
        lambda g: g.marked().group_by(SESSION, "k").agg(n="count(*)"),
        "grouping keys of aggregate-0 were window(",
    ),
    "aggregate": (
        lambda g: g.counted(n="count(*)"),
        lambda g: g.counted(n="sum(v)"),
        'aggregate "n" of aggregate-0 was count(*) and is sum(v)',
    ),
    "aggregate added": (
        lambda g: g.counted(n="count(*)"),
        lambda g: g.counted(n="count(*)", s="sum(v)"),
        'aggregate "s" (sum(v)) of aggregate-0 was added',
    ),
    "aggregate removed": (
        lambda g: g.counted(n="count(*)", s="sum(v)"),
        lambda g: g.counted(n="count(*)"),
        'aggregate "s" (sum(v)) of aggregate-0 was removed',
    ),
    "type of an argument": (
        lambda g: g.counted(n="max(v)"),
        lambda g: g.counted(g.marked(schema={**EVENTS, "v": "DOUBLE"}), n="max(v)"),
        'column "v" of aggregate-0 was BIGINT and is DOUBLE',
    ),
    "dedup keys": (
        lambda g: g.marked().drop_duplicates("k"),
        lambda g: g.marked().drop_duplicates("k", "v"),
        "keys of drop_duplicates-0 were k and are k, v",
    ),
    "dedup within": (
        lambda g: g.marked().drop_duplicates("k"),
        lambda g: g.marked().drop_duplicates_within_watermark("k"),
        "whether drop_duplicates-0 remembers within the watermark was False and is True",
    ),
    "join keys": (
        lambda g: g.joined(),
        lambda g: g.joined(on="v = v2 AND rt BETWEEN ts AND ts + INTERVAL 5 SECONDS"),
        'left keys of join-0 were "k" and are "v"',
    ),
    "join range": (
        lambda g: g.joined(),
        lambda g: g.joined(on="k = k2 AND rt BETWEEN ts AND ts + INTERVAL 6 SECONDS"),
        "the condition of join-0 was",
    ),
    "join how": (
        lambda g: g.joined(),
        lambda g: g.joined(how="left"),
        "join-0 was a inner join and is a left join",
    ),
    "join column": (
        lambda g: g.joined(),
        lambda g: g.joined(more="1"),
        'right column "more" of join-0 is new',
    ),
    "operator added": (
        lambda g: g.counted(),
        lambda g: g.counted(g.marked().drop_duplicates("k", "ts")),
        "drop_duplicates(k, ts) was added",
    ),
    "first operator added": (
        lambda g: g.raw(),
        lambda g: g.raw().drop_duplicates("k"),
        "drop_duplicates(k) was added",
    ),
    "operator removed": (
        lambda g: g.counted(g.marked().drop_duplicates("k", "ts")),
        lambda g: g.counted(),
        "drop_duplicates(k, ts) was removed, which has state",
    ),
    "operator order": (
        lambda g: g.raw().drop_duplicates("k").limit(5),
        lambda g: g.raw().limit(5).drop_duplicates("k"),
        "the order of operators was drop_duplicates(k), limit and is limit, drop_duplicates(k)",
    ),
    "source removed": (
        lambda g: g.counted(g.marked("a").union(g.marked("b"))),
        lambda g: g.counted(g.marked("a")),
        'source "b" was removed, and there is state of its rows',
    ),
    "source added": (
        lambda g: g.counted(g.marked("a").union(g.marked("b"))),
        lambda g: g.counted(g.marked("a").union(g.marked("b"), g.marked("c"))),
        'source "c" was added, and there is state that lacks its rows',
    ),
    "sources in another order": (
        lambda g: g.counted(g.marked("a").union(g.marked("b"))),
        lambda g: g.counted(g.marked("b").union(g.marked("a"))),
        "watermark-0 was that of a and is that of b",
    ),
    "watermark removed": (
        lambda g: g.marked().drop_duplicates("k"),
        lambda g: g.raw().drop_duplicates("k"),
        'with_watermark("ts") was removed',
    ),
    "state schema": (
        lambda g: g.raw().apply_in_arrow_with_state(apply, "k", {"n": "BIGINT"}, EVENTS),
        lambda g: g.raw().apply_in_arrow_with_state(apply, "k", {"n": "DOUBLE"}, EVENTS),
        "the state of apply-0 was",
    ),
}


@pytest.mark.parametrize("case", STATE_REFUSED)
def test_what_state_cannot_follow_is_refused_and_named(given, case):
    old, new, line = STATE_REFUSED[case]
    found = between(old(given), new(given))
    assert any(text.startswith(line) for text in found.refused), found


STATE_ACCEPTED = {
    "nothing": (lambda g: g.counted(), lambda g: g.counted(), ()),
    "layout": (
        lambda g: g.counted(n="sum( v )"),
        lambda g: g.marked().group_by(window("TS", "300 s"), '"k"').agg(n="SUM(V) -- all"),
        ("the operators changed",),
    ),
    "delay": (
        lambda g: g.counted(),
        lambda g: g.counted(g.marked(delay="1 minute")),
        ("the operators changed", "delay of watermark-0 (ts) was 10 seconds and is 1 minute"),
    ),
    "stateless before": (
        lambda g: g.counted(),
        lambda g: g.counted(g.marked().where("v > 0")),
        ("the operators changed",),
    ),
    "stateless after": (
        lambda g: g.counted(),
        lambda g: g.counted().where("n > 1"),
        ("the operators changed",),
    ),
    "a column more that no state is made of": (
        lambda g: g.counted(),
        lambda g: g.counted(g.marked(schema=WIDE)),
        ('input column "extra" (VARCHAR) is new',),
    ),
    "limit": (
        lambda g: g.raw().limit(5),
        lambda g: g.raw().limit(6),
        ("the operators changed", "limit was 5 and is 6"),
    ),
    "aggregates in another order": (
        lambda g: g.counted(n="count(*)", s="sum(v)"),
        lambda g: g.counted(s="sum(v)", n="count(*)"),
        ("the operators changed", "the aggregates of aggregate-0 stand in another order"),
    ),
    "function": (
        lambda g: g.raw().apply_in_arrow_with_state(apply, "k", EVENTS, EVENTS),
        lambda g: g.raw().apply_in_arrow_with_state(apply_too, "k", EVENTS, EVENTS),
        ("the operators changed", "the function of apply-0 is"),
    ),
    "source added without state": (
        lambda g: g.raw("a").union(g.raw("b")),
        lambda g: g.raw("c").union(g.raw("a"), g.raw("b")),
        ("the operators changed", 'source "c" was added'),
    ),
    "source removed without state": (
        lambda g: g.raw("a").union(g.raw("b")),
        lambda g: g.raw("a"),
        ("the operators changed", 'source "b" was removed'),
    ),
    "watermark without state": (
        lambda g: g.raw(),
        lambda g: g.marked(),
        ("the operators changed", 'with_watermark("ts") was added'),
    ),
    "static table": (
        lambda g: g.raw().join(static("one/pages", schema={"k": "VARCHAR"}), on="k"),
        lambda g: g.raw().join(static("two/pages", schema={"k": "VARCHAR"}), on="k"),
        ('path of static table "pages" was "one/pages" and is "two/pages"',),
    ),
}


@pytest.mark.parametrize("case", STATE_ACCEPTED)
def test_what_state_can_follow_is_accepted_and_named(given, case):
    old, new, lines = STATE_ACCEPTED[case]
    found = between(old(given), new(given))
    assert found.refused == ()
    assert len(found.accepted) == len(lines), found.accepted
    assert all(any(text.startswith(line) for text in found.accepted) for line in lines), found


def test_several_sources_are_kept_by_name(given):
    kept = fingerprint(given.marked("a").union(given.marked("b")), STATE_OUT, "append", ())
    assert set(kept["sources"]) == set(kept["input_schemas"]) == {"a", "b"}
    assert kept["input_schema"] is None
    assert [item["sources"] for item in kept["state"]["watermarks"]] == [["a"], ["b"]]


def test_a_version_1_fingerprint_is_still_read(kept):
    """As issue 2 wrote them: no state, no static tables."""
    old = {key: value for key, value in kept.items() if key != "state"} | {"version": 1}
    assert compare(old, kept) == ((), ())
    assert compare(old, changed(kept, output_mode="update")).refused
    stateful = {**kept, "state": {"operators": [{"id": "limit-0", "kind": "limit", "count": 1}]}}
    assert "limit was added" in compare(old, stateful).refused[0]


def test_output_mode_and_state_changes_are_all_named(given):
    old = fingerprint(given.counted(), STATE_OUT, "append", ())
    new = fingerprint(given.counted(n="sum(v)", length="1 s"), STATE_OUT, "update", ())
    assert len(compare(old, new).refused) == 3
