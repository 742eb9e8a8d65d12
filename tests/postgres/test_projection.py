"""The typed changes of one table, out of the log."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from orchestration import available_now, delta, delta_sink
from orchestration.errors import DeclarationError, HeadwaterError
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.postgres import changes

SCHEMA = {
    "id": "BIGINT",
    "small": "SMALLINT",
    "amount": "DECIMAL(12,2)",
    "score": "DOUBLE",
    "name": "VARCHAR",
    "ok": "BOOLEAN",
    "day": "DATE",
    "at": "TIMESTAMPTZ",
    "plain": "TIMESTAMPTZ",
    "raw": "BLOB",
    "doc": "JSON",
    "tags": "VARCHAR[]",
    "numbers": "BIGINT[]",
    "grid": "INTEGER[][]",
    "place": "STRUCT(x INTEGER, y VARCHAR)",
    'o"d d': "VARCHAR",
}
TABLE = (
    "CREATE TABLE t (id bigint PRIMARY KEY, small smallint, amount numeric(12,2), score float8, "
    "name text, ok boolean, day date, at timestamptz, plain timestamp, raw bytea, doc jsonb, "
    'tags text[], numbers bigint[], grid int[][], place json, "o""d d" text)'
)


def typed(shop, schema=SCHEMA, name="typed", table="public.t"):
    shop.run()
    query = StreamingQuery(
        name,
        changes(delta(shop.name), table=table, schema=schema),
        sink=delta_sink(name),
        settings=shop.settings,
    )
    query.run(available_now())
    return pl.read_delta(shop.settings.tables_uri(name)).sort("_sequence").to_dicts()


def test_values_are_what_they_were(shop):
    shop.sql(TABLE)
    shop.sql(
        """INSERT INTO t VALUES (1, -5, 12.50, 'NaN', E'a"b\\nc', true, '2026-02-28',
        '2026-02-28 12:00+05:30', '2026-02-28 12:00', '\\x00ff', '{"a": [1, 2]}',
        '{a,"b,c",NULL,"q\\"uo"}', '{1,NULL,3}', '{{1,2},{3,4}}', '{"x": 1, "y": "z"}', 'w')"""
    )
    shop.run()
    shop.sql("INSERT INTO t (id) VALUES (2)")
    shop.sql("DELETE FROM t WHERE id = 1")
    shop.sql("TRUNCATE t")
    first, empty, gone, truncated = typed(shop)
    assert math.isnan(first.pop("score"))
    assert {name: first[name] for name in SCHEMA if name != "score"} == {
        "id": 1,
        "small": -5,
        "amount": Decimal("12.50"),
        "name": 'a"b\nc',
        "ok": True,
        "day": date(2026, 2, 28),
        "at": datetime(2026, 2, 28, 6, 30, tzinfo=UTC),
        "plain": datetime(2026, 2, 28, 12, tzinfo=UTC),
        "raw": b"\x00\xff",
        "doc": '{"a": [1, 2]}',
        "tags": ["a", "b,c", None, 'q"uo'],
        "numbers": [1, None, 3],
        "grid": [[1, 2], [3, 4]],
        "place": {"x": 1, "y": "z"},
        'o"d d': "w",
    }
    assert (first["_op"], first["_table"]) == ("read", "public.t")
    assert {name: value for name, value in empty.items() if name in SCHEMA and value} == {"id": 2}
    assert (gone["_op"], gone["id"], gone["name"]) == ("delete", 1, None)
    assert (truncated["_op"], truncated["id"]) == ("truncate", None)


@pytest.mark.parametrize(
    ("column", "kind", "value", "declared"),
    [
        ("n", "numeric", "1.005", "DECIMAL(10,2)"),
        ("n", "numeric", "1.5", "BIGINT"),
        ("n", "numeric", "'NaN'", "DECIMAL(10,2)"),
        ("d", "date", "'infinity'", "DATE"),
        ("d", "timestamptz", "'-infinity'", "TIMESTAMPTZ"),
        ("n", "text", "'x'", "BIGINT"),
    ],
)
def test_a_value_that_does_not_fit_fails(shop, column, kind, value, declared):
    shop.sql(f"CREATE TABLE t (id int PRIMARY KEY, {column} {kind})")
    shop.sql(f"INSERT INTO t VALUES (1, {value})")
    with pytest.raises(HeadwaterError):
        typed(shop, {"id": "INTEGER", column: declared})
    assert typed(shop, {"id": "INTEGER", column: "VARCHAR"}, "as_text")[0]["id"] == 1


def test_trailing_zeros_are_no_loss(shop):
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, a numeric, b numeric)")
    shop.sql("INSERT INTO t VALUES (1, 1.5000, 12.000)")
    (row,) = typed(shop, {"id": "INTEGER", "a": "DECIMAL(10,2)", "b": "BIGINT"})
    assert (row["a"], row["b"]) == (Decimal("1.50"), 12)


def test_a_column_that_came_later_is_null_before(shop):
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, old text)")
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    shop.sql("ALTER TABLE t ADD COLUMN new text")
    shop.sql("ALTER TABLE t DROP COLUMN old")
    shop.sql("INSERT INTO t VALUES (2, 'b')")
    rows = typed(shop, {"id": "INTEGER", "old": "VARCHAR", "new": "VARCHAR"})
    assert [(row["id"], row["old"], row["new"]) for row in rows] == [(1, "a", None), (2, None, "b")]


def test_other_tables_stay_out(shop):
    shop.tables = ["public.t", "public.u"]
    shop.sql("CREATE TABLE t (id int PRIMARY KEY)")
    shop.sql("CREATE TABLE u (id int PRIMARY KEY)")
    shop.sql("INSERT INTO t VALUES (1)")
    shop.sql("INSERT INTO u VALUES (2)")
    assert [row["id"] for row in typed(shop, {"id": "INTEGER"}, table="u")] == [2]


def test_what_makes_no_sense():
    with pytest.raises(DeclarationError, match="'_op' is a column of the change"):
        changes("log", "t", {"_op": "VARCHAR"})
    with pytest.raises(DeclarationError, match="changes already"):
        changes(delta("log", change_feed=True), "t", {"id": "BIGINT"})
    with pytest.raises(DeclarationError, match="expected the change log"):
        changes(5, "t", {"id": "BIGINT"})
