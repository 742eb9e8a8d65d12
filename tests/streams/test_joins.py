from __future__ import annotations

import json

import duckdb
import pyarrow as pa
import pytest

from orchestration.errors import DeclarationError, ExpressionError
from orchestration.streams.builder import stream
from orchestration.streams.operators import Where
from orchestration.streams.plan import JoinRoot, StaticRoot
from orchestration.streams.schema import parse_schema
from orchestration.streams.static import static
from orchestration.streams.windows import window, window_time

LEFT = {"lt": "TIMESTAMPTZ", "k": "BIGINT", "a": "VARCHAR", "device": "STRUCT(os VARCHAR)"}
RIGHT = {"rt": "TIMESTAMPTZ", "k2": "BIGINT", "b": "VARCHAR"}
RANGE = "k = k2 AND rt BETWEEN lt AND lt + INTERVAL 5 SECONDS"
SECOND = 1_000_000


@pytest.fixture
def sides(make_source):
    left = stream(make_source(parse_schema(LEFT), name="l")).with_watermark("lt", "10 seconds")
    right = stream(make_source(parse_schema(RIGHT), name="r")).with_watermark("rt", "10 seconds")
    return left, right


@pytest.fixture
def unmarked(make_source):
    left = stream(make_source(parse_schema(LEFT), name="l"))
    right = stream(make_source(parse_schema(RIGHT), name="r"))
    return left, right


@pytest.fixture
def named(make_source):
    """Sides whose columns have one name."""
    made = [
        stream(make_source(parse_schema({"ts": "TIMESTAMPTZ", "k": "BIGINT", x: "BIGINT"}), name=x))
        for x in ("x", "y")
    ]
    return tuple(item.with_watermark("ts", "10 seconds") for item in made)


@pytest.fixture
def pages():
    return static("tables/pages", schema={"k": "BIGINT", "owner": "VARCHAR"})


def join(sides, on, how="inner"):
    root = sides[0].join(sides[1], on=on, how=how).plan().root
    assert isinstance(root, JoinRoot)
    return root


class TestConditions:
    @pytest.mark.parametrize(
        ("on", "left", "right", "residual"),
        [
            ("k = k2", ['"k"'], ['"k2"'], None),
            ("k2 = k", ['"k"'], ['"k2"'], None),
            ("k == k2", ['"k"'], ['"k2"'], None),
            ("(k = k2)", ['"k"'], ['"k2"'], None),
            ("(k) = (k2)", ['"k"'], ['"k2"'], None),
            ("K = right.K2", ['"k"'], ['"k2"'], None),
            ('left."k" = right."k2"', ['"k"'], ['"k2"'], None),
            ("k + 1 = abs(k2)", ['"k" + 1'], ['abs("k2")'], None),
            ("device.os = b", ['"device".os'], ['"b"'], None),
            ("left.device.os = b", ['"device".os'], ['"b"'], None),
            ("k = k2 AND lower(a) = b", ['"k"', 'lower("a")'], ['"k2"', '"b"'], None),
            (
                "k = k2 AND (a = b AND lt < rt)",
                ['"k"', '"a"'],
                ['"k2"', '"b"'],
                '(l."lt" < r."rt")',
            ),
            ("k = k2 AND a <> b", ['"k"'], ['"k2"'], '(l."a" <> r."b")'),
            ("k = k2 AND a = 'x'", ['"k"'], ['"k2"'], "(l.\"a\" = 'x')"),
            ("k = k2 AND k + k2 = 5", ['"k"'], ['"k2"'], '(l."k" + r."k2" = 5)'),
            (
                "k = k2 AND (a = b OR a = 'x')",
                ['"k"'],
                ['"k2"'],
                '(l."a" = r."b" OR l."a" = \'x\')',
            ),
            (
                "k = k2 AND a IS NOT DISTINCT FROM b",
                ['"k"'],
                ['"k2"'],
                '(l."a" IS NOT DISTINCT FROM r."b")',
            ),
            (RANGE, ['"k"'], ['"k2"'], '(r."rt" BETWEEN l."lt" AND l."lt" + INTERVAL 5 SECONDS)'),
            (
                "case when k = 1 then 2 end = k2",
                ['case when "k" = 1 then 2 end'],
                ['"k2"'],
                None,
            ),
        ],
    )
    def test_equal_keys_and_the_rest(self, sides, on, left, right, residual):
        root = join(sides, on)
        assert (list(root.left.keys), list(root.right.keys)) == (left, right)
        assert root.condition == residual

    @pytest.mark.parametrize(
        ("on", "says", "remedy"),
        [
            ("kk = k2", 'no column "kk"', ""),
            ("left.k2 = k2", 'no column "k2"', ""),
            ("k = right.k", 'no column "k"', ""),
            ("sum(k) = k2", "aggregate", ""),
            ("k = k2 AND random() > 1", "another value each time", ""),
            ("k = k2 AND k IN (SELECT 1)", "subquery", ""),
            ("k = ", "not an SQL expression", ""),
            ("rt > lt", "no column of one stream has to equal", "k = k2 AND"),
            ("k = 5", "no column of one stream has to equal", "k = k2 AND"),
            ("k", "no column", ""),
            (["k", "a = b"], "this is an expression", "one condition"),
            ([], "nothing says which rows match", 'on="page"'),
            ("", "nothing says which rows match", 'on="page"'),
            (None, "nothing says which rows match", 'on="page"'),
            ([5], "nothing says which rows match", 'on="page"'),
        ],
    )
    def test_wrong_conditions_are_refused(self, sides, on, says, remedy):
        with pytest.raises(DeclarationError) as caught:
            sides[0].join(sides[1], on=on)
        assert says in str(caught.value)
        assert caught.value.remedy
        assert remedy in caught.value.remedy

    def test_a_name_on_both_sides_is_told_apart(self, named):
        left, right = named
        with pytest.raises(ExpressionError, match='both sides have a column "k"') as caught:
            left.join(right, on="k = y", how="semi")
        assert 'left."k" or right."k"' in caught.value.remedy
        root = join(named, 'left.k = right."k" AND left.ts = right.ts', "semi")
        assert root.left.keys == ('"k"', '"ts"')


class TestTimeRanges:
    @pytest.mark.parametrize(
        ("condition", "left", "right", "lag"),
        [
            ("rt BETWEEN lt AND lt + INTERVAL 5 SECONDS", (5 * SECOND, 1), (0, 1), 5_001_000),
            ("rt >= lt AND rt <= lt + INTERVAL '5 seconds'", (5 * SECOND, 1), (0, 1), 5_001_000),
            ("lt <= rt AND lt + INTERVAL 5 SECOND >= rt", (5 * SECOND, 1), (0, 1), 5_001_000),
            ("rt > lt AND rt < lt + INTERVAL 5 SECONDS", (5 * SECOND, 0), (0, 0), 5_000_000),
            ("rt - INTERVAL 5 SECONDS < lt", (5 * SECOND, 0), None, 5_000_000),
            ("rt >= lt", None, (0, 1), 1_000),
            ("lt BETWEEN rt - INTERVAL 1 MINUTE AND rt + to_seconds(30)", (60 * SECOND, 1), (30 * SECOND, 1), 60_001_000),
            ("rt < lt + INTERVAL '1 hour 30 minutes'", (5400 * SECOND, 0), None, 5_400_000_000),
            ("rt < (INTERVAL (2) HOURS + lt)", (7200 * SECOND, 0), None, 7_200_000_000),
            ("rt < lt - INTERVAL 5 SECONDS", (-5 * SECOND, 0), None, 0),
            ("rt < lt + INTERVAL '-5 seconds'", (-5 * SECOND, 0), None, 0),
            ("rt < lt + INTERVAL 5 SECONDS AND rt <= lt + INTERVAL 7 SECONDS", (7 * SECOND, 1), None, 7_001_000),
            ("rt < lt + INTERVAL 1 MONTH", None, None, 0),
            ("rt < lt + k * INTERVAL 1 SECOND", None, None, 0),
            ("(rt < lt OR rt > lt)", None, None, 0),
            ("rt NOT BETWEEN lt AND lt + INTERVAL 5 SECONDS", None, None, 0),
            ("epoch(rt) < epoch(lt)", None, None, 0),
            ("a < b", None, None, 0),
        ],
    )  # fmt: skip
    def test_they_bound_how_long_rows_are_kept(self, sides, condition, left, right, lag):
        root = join(sides, f"k = k2 AND {condition}")
        for side, column, expected in ((root.left, "lt", left), (root.right, "rt", right)):
            wanted = None if expected is None else f'epoch_us("{column}") + {sum(expected)}'
            assert side.expiry_expression == wanted
            assert (side.event_column, side.late_expression) == (column, f'"{column}"')
        assert root.output_lag_us == lag

    def test_equal_times_leave_with_their_time(self, sides):
        root = join(sides, "k = k2 AND lt = rt", "full")
        assert root.left.expiry_expression == 'epoch_us("lt")'
        assert root.right.expiry_expression == 'epoch_us("rt")'
        assert root.right.late_expression == '"rt"'
        assert root.output_lag_us == 0

    @pytest.mark.parametrize(
        "call",
        ["time_bucket(INTERVAL '10 seconds', {})", "time_bucket(INTERVAL 10 SECONDS, {})"],
    )
    def test_equal_buckets_leave_with_their_end(self, sides, call):
        root = join(sides, f"k = k2 AND {call.format('lt')} = {call.format('rt')}", "left")
        assert root.left.expiry_expression.endswith(f"+ {10 * SECOND}")
        assert root.output_lag_us == 10 * SECOND

    def test_equal_truncated_times_are_buckets(self, sides):
        on = "k = k2 AND date_trunc('minute', lt) = date_trunc('minute', rt)"
        assert join(sides, on, "full").left.expiry_expression.endswith(f"+ {60 * SECOND}")
        for other in ("hour", "month"):
            on = f"k = k2 AND date_trunc('minute', lt) = date_trunc('{other}', rt)"
            assert join(sides, on).left.expiry_expression is None

    def test_the_other_sides_watermark_is_what_counts(self, sides, unmarked):
        root = join((sides[0], unmarked[1]), RANGE)
        assert (root.left.expiry_expression, root.right.expiry_expression) == (
            None,
            'epoch_us("rt") + 1',
        )
        assert (root.left.late_expression, root.right.late_expression) == ('"lt"', None)

    def test_sql_means_what_it_says(self, sides, named):
        """Windows go by the floor, also before 1970 and with an offset."""
        cases = [
            (join(named, ["k", window("ts", "10 seconds", offset="3 s")]), "ts"),
            (join(sides, "k = k2 AND time_bucket(INTERVAL 10 SECONDS, lt) = "
                         "time_bucket(INTERVAL 10 SECONDS, rt)"), "lt"),
        ]  # fmt: skip
        expected = {
            cases[0][0]: {3: 13, 12: 13, 13: 23, -7: 3, -8: -7},
            cases[1][0]: {0: 10, 9: 10, -1: 0},
        }
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for root, column in cases:
                side = root.left
                for second, end in expected[root].items():
                    table = (
                        f"(SELECT make_timestamptz({second} * 1000000::BIGINT) AS {column}, 1 AS k)"
                    )
                    found = connection.execute(
                        f"SELECT {side.expiry_expression}, epoch_us({side.late_expression}), "
                        f"{side.keys[0]} FROM {table}"
                    ).fetchall()
                    assert found == [(end * SECOND, end * SECOND, 1)]


class TestWhatIsSaidOfOneSide:
    """Applied before rows are remembered, and before watermarks."""

    @pytest.mark.parametrize(
        ("on", "how", "left", "right", "matches"),
        [
            ("k = k2", "inner", ['"k" IS NOT NULL'], ['"k2" IS NOT NULL'], (None, None)),
            ("k = k2 AND lt = rt", "full", [], [], (None, None)),
            (
                "k = k2 AND lt = rt AND k > 1",
                "inner",
                ['"k" > 1', '"k" IS NOT NULL', '"lt" IS NOT NULL'],
                ['"k2" > 1', '"k2" IS NOT NULL', '"rt" IS NOT NULL'],
                (None, None),
            ),
            (
                "k = k2 AND lt = rt AND k > 1",
                "left",
                [],
                ['"k2" > 1', '"k2" IS NOT NULL', '"rt" IS NOT NULL'],
                ('("k" > 1)', None),
            ),
            (
                "k = k2 AND lt = rt AND k > 1 AND b = 'x'",
                "full",
                [],
                [],
                ('("k" > 1)', "(\"b\" = 'x')"),
            ),
            (
                "k = k2 AND lt = rt AND a = 'x'",
                "right",
                ["\"a\" = 'x'", '"k" IS NOT NULL', '"lt" IS NOT NULL', '"a" IS NOT NULL'],
                [],
                (None, None),
            ),
            (
                "k = k2 AND rt BETWEEN lt AND lt + INTERVAL 5 SECONDS",
                "semi",
                ['"k" IS NOT NULL', '"lt" IS NOT NULL'],
                ['"k2" IS NOT NULL', '"rt" IS NOT NULL'],
                (None, None),
            ),
            (
                "coalesce(k, 0) = k2 AND rt > now()",
                "inner",
                [],
                ['"k2" IS NOT NULL', '"rt" IS NOT NULL'],
                (None, None),
            ),
        ],
    )
    def test_of_a_condition(self, sides, on, how, left, right, matches):
        root = join(sides, on, how)
        found = [
            [item.expression for item in side.chain.operators if isinstance(item, Where)]
            for side in (root.left, root.right)
        ]
        assert [sorted(item) for item in found] == [sorted(left), sorted(right)]
        assert (root.left.matches, root.right.matches) == matches
        for one_sided in ("k > 1", "a = 'x'", "b = 'x'"):
            name = one_sided.split()[0]
            if one_sided in on:  # for rows that an earlier declaration has kept
                assert f'."{name}"' in root.condition

    def test_it_moves_no_watermark(self, sides):
        root = join(sides, "k = k2 AND lt = rt")
        kinds = [type(item).__name__ for item in root.left.chain.operators]
        assert kinds == ["Where", "WithWatermark", "Where"]

    @pytest.mark.parametrize("how", ["inner", "left", "full"])
    def test_a_null_time_is_in_no_window(self, named, how):
        root = join(named, ["k", window("ts", "10 s")], how)
        for side in (root.left, root.right):
            assert Where('"ts" IS NOT NULL') in side.chain.operators

    def test_null_keys_of_a_stream_stay_where_all_its_rows_do(self, sides, pages):
        for how, kept in (("inner", False), ("semi", False), ("left", True), ("anti", True)):
            root = join((sides[0], pages), "k", how)
            assert (Where('"k" IS NOT NULL') not in root.left.chain.operators) is kept
            assert Where('"k" IS NOT NULL') in root.right.chain.operators

    @pytest.mark.parametrize(
        ("how", "condition", "left", "right"),
        [
            ("inner", "a = 'x'", ["a = 'x'"], []),
            ("inner", "k > 1", ["k > 1"], ['"k2" > 1']),
            ("inner", "b = 'x' AND a = b", [], ["b = 'x'"]),
            ("inner", "lt > now()", [], []),
            ("left", "a = 'x'", ["a = 'x'"], []),
            ("left", "k > 1", ["k > 1"], ['"k2" > 1']),
            ("left", "b IS NULL", [], []),
            ("right", "b = 'x'", [], ["b = 'x'"]),
            ("full", "a = 'x'", [], []),
            ("semi", "a = 'x'", ["a = 'x'"], []),
        ],
    )
    def test_of_a_where_after_it(self, sides, how, condition, left, right):
        plan = sides[0].join(sides[1], on=RANGE, how=how).where(condition).plan()
        found = [
            [
                item.expression.replace('"a"', "a").replace('"k" >', "k >").replace('"b"', "b")
                for item in side.chain.operators
                if isinstance(item, Where) and "NOT NULL" not in item.expression
            ]
            for side in (plan.root.left, plan.root.right)
        ]
        assert found == [left, right]
        kept = " AND ".join(item.expression for item in plan.operators)
        assert sorted(kept.split(" AND ")) == sorted(condition.split(" AND "))


class TestUsing:
    def test_columns_come_once(self, sides):
        made = sides[0].select("k", "a", "lt").join(sides[1].select("b", "rt", k="k2"), on="k")
        assert made.columns == ("k", "a", "lt", "b", "rt")
        assert made.plan().root.columns[0] == ("k", 'l."k"')

    @pytest.mark.parametrize(
        ("how", "key"),
        [
            ("inner", 'l."ts"'),
            ("left", 'l."ts"'),
            ("right", 'coalesce(l."ts", r."ts")'),
            ("full", 'coalesce(l."ts", r."ts")'),
        ],
    )
    def test_keys_come_from_the_side_that_has_them(self, named, how, key):
        root = named[0].join(named[1], on=["ts", "k"], how=how).plan().root
        assert root.columns[0] == ("ts", key)

    def test_of_equal_times(self, named):
        made = named[0].join(named[1], on=["ts", "k"], how="full")
        assert made.columns == ("ts", "k", "x", "y")
        root = made.plan().root
        assert root.columns[0] == ("ts", 'coalesce(l."ts", r."ts")')
        assert root.left.expiry_expression == 'epoch_us("ts")'

    @pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi"])
    def test_of_equal_windows(self, named, how):
        made = named[0].join(named[1], on=["k", window("ts", "10 seconds")], how=how)
        wanted = ("window_start", "window_end", "k", "x", "y")
        assert made.columns == (wanted if how != "semi" else ("ts", "k", "x"))
        root = made.plan().root
        assert len(root.left.keys) == 2
        assert root.output_lag_us == 0
        made.drop_duplicates_within_watermark("k")

    @pytest.mark.parametrize(
        ("on", "says", "remedy"),
        [
            ("x", 'no column "x"', "condition"),
            (["k", window("ts", "10 s", "5 s")], "in several windows", "range of time"),
            (["k", window(window_time(), "10 s")], "joined by their columns", "window_start"),
            ([window("ts", "1 s"), window("ts", "2 s")], "two windows", "one of them"),
            (["k", window("x", "1 s")], "this is BIGINT", ""),
            ("k", 'both sides have a column "ts"', "EXCLUDE (ts)"),
        ],
    )
    def test_refusals(self, named, on, says, remedy):
        with pytest.raises(DeclarationError) as caught:
            named[0].join(named[1], on=on)
        assert says in str(caught.value)
        assert remedy in caught.value.remedy

    def test_windows_are_joined_after_aggregations(self, named):
        counted = [
            item.group_by(window("ts", "5 s"), "k").agg(**{f"n{i}": "count(*)"})
            for i, item in enumerate(named)
        ]
        made = counted[0].join(counted[1], on=["window_start", "window_end", "k"], how="left")
        assert made.columns == ("window_start", "window_end", "k", "n0", "n1")
        root = made.plan().root
        assert root.left.expiry_expression == 'epoch_us("window_end")'
        assert root.left.late_expression == '"window_end"'


class TestHow:
    @pytest.mark.parametrize(
        ("how", "kind"),
        [
            ("left_outer", "left"),
            ("leftouter", "left"),
            ("LEFT", "left"),
            ("right_outer", "right"),
            ("full_outer", "full"),
            ("outer", "full"),
            ("left_semi", "semi"),
            ("inner", "inner"),
        ],
    )
    def test_other_words(self, sides, how, kind):
        assert join(sides, RANGE, how).how == kind

    @pytest.mark.parametrize("how", ["cross", "asof", "", None, 5])
    def test_unknown_words_are_refused(self, sides, how):
        with pytest.raises(DeclarationError, match="no such join") as caught:
            sides[0].join(sides[1], on="k = k2", how=how)
        assert "inner, left, right" in caught.value.remedy

    @pytest.mark.parametrize(
        ("how", "columns"),
        [
            ("inner", (*LEFT, *RIGHT)),
            ("full", (*LEFT, *RIGHT)),
            ("semi", tuple(LEFT)),
        ],
    )
    def test_columns(self, sides, how, columns):
        made = sides[0].join(sides[1], on=RANGE, how=how)
        assert made.columns == columns
        assert [name for name, _ in made.plan().root.columns] == list(columns)

    @pytest.mark.parametrize(
        ("how", "marks", "possible"),
        [
            # which sides have a watermark; the range bounds both
            ("left", "lr", True),
            ("left", "r", True),
            ("left", "l", False),
            ("right", "l", True),
            ("right", "r", False),
            ("full", "lr", True),
            ("full", "l", False),
            ("full", "r", False),
            ("semi", "r", True),
            ("semi", "l", False),
            ("semi", "", False),
            ("inner", "", True),
        ],
    )
    def test_what_rows_without_a_match_need(self, sides, unmarked, how, marks, possible):
        left = (sides if "l" in marks else unmarked)[0]
        right = (sides if "r" in marks else unmarked)[1]
        if possible:
            left.join(right, on=RANGE, how=how).plan()
            return
        with pytest.raises(DeclarationError, match="nothing says") as caught:
            left.join(right, on=RANGE, how=how)
        assert "watermark on the" in caught.value.remedy
        assert "range of time" in caught.value.remedy

    def test_without_a_range_the_watermark_alone_does_not_do(self, sides):
        for how in ("left", "right", "full", "semi"):
            with pytest.raises(DeclarationError, match="nothing says"):
                sides[0].join(sides[1], on="k = k2", how=how)

    def test_anti_of_two_streams_is_refused(self, sides):
        with pytest.raises(DeclarationError, match="may get one later") as caught:
            sides[0].join(sides[1], on=RANGE, how="anti")
        assert "IS NULL" in caught.value.remedy


class TestStatic:
    @pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
    def test_on_the_right(self, sides, pages, how):
        made = sides[0].join(pages.where("owner <> 'x'").select("k", "owner"), on="k", how=how)
        both = ("lt", "k", "a", "device", "owner")
        assert made.columns == (both if how in {"inner", "left"} else tuple(LEFT))
        root = made.plan().root
        assert (root.how, root.condition, root.output_lag_us) == (how, None, 0)
        assert root.right.expiry_expression is root.left.late_expression is None
        assert isinstance(root.right.chain.root, StaticRoot)
        assert root.id == "join-0"
        assert made.plan().stateful_ids() == ()
        made.drop_duplicates_within_watermark("k")  # event time is kept

    def test_on_the_left_it_changes_sides(self, sides, pages):
        made = pages.join(sides[1], on="k = k2 AND owner <> b", how="right")
        assert made.columns == ("k", "owner", "rt", "k2", "b")
        root = made.plan().root
        assert isinstance(root.right.chain.root, StaticRoot)
        assert (root.how, root.left.keys, root.right.keys) == ("left", ('"k2"',), ('"k"',))
        assert root.condition == '(r."owner" <> l."b")'
        assert root.columns[:3] == (("k", 'r."k"'), ("owner", 'r."owner"'), ("rt", 'l."rt"'))
        assert not made.is_static

    @pytest.mark.parametrize(
        ("turned", "how"),
        [
            (False, "right"),
            (False, "full"),
            (True, "left"),
            (True, "full"),
            (True, "semi"),
            (True, "anti"),
        ],
    )
    def test_what_no_batch_can_know_is_refused(self, sides, pages, turned, how):
        left, right = (pages, sides[0]) if turned else (sides[0], pages)
        with pytest.raises(DeclarationError, match="when the stream has ended") as caught:
            left.join(right, on="k", how=how)
        assert ("right" if turned else "left") in caught.value.remedy

    def test_only_a_table_with_where_and_select(self, sides, pages):
        for other in (
            pages.group_by("k").agg(owner="max(owner)"),
            pages.drop_duplicates(),
            pages.union(static("more", schema={"k": "BIGINT", "owner": "VARCHAR"})),
        ):
            with pytest.raises(DeclarationError, match="more than a table") as caught:
                sides[0].join(other, on="k")
            assert "to a table first" in caught.value.remedy

    def test_no_key_has_to_be_equal(self, sides, pages):
        root = join((sides[0].select("lt", n="k"), pages), "n < k")
        assert (root.left.keys, root.condition) == ((), '(l."n" < r."k")')

    def test_two_tables_run_at_once(self, pages):
        other = static("other", schema={"k": "BIGINT", "size": "BIGINT"})
        for how in ("inner", "left", "right", "full", "semi", "anti"):
            made = pages.join(other.group_by("k").agg(n="sum(size)"), on="k", how=how)
            assert made.is_static
            assert made.plan().is_static

    def test_columns_that_are_not_known_wait(self, sides):
        made = sides[0].join(static("tables/pages"), on="k", how="left")
        assert made.columns is None
        with pytest.raises(DeclarationError, match='static table "pages"'):
            made.plan()
        bound = made.bind({"pages": parse_schema({"k": "BIGINT", "owner": "VARCHAR"})})
        assert bound.columns == (*LEFT, "owner")
        with pytest.raises(ExpressionError, match='no column "k"'):
            made.bind({"pages": parse_schema({"kk": "BIGINT"})})

    def test_an_inferred_source_and_a_table(self, unknown, pages):
        made = stream(unknown).where("k > 0").join(pages, on="k")
        assert made.columns is None
        assert made.bind(parse_schema({"k": "BIGINT"})).columns == ("k", "owner")


class TestEventTimeAfterwards:
    @pytest.mark.parametrize(
        ("on", "how", "kept"),
        [
            (RANGE, "inner", ("lt", "rt")),
            (RANGE, "left", ("lt", "rt")),
            (RANGE, "right", ("rt", "lt")),
            (RANGE, "semi", ("lt",)),
            ("k = k2", "inner", ()),  # rows as old as one likes may come out
            ("k = k2 AND rt >= lt", "inner", ("rt",)),
            ("k = k2 AND lt = rt", "inner", ("lt", "rt")),
        ],
    )
    def test_both_sides_where_rows_do_not_stay_for_ever(self, sides, on, how, kept):
        made = sides[0].join(sides[1], on=on, how=how)
        assert tuple(item.name for item in made.body.scope.times) == kept

    def test_windows_of_the_result_close(self, sides):
        made = sides[0].join(sides[1], on=RANGE).group_by(window("lt", "10 s")).agg(n="count(*)")
        assert made.plan().operators[0].watermarked

    def test_no_second_watermark(self, sides):
        with pytest.raises(DeclarationError, match="measured before it"):
            sides[0].join(sides[1], on="k = k2").with_watermark("rt", "1 s")


class TestSeveralSources:
    def test_they_are_known_by_name(self, sides, pages):
        made = (
            sides[0].join(sides[1], on=RANGE).join(pages.select(pk="k", owner="owner"), on="k = pk")
        )
        assert [item.name for item in made.sources] == ["l", "r"]
        assert [item.name for item in made.statics] == ["pages"]
        assert set(made.input_schemas) == {"l", "r", "pages"}
        assert made.input_schema is None
        assert not made.is_plain
        with pytest.raises(DeclarationError, match='2 sources: "l", "r"') as caught:
            _ = made.source
        assert ".sources" in caught.value.remedy
        with pytest.raises(DeclarationError, match="more than operators") as caught:
            _ = made.operators
        assert ".plan()" in caught.value.remedy
        with pytest.raises(DeclarationError, match="no source"):
            _ = pages.source

    def test_names_meet(self, sides, pages, make_source):
        left, right = sides
        twin = stream(make_source(parse_schema(RIGHT), name="l"))
        for build in (
            lambda: left.join(twin, on="k = k2"),
            lambda: left.union(left),
            lambda: left.select("k").join(left.select(k2="k"), on="k = k2"),
        ):
            with pytest.raises(DeclarationError, match='two sources are called "l"') as caught:
                build()
            assert 'name="l_2"' in caught.value.remedy
        with pytest.raises(DeclarationError, match='called "l"'):
            left.join(static("l", schema={"x": "BIGINT"}), on="k = x")
        other = static("elsewhere/pages", schema={"k": "BIGINT", "size": "BIGINT"})
        with pytest.raises(DeclarationError, match='called "pages"'):
            left.join(pages, on="k").join(other, on="k")
        again = left.join(pages, on="k").join(pages.select("k", o="owner"), on="k")
        assert len(again.statics) == 1

    def test_inference_is_for_one_source(self, sides, unknown):
        for build in (
            lambda: sides[0].join(stream(unknown), on="k"),
            lambda: stream(unknown).union(sides[0]),
        ):
            with pytest.raises(
                DeclarationError, match='source "clicks" is to be inferred'
            ) as caught:
                build()
            assert "declare it" in caught.value.remedy

    def test_bind_by_name(self, sides):
        made = sides[0].join(sides[1], on=RANGE)
        wider = parse_schema({**RIGHT, "more": "BIGINT"})
        assert made.bind({"r": wider}).columns == (*LEFT, *RIGHT, "more")
        with pytest.raises(DeclarationError, match='no source or static table "x"') as caught:
            made.bind({"x": wider})
        assert "l, r" in caught.value.remedy
        with pytest.raises(DeclarationError, match="2 sources"):
            made.bind(wider)
        with pytest.raises(DeclarationError):
            made.bind({"r": parse_schema({"rt": "TIMESTAMPTZ"})})

    def test_other_sources(self, sides, make_source):
        made = sides[0].join(sides[1], on=RANGE).where("a = 'x'")
        moved = made.with_sources({"r": make_source(parse_schema(RIGHT), name="copy")})
        assert [item.name for item in moved.sources] == ["l", "copy"]
        assert moved.columns == made.columns
        with pytest.raises(DeclarationError, match='no source "x"'):
            made.with_sources({"x": make_source(parse_schema(RIGHT))})

    def test_describe_and_repr(self, sides, pages):
        made = sides[0].join(sides[1], on=RANGE, how="left").join(pages, on=["k"])
        shown = made.describe()
        assert json.loads(json.dumps(shown)) == shown
        assert [item["name"] for item in shown["sources"]] == ["l", "r"]
        assert shown["statics"][0]["path"] == "tables/pages"
        assert [next(iter(step)) for step in shown["operators"]] == [
            "with_watermark",
            "join",
            "join",
        ]
        assert shown["operators"][1]["join"]["sources"] == ["r"]
        text = repr(made)
        assert ".join(stream(" in text
        assert f"on={RANGE!r}, how='left')" in text
        assert ".join(static('tables/pages', format='delta', name='pages'), on='k'" in text.replace(
            "on=['k']", "on='k'"
        )

    def test_what_depends_on_the_clock_is_named(self, sides):
        made = (
            sides[0]
            .select("lt", "k", at="now()")
            .join(sides[1], on=f"{RANGE} AND b <> now()::VARCHAR")
        )
        assert made.volatile_columns() == ("at",)
        assert len(made.volatile_filters()) == 1


class TestUnion:
    def test_columns_and_event_time(self, named):
        one, two = (item.select("ts", "k") for item in named)
        made = one.union(two).drop_duplicates_within_watermark("k")
        assert made.columns == ("ts", "k")
        assert made.plan().operators[0].event_column == "ts"
        assert len(made.plan().root.inputs) == 2

    def test_the_longer_delay_counts(self, named, make_source):
        other = stream(make_source(parse_schema({"ts": "TIMESTAMPTZ", "k": "BIGINT"}), name="z"))
        made = named[0].select("ts", "k").union(other.with_watermark("ts", "1 minute"))
        within = made.drop_duplicates_within_watermark("k").plan().operators[0]
        assert within.within_us == 60 * SECOND

    def test_event_time_of_some_inputs_is_none(self, named, make_source):
        other = stream(make_source(parse_schema({"ts": "TIMESTAMPTZ", "k": "BIGINT"}), name="z"))
        made = named[0].select("ts", "k").union(other)
        assert made.drop_duplicates("k").plan().operators[0].event_column is None

    @pytest.mark.parametrize(
        ("build", "says", "remedy"),
        [
            (lambda a, b, s: a.union(), "nothing to add", ""),
            (lambda a, b, s: a.union(5), "not a stream", ""),
            (lambda a, b, s: a.union(b), "has the columns", ".select('ts', 'k', 'x')"),
            (
                lambda a, b, s: a.select("k", "ts").union(b.select("ts", "k")),
                "columns k, ts",
                "order",
            ),
            (
                lambda a, b, s: a.select("k").union(b.select(k="ts")),
                'column "k" is BIGINT in the first stream and TIMESTAMPTZ',
                "CAST(k AS BIGINT)",
            ),
            (lambda a, b, s: a.select("k").union(s.select("k")), "do not go together", "join"),
            (lambda a, b, s: s.select("k").union(a.select("k")), "do not go together", "join"),
        ],
    )
    def test_refusals(self, named, pages, build, says, remedy):
        with pytest.raises(DeclarationError) as caught:
            build(*named, pages)
        assert says in str(caught.value)
        assert caught.value.remedy
        assert remedy in caught.value.remedy


class TestStaticDeclaration:
    def test_it_is_a_stream_of_its_own(self, pages):
        made = pages.group_by("owner").agg(n="count(*)").order_by("n DESC").limit(3)
        assert made.columns == ("owner", "n")
        assert made.is_static
        assert not made.is_plain
        (table,) = made.statics
        assert (table.name, table.location, table.format) == ("pages", "tables/pages", "delta")
        assert made.sources == ()
        assert table.describe()["schema"] == {"k": "BIGINT", "owner": "VARCHAR"}

    @pytest.mark.parametrize(
        ("location", "name"),
        [
            ("a/b/pages/", "pages"),
            ("s3://bucket/dir/x", "x"),
            ("pages.parquet", "pages"),
            ("/", "static"),
        ],
    )
    def test_its_name_comes_from_its_place(self, location, name):
        assert static(location, schema={"a": "BIGINT"}).statics[0].name == name

    def test_an_arrow_schema_and_csv(self):
        made = static(
            "p", "csv", pa.schema([("a", pa.int64())]), name="n", delimiter=";", header=False
        )
        assert made.statics[0].describe() == {
            "kind": "static",
            "path": "p",
            "format": "csv",
            "schema": {"a": "BIGINT"},
            "delimiter": ";",
            "header": False,
        }

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"location": ""}, "not a place"),
            ({"location": None}, "not a place"),
            ({"location": "p", "format": "json"}, "no such format"),
            ({"location": "p", "format": "csv"}, "does not say what its columns are"),
            ({"location": "p", "schema": {"a": "TIMESTAMP"}}, "without a zone"),
            ({"location": "p", "schema": {}}, "schema"),
            ({"location": "p", "name": "a b"}, "not a name"),
            (
                {"location": "p", "format": "csv", "schema": {"a": "BIGINT"}, "delimiter": ""},
                "one character",
            ),
            ({"location": "s3://user:secret@bucket/x"}, "credentials"),
        ],
    )
    def test_refusals(self, arguments, says):
        with pytest.raises(DeclarationError) as caught:
            static(**arguments)
        assert says in str(caught.value)
        assert caught.value.remedy
        assert "secret" not in str(caught.value)
