"""Parquet: columns by name, converted only where nothing is lost."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engine.support import Files, run


@pytest.fixture
def go(engine, tmp_path):
    def call(table, schema, *, write=None, **options):
        path = tmp_path / "in.parquet"
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            pq.write_table(pa.table(table), path, **(write or {}))
        return run(
            engine, tmp_path / "out", Files([path], schema, **{"name": "parquet", **options})
        )

    return call


def column(values, kind):
    return {"v": pa.array(values, kind)}


@pytest.mark.parametrize(
    ("values", "kind", "declared", "expected"),
    [
        ([1, None], pa.int32(), "BIGINT", [1, None]),
        ([1], pa.uint64(), "BIGINT", [1]),
        ([1.5], pa.float32(), "DOUBLE", [1.5]),
        ([5.0], pa.float64(), "BIGINT", [5]),
        ([5], pa.int64(), "DOUBLE", [5.0]),
        ([5], pa.int64(), "DECIMAL(10,2)", [Decimal("5.00")]),
        ([Decimal("1.10")], pa.decimal128(5, 2), "DECIMAL(10,4)", [Decimal("1.1000")]),
        ([Decimal("1.10")], pa.decimal128(12, 4), "DECIMAL(10,2)", [Decimal("1.10")]),
        (["x"], pa.large_string(), "VARCHAR", ["x"]),
        (["x"], pa.dictionary(pa.int8(), pa.string()), "VARCHAR", ["x"]),
        ([b"\x00\xff"], pa.binary(), "BLOB", [b"\x00\xff"]),
        ([date(2026, 1, 2)], pa.date64(), "DATE", [date(2026, 1, 2)]),
        ([1_000], pa.timestamp("ns", "UTC"), "TIMESTAMPTZ", [datetime(1970, 1, 1, 0, 0, 0, 1, UTC)]),
        ([1], pa.timestamp("ms", "Asia/Tokyo"), "TIMESTAMPTZ", [datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)]),
        ([[1, None], None, []], pa.list_(pa.int16()), "BIGINT[]", [[1, None], None, []]),
        ([{"a": 1}, None], pa.struct([("a", pa.int8()), ("z", pa.int8())]), "STRUCT(b VARCHAR, a BIGINT)",
         [{"b": None, "a": 1}, None]),
        ([[("k", 1)], None], pa.map_(pa.string(), pa.int32()), "MAP(VARCHAR, BIGINT)", [{"k": 1}, None]),
        ([None], pa.null(), "BIGINT", [None]),
    ],
)  # fmt: skip
def test_what_loses_nothing_is_taken(go, values, kind, declared, expected):
    batch = go(column(values, kind), {"v": declared})
    assert batch.output.rows_quarantined == 0
    assert sorted((row["v"] for row in batch.rows), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize(
    ("values", "kind", "declared"),
    [
        ([300, 1], pa.int64(), "TINYINT"),
        ([2**63, 1], pa.uint64(), "BIGINT"),
        ([5.5, 1.0], pa.float64(), "BIGINT"),
        ([0.1, 1.0], pa.float64(), "FLOAT"),
        ([2**53 + 1, 1], pa.int64(), "DOUBLE"),
        ([Decimal("1.234"), Decimal("1.000")], pa.decimal128(10, 3), "DECIMAL(10,2)"),
        ([Decimal(1000), Decimal(1)], pa.decimal128(10, 0), "DECIMAL(3,0)"),
        ([1, 1000], pa.timestamp("ns", "UTC"), "TIMESTAMPTZ"),
        ([-(2**62), 1], pa.timestamp("us", "UTC"), "TIMESTAMPTZ"),
        ([[1.5], [1.0]], pa.list_(pa.float64()), "BIGINT[]"),
    ],
)
def test_a_value_that_does_not_fit_costs_its_row(go, values, kind, declared):
    batch = go(column(values, kind), {"v": declared}, metadata=True)
    assert [row["_file"]["row"] for row in batch.rows] == [2]
    (bad,) = batch.bad
    assert bad["line"] == 1
    assert bad["reason"].startswith("v: ")
    assert "v" in json.loads(bad["raw"])


@pytest.mark.parametrize(
    ("values", "kind", "declared"),
    [
        (["x"], pa.string(), "BIGINT"),
        ([1], pa.int64(), "VARCHAR"),
        ([True], pa.bool_(), "BIGINT"),
        ([1], pa.int64(), "TIMESTAMPTZ"),
        ([1], pa.timestamp("us"), "TIMESTAMPTZ"),
        ([b"x"], pa.binary(), "VARCHAR"),
        ([{"a": "x"}], pa.struct([("a", pa.string())]), "STRUCT(a BIGINT)"),
    ],
)
def test_a_column_of_another_kind_sets_the_file_aside(go, values, kind, declared):
    batch = go(column(values, kind), {"v": declared})
    assert batch.rows == []
    assert batch.bad[0]["line"] is None
    assert batch.bad[0]["reason"].startswith("v: ")


def test_naive_timestamps_with_a_zone(go):
    hour = 3_600_000_000
    summer = 20_635 * 24 * hour  # 2026-07-01
    batch = go(column([summer], pa.timestamp("us")), {"v": "TIMESTAMPTZ"}, timezone="Europe/Berlin")
    assert batch.rows == [{"v": datetime(2026, 6, 30, 22, tzinfo=UTC)}]


def test_missing_columns_are_null_and_others_ignored_or_rescued(go):
    table = {"a": [1], "x": ["y"]}
    assert go(table, {"a": "BIGINT", "b": "VARCHAR"}).rows == [{"a": 1, "b": None}]
    rescued = go(table, {"a": "BIGINT"}, rescue=True).rows
    assert rescued[-1]["_rescued"] == '{"x": "y"}'


@pytest.mark.parametrize("damage", ["cut", "footer", "page", "text", "tiny"])
def test_a_damaged_file_is_set_aside_whole(go, tmp_path, damage):
    path = tmp_path / "whole.parquet"
    values = [f"{n * 7919 % 100_003}-{n}" for n in range(200_000)]
    pq.write_table(pa.table({"v": values}), path, compression="zstd", row_group_size=20_000)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "footer":
        data[-12:-8] = b"\xff\xff\xff\x7f"
    elif damage == "page":
        at = len(data) * 3 // 4
        data[at : at + 2000] = bytes(2000)
    else:
        data = bytearray(b"no parquet at all" if damage == "text" else b"P")
    batch = go(bytes(data), {"v": "VARCHAR"})
    assert batch.rows == []
    (bad,) = batch.bad
    assert bad["line"] is None
    assert bad["size_bytes"] == len(data)


def test_an_empty_file_is_nothing(go):
    assert go(b"", {"v": "BIGINT"}).output.rows_read == 0
    assert go(column([], pa.int64()), {"v": "BIGINT"}).output.rows_read == 0
