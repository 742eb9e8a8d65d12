from __future__ import annotations

import json

import pyarrow as pa
import pytest

from orchestration.errors import DeclarationError, ExpressionError, SchemaError
from orchestration.streams.builder import Stream, stream
from orchestration.streams.operators import MapBatches, Select, Where
from orchestration.streams.schema import parse_schema


def double(rows: pa.Table) -> pa.Table:
    return rows


def test_verbs_give_new_streams_and_change_nothing(clicks):
    first = stream(clicks)
    second = first.where("amount >= 0 -- paid")
    third = second.select("page", cents="amount * 100")
    assert first.operators == ()
    assert second.operators == (Where("amount >= 0"),)
    assert third.operators == (
        Where("amount >= 0"),
        Select((("page", "page"), ("cents", "amount * 100"))),
    )
    assert (first.columns, third.columns) == (tuple(clicks.schema.names), ("page", "cents"))
    assert third.source is clicks
    for change in (lambda: setattr(first, "source", None), lambda: delattr(first, "source")):
        with pytest.raises(AttributeError):
            change()


def test_only_the_verbs_that_work_are_there():
    assert {name for name in dir(Stream) if not name.startswith("_")} == {
        "agg",
        "apply_in_arrow_with_state",
        "bind",
        "body",
        "columns",
        "describe",
        "drop_duplicates",
        "drop_duplicates_within_watermark",
        "group_by",
        "input_schema",
        "input_schemas",
        "is_plain",
        "is_static",
        "join",
        "limit",
        "map_batches",
        "operators",
        "order_by",
        "plan",
        "select",
        "source",
        "sources",
        "statics",
        "union",
        "volatile_columns",
        "volatile_filters",
        "where",
        "where_is_volatile",
        "with_source",
        "with_sources",
        "with_watermark",
    }


def test_the_same_verbs_go_over_another_source(clicks, make_source):
    made = stream(clicks).where("amount > 0").select("page", at="now()")
    other = make_source(clicks.schema, name="copy")
    moved = made.with_source(other)
    assert moved.source is other
    assert (moved.operators, moved.columns) == (made.operators, made.columns)
    with pytest.raises(ExpressionError, match='no column "amount"'):
        made.with_source(make_source(parse_schema({"page": "VARCHAR"})))


@pytest.mark.parametrize("thing", [None, "landing/", 5, object(), stream])
def test_what_is_no_source_is_refused(thing):
    with pytest.raises(DeclarationError, match="not a source"):
        stream(thing)


def test_operators_stand_in_parentheses_whatever_comment_ends_them(clicks):
    made = stream(clicks).where("amount > 0 -- ) OR true").where("/* a */ ok /* b */")
    assert made.operators == (Where("amount > 0"), Where("ok"))


class TestMapBatches:
    def test_replaces_the_columns(self, clicks):
        made = stream(clicks).map_batches(double, {"a": "BIGINT", "b": "VARCHAR"})
        assert made.columns == ("a", "b")
        assert made.operators == (
            MapBatches(double, parse_schema({"a": "BIGINT", "b": "VARCHAR"})),
        )
        with pytest.raises(ExpressionError, match='no column "page"'):
            made.where("page = 'x'")

    def test_takes_an_arrow_schema(self, clicks):
        schema = pa.schema([("a", pa.int64())])
        assert stream(clicks).map_batches(double, schema).operators[0].schema is schema

    @pytest.mark.parametrize(
        ("function", "schema", "error"),
        [
            (None, {"a": "BIGINT"}, DeclarationError),
            ("double", {"a": "BIGINT"}, DeclarationError),
            (double, {}, SchemaError),
            (double, None, SchemaError),
            (double, {"a": "TIMESTAMP"}, SchemaError),
            (double, pa.schema([]), SchemaError),
            (double, pa.schema([("a", pa.int64()), ("A", pa.int64())]), SchemaError),
            (double, pa.schema([("a", pa.time64("us"))]), SchemaError),
        ],
    )
    def test_refuses_what_cannot_run(self, clicks, function, schema, error):
        with pytest.raises(error) as caught:
            stream(clicks).map_batches(function, schema)
        assert caught.value.remedy

    def test_refuses_functions_that_return_no_table(self, clicks):
        async def later(rows):
            return rows

        def pieces(rows):
            yield rows

        for function in (later, pieces):
            with pytest.raises(DeclarationError, match="async or a generator"):
                stream(clicks).map_batches(function, {"a": "BIGINT"})


class TestInferredSchema:
    def test_names_are_checked_once_they_are_known(self, unknown, clicks_schema):
        made = stream(unknown).where("amuont > 0")
        assert made.columns is None
        with pytest.raises(ExpressionError, match='did you mean "amount"?'):
            made.bind(clicks_schema)

    def test_what_needs_no_names_is_checked_at_once(self, unknown):
        for bad in ("sum(x) > 1", "x >", "random() > x"):
            with pytest.raises(ExpressionError):
                stream(unknown).where(bad)
        with pytest.raises(ExpressionError, match="has no name"):
            stream(unknown).select("x + 1")
        with pytest.raises(ExpressionError, match="twice"):
            stream(unknown).select("x", "y AS X")

    def test_a_star_waits(self, unknown, clicks_schema):
        made = stream(unknown).select("* EXCLUDE (tags)", "device.*", PAGE="upper(page)")
        assert made.columns is None
        with pytest.raises(DeclarationError, match="not known yet"):
            _ = made.operators
        bound = made.bind(clicks_schema)
        assert "tags" not in bound.columns
        assert bound.columns[1] == "PAGE"
        assert bound.columns[-2:] == ("os", "screen")
        assert bound.input_schema is clicks_schema
        assert made.columns is None  # the first is as it was

    def test_columns_are_known_again_after_a_select_without_star(self, unknown):
        made = stream(unknown).where("x > 1").select("x", y="z")
        assert made.columns == ("x", "y")
        assert len(made.operators) == 2
        with pytest.raises(ExpressionError, match='no column "z"'):
            made.where("z > 1")

    def test_all_steps_are_checked_when_bound(self, unknown):
        made = stream(unknown).select("a", b="c").where("b > 1")
        assert made.bind(parse_schema({"a": "BIGINT", "c": "BIGINT"})).columns == ("a", "b")
        with pytest.raises(ExpressionError, match='no column "c"'):
            made.bind(parse_schema({"a": "BIGINT"}))

    def test_a_declared_schema_may_be_bound_anew(self, clicks):
        made = stream(clicks).select("*", n="1")
        assert made.bind(parse_schema({"a": "BIGINT"})).columns == ("a", "n")

    def test_a_schema_no_table_can_hold_is_refused(self, unknown):
        with pytest.raises(SchemaError):
            stream(unknown).bind(pa.schema([("a", pa.time64("us"))]))
        with pytest.raises(SchemaError):
            stream(unknown).bind(pa.schema([("a", pa.int64()), ("A", pa.int64())]))


class TestBatchTime:
    @pytest.mark.parametrize(
        ("build", "columns", "filters"),
        [
            (lambda s: s, (), ()),
            (lambda s: s.select("page", at="now()"), ("at",), ()),
            (lambda s: s.select("*", at="current_date"), ("at",), ()),
            (lambda s: s.select("page", at="now()").select("page"), (), ()),
            (lambda s: s.select("page", at="now()").select(x="AT - INTERVAL 1 DAY"), ("x",), ()),
            (lambda s: s.select("*", ts="now()").select("ts", "page"), ("ts",), ()),
            (lambda s: s.select("*", at="now()").select("*", y="1"), ("at",), ()),
            (
                lambda s: s.where("ts > now() - INTERVAL 1 DAY"),
                (),
                ("ts > now() - INTERVAL 1 DAY",),
            ),
            (
                lambda s: s.select("*", at="now()").where("at > ts").select("page"),
                (),
                ("at > ts",),
            ),
            (
                lambda s: s.select("page", at="now()").map_batches(double, {"b": "BIGINT"}),
                ("b",),
                (),
            ),
            (lambda s: s.map_batches(double, {"b": "BIGINT"}), (), ()),
            (lambda s: s.where("page = 'now()'"), (), ()),
        ],
    )
    def test_what_no_reprocess_can_repeat_is_named(self, clicks, build, columns, filters):
        made = build(stream(clicks))
        assert made.volatile_columns() == columns
        assert made.volatile_filters() == filters
        assert made.where_is_volatile is bool(filters)

    def test_also_before_the_schema_is_known(self, unknown):
        made = stream(unknown).select("*", at="now()").where("at > ts")
        assert made.volatile_columns() == ("at",)
        assert made.where_is_volatile


def test_describe_is_json_and_repr_is_readable(clicks):
    made = (
        stream(clicks)
        .where("amount >= 0")
        .select("page", cents="amount * 100")
        .map_batches(double, {"page": "VARCHAR"})
    )
    shown = made.describe()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["source"] == {"name": "clicks", "kind": "files", "path": "in", "format": "json"}
    assert shown["operators"][0] == {"where": "amount >= 0"}
    assert shown["operators"][1]["select"][1] == {"name": "cents", "expression": "amount * 100"}
    assert shown["operators"][2]["schema"] == {"page": "VARCHAR"}
    assert shown["operators"][2]["map_batches"].endswith("double")
    assert shown["columns"] == ["page"]
    text = repr(made)
    assert ".where('amount >= 0')" in text
    assert ".select('page', cents='amount * 100')" in text
    assert text.endswith("-> page")


def test_describe_before_the_schema_is_known(unknown):
    made = stream(unknown).select("*", at="now()")
    assert made.describe()["operators"] == [
        {"select": [{"expression": "*"}, {"name": "at", "expression": "now()"}]}
    ]
    assert made.describe()["columns"] is None
    assert repr(made).endswith(".select('*', at='now()')\n  -> to be inferred")
