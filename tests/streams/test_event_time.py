"""Which column is event time, where conditions are applied, and what ids operators get."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from orchestration.errors import DeclarationError, ExpressionError
from orchestration.streams.builder import stream
from orchestration.streams.operators import (
    Aggregate,
    DropDuplicates,
    ExpressionKey,
    Limit,
    SessionKey,
    Where,
    WindowKey,
    WithWatermark,
)
from orchestration.streams.plan import UnionRoot
from orchestration.streams.schema import parse_schema
from orchestration.streams.windows import session_window, window, window_time

EVENTS = {
    "ts": "TIMESTAMPTZ",
    "other": "TIMESTAMPTZ",
    "k": "VARCHAR",
    "v": "BIGINT",
    "day": "DATE",
    "device": "STRUCT(at TIMESTAMPTZ, os VARCHAR)",
    "my time": "TIMESTAMPTZ",
}
SECOND = 1_000_000


@pytest.fixture
def raw(make_source):
    return stream(make_source(parse_schema(EVENTS)))


@pytest.fixture
def marked(raw):
    return raw.with_watermark("ts", "10 seconds")


def same(rows: pa.Table) -> pa.Table:
    return rows


def last(made, kind):
    return next(op for op in reversed(made.plan().operators) if isinstance(op, kind))


class TestWithWatermark:
    def test_lengths_of_time(self, raw):
        made = raw.with_watermark(
            "TS", timedelta(minutes=1), idle_timeout="1 hour", max_future="0 s"
        )
        assert made.plan().operators == (
            WithWatermark("watermark-0", "ts", 60 * SECOND, 3600 * SECOND, 0),
        )
        assert raw.with_watermark("my time", "0 seconds").plan().watermarks()[0].delay_us == 0
        assert raw.with_watermark('"my time"', "1 s").plan().watermarks()[0].column == "my time"

    @pytest.mark.parametrize(
        ("build", "says", "remedy"),
        [
            (lambda s: s.with_watermark("tss", "1 s"), 'did you mean "ts"', "these columns"),
            (lambda s: s.with_watermark("v", "1 s"), "this is BIGINT", "to_timestamp"),
            (lambda s: s.with_watermark("k", "1 s"), "this is VARCHAR", "CAST"),
            (lambda s: s.with_watermark("day", "1 s"), "this is DATE", "CAST"),
            (lambda s: s.with_watermark("device.at", "1 s"), "is an expression", "select"),
            (lambda s: s.with_watermark("ts + INTERVAL 1 DAY", "1 s"), "an expression", "select"),
            (lambda s: s.with_watermark(None, "1 s"), "named by a text", '"ts"'),
            (
                lambda s: s.select(ts="ts::TIMESTAMP").with_watermark("ts", "1 s"),
                "this is TIMESTAMP; without a zone",
                "AT TIME ZONE 'UTC'",
            ),
            (
                lambda s: s.select(ts="strptime(k, '%Y')").with_watermark("ts", "1 s"),
                "this is TIMESTAMP",
                "AT TIME ZONE 'UTC'",
            ),
            (lambda s: s.with_watermark("ts", "-1 s"), "delay='-1 s'", ""),
            (lambda s: s.with_watermark("ts", "1 month"), "no fixed length", "30 days"),
            (lambda s: s.with_watermark("ts", 10), "not a duration", ""),
            (lambda s: s.with_watermark("ts", "1 s", idle_timeout="0 s"), "idle_timeout", ""),
            (
                lambda s: s.with_watermark("ts", "1 s").with_watermark("other", "1 s"),
                "measured before it already",
                "once for each source",
            ),
            (
                lambda s: (
                    s.with_watermark("ts", "1 s")
                    .group_by(window("ts", "1 s"))
                    .agg(n="count(*)")
                    .with_watermark("window_end", "1 s")
                ),
                "stands after an aggregation",
                "before the first group_by",
            ),
            (
                lambda s: s.group_by("ts").agg(n="count(*)").with_watermark("ts", "1 s"),
                "stands after an aggregation",
                "window_time()",
            ),
            (
                lambda s: s.apply_in_arrow_with_state(
                    lambda k, r, s: r, "k", EVENTS, {"ts": "TIMESTAMPTZ"}
                ).with_watermark("ts", "1 s"),
                "lost in apply_in_arrow_with_state",
                "",
            ),
        ],
    )
    def test_refusals(self, raw, build, says, remedy):
        with pytest.raises(DeclarationError) as caught:
            build(raw)
        assert says in str(caught.value)
        assert caught.value.remedy
        assert remedy in caught.value.remedy

    def test_a_cast_to_a_moment_is_taken(self, raw):
        made = raw.select("k", at="k::TIMESTAMPTZ").with_watermark("at", "1 s")
        assert made.plan().watermarks()[0].column == "at"


class TestWhichColumnIsEventTime:
    @pytest.mark.parametrize(
        ("build", "column"),
        [
            (lambda s: s, "ts"),
            (lambda s: s.where("v > 0"), "ts"),
            (lambda s: s.select("k", "ts"), "ts"),
            (lambda s: s.select("k", at="ts"), "at"),
            (lambda s: s.select("k", 'ts AS "a t"'), "a t"),
            (lambda s: s.select("*", x="1"), "ts"),
            (lambda s: s.select("* EXCLUDE (v)"), "ts"),
            (lambda s: s.select(a='"TS"').select(b="a"), "b"),
            (lambda s: s.select("*", ts="other"), None),
            (lambda s: s.select("k", ts="ts + INTERVAL 1 SECOND"), None),
            (lambda s: s.select("k", "other"), None),
            (lambda s: s.map_batches(same, EVENTS), None),
            (lambda s: s.drop_duplicates("k"), "ts"),
            (lambda s: s.limit(5), "ts"),
            (lambda s: s.group_by(window("ts", "1 s")).agg(n="count(*)"), "window_end"),
            (
                lambda s: s.group_by(window("ts", "1 s")).agg(n="count(*)").select(e="window_end"),
                "e",
            ),
            (
                lambda s: s.group_by(window("ts", "1 s")).agg(n="count(*)").select("window_start"),
                None,
            ),
            (lambda s: s.group_by(window("other", "1 s")).agg(n="count(*)"), None),
            (lambda s: s.group_by(t="ts").agg(n="count(*)"), "t"),
            (lambda s: s.group_by("k").agg(ts="max(ts)"), None),
            (lambda s: s.group_by("ts", window("ts", "1 s")).agg(n="count(*)"), "window_end"),
        ],
    )
    def test_through_every_verb(self, marked, build, column):
        made = build(marked).drop_duplicates()
        operator = last(made, DropDuplicates)
        assert operator.event_column == column
        assert operator.event_in_keys is (column is not None)

    def test_without_a_watermark_there_is_none(self, raw):
        assert last(raw.drop_duplicates("ts"), DropDuplicates).event_column is None

    def test_deduplication_within_the_watermark_knows_its_delay(self, marked):
        made = marked.select("k", at="ts").drop_duplicates_within_watermark("k")
        assert last(made, DropDuplicates) == DropDuplicates(
            "drop_duplicates-0", ("k",), "at", False, 10 * SECOND
        )

    def test_the_key_that_is_event_time_counts_first(self, marked):
        made = marked.group_by(window("ts", "1 s"), "k").agg(n="count(*)")
        operator = last(made.drop_duplicates("k"), DropDuplicates)
        assert (operator.event_column, operator.event_in_keys) == ("window_end", False)

    @pytest.mark.parametrize(
        "keys", [("nope",), ("k", "K"), ("upper(k)",), (5,), (window("ts", "1 s"),)]
    )
    def test_wrong_keys_are_refused(self, marked, keys):
        for verb in (marked.drop_duplicates, marked.drop_duplicates_within_watermark):
            with pytest.raises(DeclarationError) as caught:
                verb(*keys)
            assert caught.value.remedy

    def test_within_needs_a_watermark(self, raw, marked):
        for item in (raw, marked.select("k")):
            with pytest.raises(DeclarationError, match="no column with a watermark") as caught:
                item.drop_duplicates_within_watermark("k")
            assert "with_watermark" in caught.value.remedy


class TestGroupBy:
    def test_windows_and_keys_in_their_order(self, marked):
        made = marked.group_by("k", window("ts", "5 minutes"), os="device.os").agg(
            n="count(*)", s="sum(v)"
        )
        assert made.columns == ("k", "window_start", "window_end", "os", "n", "s")
        assert last(made, Aggregate) == Aggregate(
            "aggregate-0",
            (
                ExpressionKey("k", '"k"'),
                WindowKey('"ts"', 300 * SECOND, 300 * SECOND, 0),
                ExpressionKey("os", "device.os"),
            ),
            (("n", "count(*)"), ("s", "sum(v)")),
            None,
            watermarked=True,
            event_column="ts",
        )

    @pytest.mark.parametrize(
        ("keys", "named", "expected"),
        [
            (("k",), {}, [("k", '"k"')]),
            (("K",), {}, [("k", '"k"')]),
            (("device.os",), {}, [("os", "device.os")]),
            (("lower(k) AS low",), {}, [("low", "lower(k)")]),
            (("my time",), {}, [("my time", '"my time"')]),
            ((), {"low": "lower(k)"}, [("low", "lower(k)")]),
            ((), {}, []),
        ],
    )
    def test_expressions_as_keys(self, raw, keys, named, expected):
        made = last(raw.group_by(*keys, **named).agg(n="count(*)"), Aggregate)
        assert [(key.name, key.expression) for key in made.keys] == expected
        assert not made.watermarked

    def test_raw_event_time_closes(self, marked):
        made = last(marked.group_by("k", at="ts").agg(n="count(*)"), Aggregate)
        assert (made.event_key, made.watermarked, made.event_column) == ("at", True, "ts")

    def test_a_window_seen_again_by_its_end_closes(self, marked):
        first = marked.group_by(window("ts", "1 s"), "k").agg(n="count(*)")
        made = last(first.group_by("window_start", "window_end").agg(n="sum(n)"), Aggregate)
        assert (made.event_key, made.watermarked) == ("window_end", True)
        only_start = last(first.group_by("window_start").agg(n="sum(n)"), Aggregate)
        assert (only_start.event_key, only_start.watermarked) == (None, False)

    def test_windows_of_windows(self, marked):
        first = marked.group_by(window("ts", "1 s"), "k").agg(n="count(*)")
        for item in (first, first.select("n", e="window_end")):
            made = last(item.group_by(window(window_time(), "1 minute")).agg(n="sum(n)"), Aggregate)
            assert made.watermarked
            assert made.id == "aggregate-1"
            assert made.keys[0].expression.endswith('" - INTERVAL 1 MICROSECOND')

    def test_sessions(self, marked):
        made = last(marked.group_by(session_window("ts", "5 s"), "k").agg(n="count(*)"), Aggregate)
        assert made.keys[0] == SessionKey('"ts"', "INTERVAL 5000000 MICROSECONDS")
        by_row = marked.group_by(session_window("ts", "to_seconds(v)"), "k").agg(n="count(*)")
        assert last(by_row, Aggregate).keys[0].gap == "to_seconds(v)"
        assert by_row.columns == ("window_start", "window_end", "k", "n")

    def test_global(self, raw):
        made = raw.agg(n="count(*)")
        assert made.columns == ("n",)
        assert last(made, Aggregate).keys == ()

    @pytest.mark.parametrize(
        ("build", "says", "remedy"),
        [
            (lambda s: s.group_by("kk"), 'no column "kk"', ""),
            (lambda s: s.group_by("lower(k)"), "the key has no name", 'name="lower(k)"'),
            (lambda s: s.group_by("1"), "constant", "leave it out"),
            (lambda s: s.group_by(["k", "v"]), "arguments of their own", "group_by('k', 'v')"),
            (lambda s: s.group_by(5), "a text", ""),
            (lambda s: s.group_by("sum(v) AS s"), "is an aggregate", ""),
            (lambda s: s.group_by(r="random()"), "another value each time", "hash"),
            (lambda s: s.group_by(w=window("ts", "1 s")), "has the names window_start", ""),
            (
                lambda s: s.group_by(window("ts", "1 s"), window("ts", "2 s")),
                "two windows",
                "window_time()",
            ),
            (lambda s: s.group_by(session_window("ts", "1 s")), "need a key", "user_id"),
            (lambda s: s.group_by(window_time()), "a moment alone", "window_start"),
            (
                lambda s: s.group_by(window(window_time(), "1 s")),
                "no window before it",
                "group by a window first",
            ),
            (lambda s: s.group_by(window("v", "1 s")), "this is BIGINT", "to_timestamp"),
            (lambda s: s.group_by(window("nope", "1 s")), 'no column "nope"', ""),
            (lambda s: s.group_by(session_window("ts", "to_seconds(vv)"), "k"), "vv", ""),
            (lambda s: s.group_by("k").agg(), "there is no aggregate", "drop_duplicates"),
            (lambda s: s.group_by("k").agg(n=5), "an SQL text", "count(*)"),
            (lambda s: s.group_by("k").agg(n="v"), "no aggregate in it", ""),
            (lambda s: s.group_by("k").agg(n="v + count(*)"), "no grouping key (k)", "group_by"),
            (lambda s: s.group_by("k").agg(K="count(*)"), "there twice", "another name"),
            (
                lambda s: s.group_by(window("ts", "1 s")).agg(window_start="count(*)"),
                "there twice",
                "another name",
            ),
        ],
    )
    def test_refusals(self, marked, build, says, remedy):
        with pytest.raises(DeclarationError) as caught:
            build(marked)
        assert says in str(caught.value)
        assert caught.value.remedy
        assert remedy in caught.value.remedy


class TestWindow:
    @pytest.mark.parametrize(
        ("made", "expected"),
        [
            (window("ts", "5 minutes"), (300, 300, 0)),
            (window("ts", "10 s", "5 s"), (10, 5, 0)),
            (window("ts", "1 week", offset="4 days"), (604_800, 604_800, 345_600)),
            (window("ts", "10 s", slide="5 s", offset="-2 s"), (10, 5, -2)),
            (window("ts", timedelta(seconds=10), timedelta(seconds=4)), (10, 4, 0)),
            (window("ts", "10 s", offset=timedelta(seconds=-3)), (10, 10, -3)),
        ],
    )
    def test_lengths(self, made, expected):
        found = (made.length_us, made.slide_us, made.offset_us)
        assert found == tuple(value * SECOND for value in expected)

    @pytest.mark.parametrize(
        ("build", "says"),
        [
            (lambda: window("ts", "5 s", "10 s"), "longer than the window"),
            (lambda: window("ts", "5 s", offset="5 s"), "repeat every 5 seconds"),
            (lambda: window("ts", "10 s", "5 s", "-7 s"), "repeat every 5 seconds"),
            (lambda: window("ts", "0 s"), "more than nothing"),
            (lambda: window("ts", timedelta(0)), "more than nothing"),
            (lambda: window("ts", "1 month"), "no fixed length"),
            (lambda: window("ts", 5), "not a duration"),
            (lambda: window(5, "5 s"), "first argument is event time"),
            (lambda: window("", "5 s"), "first argument is event time"),
            (lambda: session_window("ts", "0 s"), "more than nothing"),
            (lambda: session_window("ts", "5 parsecs"), "not a unit of time"),
            (lambda: session_window("ts", "random()"), "another value each time"),
            (lambda: session_window(None, "5 s"), "first argument is event time"),
        ],
    )
    def test_refusals(self, build, says):
        with pytest.raises(DeclarationError) as caught:
            build()
        assert says in str(caught.value)
        assert caught.value.remedy

    def test_they_are_shown_as_they_are_written(self):
        assert repr(window("ts", "90 minutes", "5 s", "-1 ms")) == (
            "window('ts', '1 hour 30 minutes', slide='5 seconds', offset='-1 millisecond')"
        )
        assert repr(window(window_time(), "1 s")) == "window(window_time(), '1 second')"


class TestConditionsGoBeforeWatermarks:
    """Semantics 1.7."""

    @pytest.mark.parametrize(
        ("build", "before", "after"),
        [
            (lambda s: s.where("v < 50"), ["v < 50"], []),
            (lambda s: s.where("ts > now()"), [], ["ts > now()"]),
            (lambda s: s.where("v < 50 AND ts > now()"), ["v < 50"], ["ts > now()"]),
            (lambda s: s.where("v < 50 OR ts > now()"), [], ["v < 50 OR ts > now()"]),
            (lambda s: s.where("v < 50").where("k = 'x'"), ["v < 50", "k = 'x'"], []),
            (lambda s: s.where("ts > now()").where("v < 50"), ["v < 50"], ["ts > now()"]),
            (lambda s: s.select("ts", "v").where("v < 50"), ["v < 50"], []),
            (lambda s: s.select("ts", w="v").where("w < 50"), ["v < 50"], []),
            (lambda s: s.select("ts", w="v * 2").where("w < 50"), ["(v * 2) < 50"], []),
            (lambda s: s.select("v", at="ts").where("at > now()"), [], ["at > now()"]),
            (
                lambda s: s.select(x="v", at="ts").select(y="x", at="at").where("y < 50"),
                ["v < 50"],
                [],
            ),
            (lambda s: s.select("ts", o="device.os").where("o = 'x'"), ["(device.os) = 'x'"], []),
            (lambda s: s.select("ts", d="device").where("d.os = 'x'"), ["device.os = 'x'"], []),
            (
                lambda s: s.where("v BETWEEN 1 AND 5 AND k = 'x'"),
                ["v BETWEEN 1 AND 5", "k = 'x'"],
                [],
            ),
            (lambda s: s.map_batches(same, EVENTS).where("v < 50"), [], ["v < 50"]),
            (lambda s: s.drop_duplicates("k").where("v < 50"), [], ["v < 50"]),
            (lambda s: s.limit(5).where("v < 50"), [], ["v < 50"]),
            (
                # a copy stays after what keeps state
                lambda s: s.group_by("ts", low="lower(k)").agg(n="count(*)").where("low = 'x'"),
                ["(lower(k)) = 'x'"],
                ["low = 'x'"],
            ),
            (
                lambda s: s.group_by("ts", "k").agg(n="count(*)").where("n > 1 AND ts > now()"),
                [],
                ["n > 1 AND ts > now()"],
            ),
            (lambda s: s.agg(n="count(*)").where("1 = 2"), [], ["1 = 2"]),
        ],
    )
    def test_as_far_as_they_go(self, marked, build, before, after):
        operators = build(marked).plan().operators
        at = next(i for i, item in enumerate(operators) if isinstance(item, WithWatermark))
        found = [
            [item.expression for item in part if isinstance(item, Where)]
            for part in (operators[:at], operators[at:])
        ]
        assert found == [before, after]

    def test_into_every_input_of_a_union(self, make_source):
        one, two = (
            stream(make_source(parse_schema(EVENTS), name=name)).with_watermark("ts", "1 s")
            for name in "ab"
        )
        plain = stream(make_source(parse_schema(EVENTS), name="c"))
        root = one.union(two, plain).where("v < 50").plan().root
        assert isinstance(root, UnionRoot)
        assert all(Where("v < 50") in item.operators for item in root.inputs)
        assert all(item.operators[0] == Where("v < 50") for item in root.inputs)


class TestIds:
    def test_they_go_by_kind_and_ignore_stateless_operators(self, marked):
        made = marked.drop_duplicates("k", "ts").drop_duplicates("v", "ts").limit(5)
        more = (
            marked.where("v > 0")
            .select("*", x="1")
            .drop_duplicates("k", "ts")
            .where("x > 0")
            .drop_duplicates("v", "ts")
            .limit(5)
        )
        ids = ("drop_duplicates-0", "drop_duplicates-1", "limit-0")
        assert made.plan().stateful_ids() == more.plan().stateful_ids() == ids

    def test_inputs_come_first(self, make_source):
        one, two = (
            stream(
                make_source(parse_schema({"ts": "TIMESTAMPTZ", f"k{name}": "BIGINT"}), name=name)
            )
            .with_watermark("ts", "1 s")
            .drop_duplicates(f"k{name}", "ts")
            for name in "ab"
        )
        made = one.join(two, on="ts").drop_duplicates("ka", "ts").plan()
        assert made.stateful_ids() == (
            "drop_duplicates-0",
            "drop_duplicates-1",
            "join-0",
            "drop_duplicates-2",
        )
        assert [item.id for item in made.watermarks()] == ["watermark-0", "watermark-1"]


class TestOtherVerbs:
    def test_apply_in_arrow_with_state(self, marked):
        made = marked.apply_in_arrow_with_state(
            same, ["K"], {"n": "BIGINT"}, {"k": "VARCHAR", "n": "BIGINT"}, "event_time"
        )
        assert made.columns == ("k", "n")
        (operator,) = made.plan().operators[1:]
        assert (operator.id, operator.keys, operator.event_column) == ("apply-0", ("k",), "ts")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((None, "k", EVENTS, EVENTS), "cannot be called"),
            ((same, [], EVENTS, EVENTS), "no key"),
            ((same, "kk", EVENTS, EVENTS), 'no column "kk"'),
            ((same, "k", {}, EVENTS), "schema"),
            ((same, "k", EVENTS, {"a": "TIMESTAMP"}), "zone"),
            ((same, "k", EVENTS, EVENTS, "processing_time"), "no such timeout"),
        ],
    )
    def test_apply_refuses(self, marked, arguments, says):
        with pytest.raises(DeclarationError) as caught:
            marked.apply_in_arrow_with_state(*arguments)
        assert says in str(caught.value)
        assert caught.value.remedy

    def test_a_timeout_by_event_time_needs_a_watermark(self, raw):
        with pytest.raises(DeclarationError, match="event time never passes"):
            raw.apply_in_arrow_with_state(same, "k", EVENTS, EVENTS, "event_time")

    def test_nothing_that_keeps_state_stands_after_apply(self, raw):
        made = raw.apply_in_arrow_with_state(same, "k", EVENTS, EVENTS)
        for build in (
            lambda: made.group_by("k").agg(n="count(*)"),
            lambda: made.drop_duplicates("k"),
            lambda: made.apply_in_arrow_with_state(same, "k", EVENTS, EVENTS),
        ):
            with pytest.raises(DeclarationError, match="no event time") as caught:
                build()
            assert caught.value.remedy
        made.where("v > 0").select("k").limit(3)

    @pytest.mark.parametrize("count", [0, -1, True, "5", 1.5, None])
    def test_limit_takes_a_number(self, raw, count):
        assert raw.limit(3).plan().operators == (Limit("limit-0", 3),)
        with pytest.raises(DeclarationError, match="whole number") as caught:
            raw.limit(count)
        assert caught.value.remedy

    @pytest.mark.parametrize(
        "terms",
        [
            ("v",),
            ("v DESC", "lower(k)"),
            ("v DESC NULLS LAST",),
            ("v asc nulls first",),
            ("my time",),
        ],
    )
    def test_order_by_takes_terms(self, raw, terms):
        assert raw.order_by(*terms).plan().operators[0].terms == terms

    @pytest.mark.parametrize(
        "terms", [(), ("vv",), ("sum(v)",), ("random()",), ("v DOWN",), ("",), (5,), ("v, k",)]
    )
    def test_order_by_refuses(self, raw, terms):
        with pytest.raises(DeclarationError) as caught:
            raw.order_by(*terms)
        assert caught.value.remedy


class TestInferredSchema:
    def test_event_time_is_found_before_and_after_the_schema_is_known(self, unknown):
        made = (
            stream(unknown)
            .with_watermark("ts", "1 s")
            .select("* EXCLUDE (v)", x="1")
            .group_by(window("ts", "5 s"), "k")
            .agg(n="count(*)")
        )
        assert made.columns == ("window_start", "window_end", "k", "n")
        with pytest.raises(DeclarationError, match="not known yet"):
            made.plan()
        assert last(made.bind(parse_schema(EVENTS)), Aggregate).watermarked

    @pytest.mark.parametrize(
        ("build", "says"),
        [
            (lambda s: s.with_watermark("tss", "1 s"), 'did you mean "ts"'),
            (lambda s: s.with_watermark("v", "1 s"), "this is BIGINT"),
            (lambda s: s.group_by("kk").agg(n="count(*)"), 'no column "kk"'),
            (lambda s: s.group_by("k").agg(n="sum(vv)"), 'no column "vv"'),
            (lambda s: s.drop_duplicates("kk"), 'no column "kk"'),
            (lambda s: s.order_by("vv"), 'no column "vv"'),
        ],
    )
    def test_names_and_types_are_checked_once_they_are_known(self, unknown, build, says):
        made = build(stream(unknown))
        with pytest.raises(ExpressionError, match=says):
            made.bind(parse_schema(EVENTS))

    def test_all_columns_as_keys_wait(self, unknown):
        made = stream(unknown).drop_duplicates()
        with pytest.raises(DeclarationError, match="not known yet"):
            made.plan()
        assert last(made.bind(parse_schema(EVENTS)), DropDuplicates).keys == tuple(EVENTS)


def test_what_depends_on_the_clock_is_named(marked):
    cases = [
        (marked.group_by("k").agg(n="max(now() - ts)", m="count(*)"), ("n",), ()),
        (marked.select("k", at="now()").group_by("k").agg(n="max(at)"), ("n",), ()),
        (marked.group_by(d="current_date").agg(n="count(*)"), ("d",), ("current_date",)),
        (marked.select("k", at="now()").drop_duplicates("at"), ("at",), ("at",)),
        (marked.group_by("k").agg(n="count(*)"), (), ()),
    ]
    for made, columns, filters in cases:
        assert (made.volatile_columns(), made.volatile_filters()) == (columns, filters)


def test_describe_and_repr_show_every_verb(marked):
    made = (
        marked.drop_duplicates("k", "ts")
        .group_by(window("ts", "5 minutes", slide="1 minute"), low="lower(k)")
        .agg(n="count(*)")
        .order_by("n DESC")
        .limit(3)
    )
    steps = made.describe()["operators"]
    assert steps[0] == {"with_watermark": "ts", "delay": "10 seconds"}
    assert steps[1] == {"drop_duplicates": ["k", "ts"]}
    assert steps[2]["group_by"][0] == {"window": '"ts"', "length": "5 minutes", "slide": "1 minute"}
    assert steps[3:] == [{"order_by": ["n DESC"]}, {"limit": 3}]
    text = repr(made)
    assert ".with_watermark('ts', '10 seconds')" in text
    assert ".group_by(window('ts', '5 minutes', slide='1 minute'), low='lower(k)')" in text
    assert ".agg(n='count(*)')" in text
    assert ".order_by('n DESC')\n  .limit(3)" in text
