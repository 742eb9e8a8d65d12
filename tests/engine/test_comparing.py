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


# -- floating-point sums: the last bits do not count -------------------------------------------------

SUMS = pa.schema([("k", pa.string()), ("s", pa.float64()), ("a", pa.float64())])


def close(engine, files, left, right, schema=SUMS):
    rows = [pa.Table.from_pylist(given, schema=schema) for given in (left, right)]
    return engine.compare(
        files(rows[0], "l"), files(rows[1], "r", 3), schema, samples=3, close=schema.names
    )


def sums(*rows):
    return [dict(zip("ksa", row, strict=True)) for row in rows]


def only(found):
    return (found.only_left, found.only_right)


def test_last_bits_of_sums_are_no_difference_unless_asked(engine, files):
    left = sums(("a", 0.1 + 0.2, 1.0), ("b", 1e300, None), (None, math.inf, math.nan))
    right = sums((None, math.inf, -math.nan), ("a", 0.3, 1.0), ("b", 1e300 * (1 + 9e-10), None))
    assert only(close(engine, files, left, right)) == (0, 0)
    tables = [pa.Table.from_pylist(rows, schema=SUMS) for rows in (left, right)]
    given = files(tables[0], "l"), files(tables[1], "r")
    assert only(compare(engine, *given, SUMS)) == (2, 2)
    assert only(engine.compare(*given, SUMS, samples=3, close=["a"])) == (2, 2)
    assert only(engine.compare(*given, SUMS, samples=3, close=["s"])) == (0, 0)


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1.0, 1.0 + 2e-9),
        (1.0, -1.0),
        (math.inf, 1e308),
        (math.inf, -math.inf),
        (math.nan, 1.0),
        (None, 0.0),
        (None, math.nan),
        (1e-12, 2e-12),  # a column of small values is as strict as one of large ones
    ],
)
def test_beyond_the_tolerance_is_a_difference_and_shown(engine, files, value, other):
    found = close(engine, files, sums(("a", value, 1.0)), sums(("a", other, 1.0)))
    assert only(found) == (1, 1)
    shown = found.left_samples["s"].to_pylist() + found.right_samples["s"].to_pylist()
    assert str(shown) == str([value, other])


def test_what_cancelled_to_nearly_nothing_is_nothing(engine, files):
    left, right = ("a", 3.5e-15, 0.0), ("a", 0.0, 0.0)
    large, outlier = ("b", 1234.5, 0.0), ("b", 1e300, 0.0)
    assert only(close(engine, files, sums(left, large), sums(right, large))) == (0, 0)
    assert only(close(engine, files, sums(left), sums(right))) == (1, 1)
    # One outlier does not make all of its column equal.
    wrong = ("a", 1e-6, 0.0)
    assert only(close(engine, files, sums(wrong, outlier), sums(right, outlier))) == (1, 1)


def test_the_exact_columns_are_exact(engine, files):
    noisy = 0.1 + 0.2
    found = close(engine, files, sums(("a", noisy, 1.0)), sums(("b", 0.3, 1.0)))
    assert only(found) == (1, 1)
    assert found.left_samples.to_pylist() == sums(("a", noisy, 1.0))
    assert found.right_samples.to_pylist() == sums(("b", 0.3, 1.0))


def test_one_missing_row_among_many_alike_is_one_difference(engine, files):
    """Ranked against each other, every row after it would be one."""
    left = sums(*(("a", n + 0.1 + 0.2, float(n % 3)) for n in range(50)))
    right = sums(*(("a", n + 0.3, float(n % 3)) for n in range(50) if n != 7))
    found = close(engine, files, left, right)
    assert only(found) == (1, 0)
    assert found.left_samples["s"].to_pylist() == [pytest.approx(7.3)]


def test_near_ties_in_one_column_do_not_mix_up_the_next(engine, files):
    left = sums(("a", 1.0, 5.0), ("a", math.nextafter(1.0, 2), 3.0))
    right = sums(("a", 1.0, 3.0), ("a", math.nextafter(1.0, 2), 5.0))
    assert only(close(engine, files, left, right)) == (0, 0)


def test_counts_of_close_rows_have_to_be_equal(engine, files):
    row = ("a", 0.1 + 0.2, 1.0)
    found = close(engine, files, sums(row, row, row), sums(("a", 0.3, 1.0)))
    assert (only(found), found.left_rows, found.right_rows) == ((2, 0), 3, 1)


def test_floats_in_structs_and_reals(engine, files):
    kind = pa.struct([("n", pa.int64()), ("mean", pa.float64())])
    schema = pa.schema([("st", kind), ("r", pa.float32()), ("l", pa.list_(pa.float64()))])
    row = {"st": {"n": 1, "mean": 0.3}, "r": 1.0, "l": [0.3]}
    near = {"st": {"n": 1, "mean": 0.1 + 0.2}, "r": 1.0 + 2.0**-23, "l": [0.3]}
    assert only(close(engine, files, [row, row], [near, near], schema)) == (0, 0)
    for other in (
        {**row, "st": {"n": 2, "mean": 0.3}},
        {**row, "st": {"n": 1, "mean": None}},
        {**row, "st": None},
        {**row, "r": 1.0 + 2.0**-20},
        {**row, "l": [0.1 + 0.2]},  # lists hold values as they came
    ):
        found = close(engine, files, [row, near], [row, other], schema)
        assert only(found) == (1, 1)
        assert found.right_samples.to_pylist() == [other]


def test_a_table_of_nothing_but_floats(engine, files):
    schema = pa.schema([("s", pa.float64())])
    left = [{"s": 0.1 + 0.2}, {"s": None}, {"s": math.nan}]
    assert only(close(engine, files, left, [{"s": None}, {"s": math.nan}, {"s": 0.3}], schema)) == (
        0,
        0,
    )
    assert only(close(engine, files, left, [{"s": 0.3}], schema)) == (2, 0)


def test_equal_values_are_one_in_whatever_order_they_are_seen(engine, files):
    """They are told apart by another column, so several of them are there."""
    left = sums(*(("a", 0.1 + 0.2, float(n)) for n in range(5_000)))
    right = sums(*(("a", 0.3, n * (1 + 2**-52)) for n in reversed(range(5_000))))
    assert only(close(engine, files, left, right)) == (0, 0)
