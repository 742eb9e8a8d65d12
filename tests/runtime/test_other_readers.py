"""Readers that are not ours, with predicates that skip files by our statistics, miss no row."""

import decimal
from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder

from orchestration import stream
from orchestration.testing import MemoryStream, StreamTest

LONG = "z" * 40
SCHEMA = {
    "n": "BIGINT",
    "price": "DECIMAL(10,2)",
    "huge": "DECIMAL(38,2)",
    "name": "VARCHAR",
    "day": "DATE",
    "at": "TIMESTAMPTZ",
    "flag": "BOOLEAN",
    "f": "DOUBLE",
}
D = decimal.Decimal
# One batch each, so one file each: whoever trusts a wrong statistic skips the file and the row.
BATCHES = [
    [{"n": -(2**63), "price": D("0.10"), "name": "a", "flag": True, "f": "nan"}],
    [{"n": 2**63 - 1, "price": D("-99999999.99"), "name": LONG + "tail", "flag": False, "f": 1.5}],
    [{"n": 0, "huge": D("9007199254740993.00"), "name": "\U0010fffe" * 33, "f": -0.0}],
    [{"n": 1, "day": date(1, 1, 1), "at": datetime(2026, 1, 1, 0, 0, 0, 123999, UTC), "f": 0.0}],
    [{"n": 2, "day": date(9999, 12, 31), "at": datetime(1, 1, 1, tzinfo=UTC), "name": ""}],
    [
        {"n": 3, "name": None, "price": D("0.1"), "f": 5e-324},
        {"n": 3, "f": "nan", "name": "é" * 40},
    ],
]
PREDICATES = [
    "n = 9223372036854775807",
    "n < -9223372036854775807",
    "price = 0.10",
    "price <= -99999999.99",
    "huge = CAST('9007199254740993.00' AS DECIMAL(38,2))",
    f"name > '{LONG}'",
    f"name = '{LONG}tail'",
    "name = ''",
    "name >= 'é'",
    "name IS NULL",
    "day = DATE '0001-01-01'",
    "day > DATE '9999-01-01'",
    "flag = true",
    "flag = false",
    "f = 0",
    "f > 0",
    "f < 1e-300",
    "f IS NOT NULL AND f <> 1.5",
]


def floats(table: pa.Table) -> pa.Table:
    """JSON has no NaN, so it comes as a word; a function of the user's makes numbers of it."""
    return table.set_column(7, "f", table["f"].cast(pa.float64()))


@pytest.fixture(scope="module")
def table():
    src = MemoryStream({**SCHEMA, "f": "VARCHAR"})
    test = StreamTest(stream(src).map_batches(floats, SCHEMA))
    for rows in BATCHES:
        src.add([{**row, "f": None if "f" not in row else str(row["f"])} for row in rows])
        test.drain()
    uri = test.settings.tables_uri("stream_test")
    assert len(DeltaTable(uri).file_uris()) == len(BATCHES)
    yield uri
    del test


def truth(table, predicate):
    """The rows, by a reader that is given the files and knows no statistics of the log."""
    rows = pa.concat_tables([pq.read_table(path) for path in DeltaTable(table).file_uris()])
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("rows", rows)
    found = connection.execute(f"SELECT n FROM rows WHERE {predicate}").fetchall()
    return sorted(n for (n,) in found)


@pytest.mark.parametrize("predicate", PREDICATES)
def test_datafusion_skips_no_row(table, predicate):
    found = (
        QueryBuilder()
        .register("t", DeltaTable(table))
        .execute(f"SELECT n FROM t WHERE {predicate}")
    )
    assert sorted(pa.table(found.read_all())["n"].to_pylist()) == truth(table, predicate)


@pytest.mark.parametrize("predicate", PREDICATES)
def test_polars_skips_no_row(table, predicate):
    if "DATE '" in predicate:
        predicate = predicate.replace("DATE ", "") + "::date"
    found = pl.SQLContext(t=pl.scan_delta(table)).execute(f"SELECT n FROM t WHERE {predicate}")
    assert sorted(found.collect()["n"].to_list()) == truth(table, predicate)


@pytest.mark.parametrize("predicate", PREDICATES)
def test_arrow_skips_no_row(table, predicate):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("t", DeltaTable(table).to_pyarrow_dataset())  # pushes predicates down
    found = connection.execute(f"SELECT n FROM t WHERE {predicate}").fetchall()
    assert sorted(n for (n,) in found) == truth(table, predicate)


def test_every_value_comes_back_as_it_was(table):
    found = {row["n"]: row for row in pl.read_delta(table).to_dicts() if row["n"] != 3}
    assert found[0]["huge"] == D("9007199254740993.00")
    assert found[2**63 - 1]["price"] == D("-99999999.99")
    assert found[1]["at"] == datetime(2026, 1, 1, 0, 0, 0, 123999, UTC)
    assert found[2]["day"] == date(9999, 12, 31)
    assert found[0]["name"] == "\U0010fffe" * 33
