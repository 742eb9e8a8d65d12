from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.errors import SchemaError
from orchestration.streams.schema import (
    duckdb_type,
    field_type,
    is_json,
    parse_schema,
    parse_type,
    quote_identifier,
    quote_literal,
    schema_to_json,
)

UTC_MICROS = pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BOOLEAN", pa.bool_()),
        ("bool", pa.bool_()),
        ("TINYINT", pa.int8()),
        ("SMALLINT", pa.int16()),
        ("INTEGER", pa.int32()),
        ("int", pa.int32()),
        ("BIGINT", pa.int64()),
        ("Long", pa.int64()),
        ("FLOAT", pa.float32()),
        ("REAL", pa.float32()),
        ("DOUBLE", pa.float64()),
        ("double precision", pa.float64()),
        ("DECIMAL", pa.decimal128(18, 3)),
        ("DECIMAL(10,2)", pa.decimal128(10, 2)),
        ("numeric(38, 0)", pa.decimal128(38, 0)),
        ("DECIMAL(7)", pa.decimal128(7, 0)),
        ("VARCHAR", pa.string()),
        ("text", pa.string()),
        ("String", pa.string()),
        ("JSON", pa.string()),
        ("BLOB", pa.binary()),
        ("DATE", pa.date32()),
        ("TIMESTAMPTZ", UTC_MICROS),
        ("timestamp with time zone", UTC_MICROS),
        (" VARCHAR ", pa.string()),
        ("VARCHAR[]", pa.list_(pa.string())),
        ("LIST(INTEGER)", pa.list_(pa.int32())),
        ("INTEGER[][]", pa.list_(pa.list_(pa.int32()))),
        ("MAP(VARCHAR, BIGINT)", pa.map_(pa.string(), pa.int64())),
        ("STRUCT(a INTEGER)", pa.struct([("a", pa.int32())])),
        (
            'STRUCT(os VARCHAR, "two words" DECIMAL(4,1)[])',
            pa.struct([("os", pa.string()), ("two words", pa.list_(pa.decimal128(4, 1)))]),
        ),
        ("STRUCT(a STRUCT(b JSON))", pa.struct([("a", pa.struct([("b", pa.string())]))])),
    ],
)
def test_a_type_name_gives_its_arrow_type(text, expected):
    assert parse_type(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("TIMESTAMP", "without a zone", "timezone="),
        ("datetime", "without a zone", "TIMESTAMPTZ"),
        ("TIMESTAMP_NS", "without a zone", "TIMESTAMPTZ"),
        ("TIMESTAMPTZ(3)", "no number", "TIMESTAMPTZ"),
        ("TIME", "time of day", "VARCHAR"),
        ("TIMETZ", "time of day", "VARCHAR"),
        ("INTERVAL", "INTERVAL", "BIGINT"),
        ("UUID", "UUID", "VARCHAR"),
        ("HUGEINT", "digits lost", "DECIMAL(38, 0)"),
        ("UTINYINT", "unsigned", "SMALLINT"),
        ("USMALLINT", "unsigned", "INTEGER"),
        ("UINTEGER", "unsigned", "BIGINT"),
        ("UBIGINT", "unsigned", "DECIMAL(20, 0)"),
        ("ENUM('a', 'b')", "ENUM", "VARCHAR"),
        ("UNION(a INTEGER)", "UNION", "JSON"),
        ("INTEGER[3]", "fixed length", "T[]"),
        ("MAP(INTEGER, VARCHAR)", "keys", "MAP(VARCHAR, VARCHAR)"),
        ("MAP(VARCHAR)", "incomplete", "MAP(VARCHAR, T)"),
        ("VARCHAR(10)", "length", "VARCHAR"),
        ("char (3)", "length", "VARCHAR"),
        ("DECIMAL(39,0)", "not a decimal", "DECIMAL(18, 2)"),
        ("DECIMAL(4,5)", "not a decimal", "DECIMAL(18, 2)"),
        ("DECIMAL(0)", "not a decimal", "DECIMAL(18, 2)"),
        ("STRUCT(a)", "lacks its type", "name TYPE"),
        ("STRUCT(INTEGER)", "lacks its type", "name TYPE"),
        ("STRUCT()", "", "STRUCT("),
        ("STRUCT(a INTEGER, A VARCHAR)", "twice", "name TYPE"),
        ("STRUCT(t TIMESTAMP)", "field t", "TIMESTAMPTZ"),
        ("TIMESTAMP[]", "without a zone", "TIMESTAMPTZ"),
        ("LIST", "incomplete", "element type"),
        ("VARCHR", "did you mean VARCHAR?", "VARCHAR"),
        ("BIGNIT", "did you mean BIGINT?", "BIGINT"),
        ("MONEY", "not a type", "DECIMAL"),
        ("", "not a type", "BIGINT"),
        ("INTEGER NOT NULL", "not a type", "BIGINT"),
        ("INTEGER) + (1", "not a type", "BIGINT"),
        ("INTEGER); DROP TABLE x; --", "not a type", "BIGINT"),
        ("INTEGER) AS a, (b", "not a type", "BIGINT"),
        ("INTEGER -- comment", "not a type", "BIGINT"),
        ("(((((", "not a type", "BIGINT"),
    ],
)
def test_a_type_that_cannot_be_kept_is_refused_with_the_one_to_write(text, message, remedy):
    with pytest.raises(SchemaError) as caught:
        parse_schema({"the_column": text})
    assert "the_column" in str(caught.value)
    assert message in str(caught.value.args[0])
    assert remedy in caught.value.remedy


def name_or_none(text):
    try:
        return duckdb_type(parse_type(text))
    except SchemaError:
        return None


def test_every_type_name_duckdb_knows_means_what_duckdb_says_or_is_refused():
    with duckdb.connect() as connection:
        names = connection.sql(
            "SELECT DISTINCT type_name FROM duckdb_types() WHERE database_name = 'system'"
        ).fetchall()
        taken = 0
        for (name,) in names:
            ours = name_or_none(name)
            if ours is None:
                continue
            theirs = connection.sql(f"SELECT CAST(NULL AS {ours}) AS a, CAST(NULL AS {name}) AS b")
            assert name.upper() == "JSON" or str(theirs.types[0]) == str(theirs.types[1]), name
            taken += 1
        assert taken > 20


@pytest.mark.parametrize(
    "columns",
    [
        {"a": "INTEGER"},
        {"a b": "VARCHAR", "größe": "DOUBLE", "select": "DATE", 'q"uote': "BLOB", "a.b": "BIGINT"},
        {"j": "JSON", "js": "JSON[]", "m": "MAP(VARCHAR, JSON)"},
        {"s": 'STRUCT("a b" VARCHAR, "j" JSON, "x" STRUCT("y" DECIMAL(3,1)[]))'},
        {"t": "TIMESTAMPTZ", "d": "DECIMAL(38,10)"},
    ],
)
def test_a_schema_comes_back_from_its_json(columns):
    schema = parse_schema(columns)
    assert schema_to_json(schema) == columns
    assert parse_schema(schema_to_json(schema)).equals(schema, check_metadata=True)
    assert all(field.nullable for field in schema)


def test_json_is_remembered_on_the_field():
    schema = parse_schema({"j": "json", "t": "VARCHAR"})
    assert schema.field("j").metadata == {b"headwater": b"json"}
    assert is_json(schema.field("j"))
    assert not is_json(schema.field("t"))
    assert field_type(schema.field("j")) == "JSON"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "at least one column"),
        ("a INTEGER", "mapping"),
        (None, "mapping"),
        ({"": "INTEGER"}, "not a column name"),
        ({"  ": "INTEGER"}, "not a column name"),
        ({1: "INTEGER"}, "not a column name"),
        ({"a": "INTEGER", "A": "INTEGER"}, "twice"),
        ({"_rescued": "VARCHAR"}, "reserved"),
        ({"_FILE": "VARCHAR"}, "reserved"),
        ({"a\0b": "INTEGER"}, "NUL"),
        ({"\ud800": "INTEGER"}, "unicode"),
        ({"a": 5}, "a type is a text"),
    ],
)
def test_names_that_no_table_can_hold_are_refused(columns, message):
    with pytest.raises(SchemaError, match=message) as caught:
        parse_schema(columns)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("data_type", "remedy"),
    [
        (pa.timestamp("us"), "TIMESTAMPTZ"),
        (pa.timestamp("ns", "UTC"), "TIMESTAMPTZ"),
        (pa.time64("us"), "VARCHAR"),
        (pa.uint8(), "BIGINT"),
        (pa.null(), "CAST"),
        (pa.duration("us"), "epoch"),
        (pa.month_day_nano_interval(), "epoch"),
        (pa.dictionary(pa.int8(), pa.string()), "VARCHAR"),
        (pa.decimal256(50, 2), "CAST"),
        (pa.list_(pa.int32(), 3), "T[]"),
        (pa.map_(pa.int32(), pa.string()), "CAST"),
        (pa.struct([("inner", pa.time64("us"))]), "VARCHAR"),
    ],
)
def test_an_arrow_type_that_cannot_be_kept_is_refused(data_type, remedy):
    with pytest.raises(SchemaError) as caught:
        schema_to_json(pa.schema([("the_column", data_type)]))
    assert remedy in caught.value.remedy
    assert "the_column" in str(caught.value)


def test_what_duckdb_returns_is_named_as_it_was_declared():
    columns = {
        "a": "BOOLEAN",
        "b": "DECIMAL(10,2)",
        "c": "TIMESTAMPTZ",
        "d": "VARCHAR[]",
        "e": 'STRUCT("x" INTEGER, "y" VARCHAR)',
        "f": "MAP(VARCHAR, BIGINT)",
        "g": "BLOB",
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        parts = ", ".join(f"CAST(NULL AS {text}) AS {name}" for name, text in columns.items())
        found = connection.sql(f"SELECT {parts}").to_arrow_table().schema
    assert schema_to_json(found) == columns
    assert found.types == parse_schema(columns).types


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1))
def test_quoting_survives_duckdb(text):
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT {quote_literal(text)} AS {quote_identifier(text)}")
        assert found.columns == [text]
        assert found.fetchall() == [(text,)]


@pytest.mark.parametrize(
    ("function", "text"), [(quote_identifier, ""), (quote_identifier, "a\0"), (quote_literal, "\0")]
)
def test_what_cannot_be_quoted_is_refused(function, text):
    with pytest.raises(SchemaError):
        function(text)


@given(st.text(max_size=40))
def test_no_type_text_raises_anything_but_a_schema_error(text):
    name_or_none(text)
