"""Two tables' files as multisets of rows."""

import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

TABLE = pa.table(
    {
        "i": pa.array([1, 2, 2, None, None]),
        "f": pa.array([math.nan, 0.0, -1.5, None, None]),
        "s": ["a", "", None, "x", "x"],
        "d": pa.array([Decimal("1.10"), None, None, None, None], pa.decimal128(10, 2)),
        "st": pa.array([{"x": 1.5, "l": [1]}, None, {"x": None, "l": None}, None, None],
                       pa.struct([("x", pa.float64()), ("l", pa.list_(pa.int64()))])),
    }
)  # fmt: skip


@pytest.fixture
def files(tmp_path):
    def write(table, name, parts=2):
        found = []
        step = max(1, -(-table.num_rows // parts))
        for number, start in enumerate(range(0, table.num_rows, step)):
            path = tmp_path / f"{name}-{number}.parquet"
            pq.write_table(table.slice(start, step), path)
            found.append((str(path), {}))
        return found

    return write


def compare(engine, left, right, columns=TABLE.schema):
    return engine.compare(left, right, columns, samples=3)


def test_the_same_rows_in_other_files_and_another_order(engine, files):
    right = TABLE.take([4, 2, 0, 1, 3])
    found = compare(engine, files(TABLE, "l"), files(right, "r", 3))
    assert (found.left_rows, found.right_rows) == (5, 5)
    assert (found.only_left, found.only_right) == (0, 0)


@pytest.mark.parametrize(
    ("change", "only_left", "only_right"),
    [
        (lambda t: t.slice(0, 4), 1, 0),  # one of two equal rows
        (lambda t: pa.concat_tables([t, t.slice(0, 2)]), 0, 2),
        (lambda t: t.set_column(0, "i", pa.array([1, 2, 3, None, None])), 1, 1),
        (lambda t: t.set_column(1, "f", pa.array([None, 0.0, -1.5, None, None])), 1, 1),
        (lambda t: t.set_column(2, "s", pa.array(["a", None, None, "x", "x"])), 1, 1),
        (lambda t: t.set_column(4, "st", t["st"].take([1, 1, 2, 3, 4])), 1, 1),
        (lambda t: t.slice(0, 0), 5, 0),
    ],
)
def test_a_difference_is_counted_and_shown(engine, files, change, only_left, only_right):
    found = compare(engine, files(TABLE, "l"), files(change(TABLE), "r"))
    assert (found.only_left, found.only_right) == (only_left, only_right)
    assert found.left_samples.num_rows == min(only_left, 3)
    assert found.right_samples.num_rows == min(only_right, 3)
    assert found.left_samples.column_names == TABLE.column_names


def test_zeros_and_nans_are_equal_whatever_their_bits(engine, files):
    table = pa.table({"f": [0.0, math.nan], "l": [[0.0], [math.nan]]})
    other = pa.table({"f": [-0.0, -math.nan], "l": [[-0.0], [-math.nan]]})
    found = compare(engine, files(table, "l"), files(other, "r"), table.schema)
    assert (found.only_left, found.only_right) == (0, 0)


def test_partition_values_and_columns_that_came_later(engine, files):
    schema = pa.schema([("v", pa.int64()), ("p", pa.date32()), ("late", pa.string())])
    (left,) = [path for path, _ in files(pa.table({"v": [1]}), "l")]
    (right,) = [
        path for path, _ in files(pa.table({"v": [1], "late": pa.nulls(1, pa.string())}), "r")
    ]
    day, none = {"p": "2026-01-02"}, {"p": None}
    assert compare(engine, [(left, day)], [(right, day)], schema).only_left == 0
    assert compare(engine, [(left, day)], [(right, none)], schema).only_left == 1
    assert engine.read([(left, day)], schema).to_pylist()[0]["late"] is None
    assert engine.read([], schema).num_rows == 0


def test_nothing_equals_nothing(engine):
    found = compare(engine, [], [])
    assert (found.left_rows, found.right_rows, found.only_left, found.only_right) == (0, 0, 0, 0)
