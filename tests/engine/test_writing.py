"""Files of a table: where they lie, what their statistics say, and that no reader is misled."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder, Schema

from orchestration.engine.base import TableInput
from orchestration.sinks.actions import add_action
from orchestration.streams.operators import Select
from tests.engine.support import run


def delta(batch):
    """Commit what a batch wrote, as a committer would."""
    root = str(batch.root / "sink")
    schema = Schema.from_arrow(batch.schema)
    table = DeltaTable.create(root, schema, partition_by=list(batch.partition_by))
    actions = [add_action(file, batch.schema, batch.partition_by) for file in batch.output.sink]
    table.create_write_transaction(actions, "append", schema, partition_by=list(batch.partition_by))
    return root


def sql(root, query):
    builder = QueryBuilder().register("t", DeltaTable(root))
    return pa.table(builder.execute(query).read_all()).to_pylist()


TRICKY = {
    "f": pa.array([1.5, math.nan, -0.0, 0.0, math.inf, None], pa.float64()),
    "r": pa.array([1.5, math.nan, -0.0, 0.0, -math.inf, None], pa.float32()),
    "d": pa.array([Decimal("0.10"), Decimal("-99999999.99"), Decimal("0.30"), None, None, None],
                  pa.decimal128(10, 2)),
    "w": pa.array([Decimal(10**37 + 1), Decimal(-(10**37)), None, None, None, None],
                  pa.decimal128(38, 0)),
    "i": pa.array([2**63 - 1, -(2**63), 0, None, 5, 6]),
    "s": pa.array(["a" * 40 + "z", "a" * 32, "\U0010ffff" * 40, "", None, "é" * 300]),
    "b": pa.array([True, False, None, True, True, False]),
    "x": pa.array([b"\xff", b"", None, b"a", b"b", b"c"]),
    "day": pa.array([0, -719162, 2932896, None, 1, 2], pa.int32()).cast(pa.date32()),
    "ts": pa.array([datetime(2026, 1, 1, 0, 0, 0, 123999, UTC), datetime(1, 1, 1, tzinfo=UTC),
                    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None, None, None],
                   pa.timestamp("us", "UTC")),
    "st": pa.array([{"a.b": 1, 'q"r': "x"}, {"a.b": None, 'q"r': None}, None, None, None, None],
                   pa.struct([("a.b", pa.int64()), ('q"r', pa.string())])),
    "l": pa.array([[1, None], [], None, None, None, None], pa.list_(pa.int64())),
    "m": pa.array([[("k", 1)], [], None, None, None, None], pa.map_(pa.string(), pa.int64())),
}  # fmt: skip


def test_statistics_of_every_type(engine, tmp_path):
    batch = run(engine, tmp_path, TableInput(pa.table(TRICKY)))
    (file,) = batch.output.sink
    stats = json.loads(file.stats, parse_float=str)
    least, greatest, nulls = stats["minValues"], stats["maxValues"], stats["nullCount"]
    assert stats["numRecords"] == 6
    assert {"f", "r", "b", "x", "l", "m"}.isdisjoint(least)
    assert (nulls["f"], nulls["b"], nulls["ts"]) == (1, 1, 3)
    assert (least["d"], greatest["d"]) == ("-99999999.99", "0.30")
    assert (least["w"], greatest["w"]) == (-(10**37), 10**37 + 1)
    assert (least["i"], greatest["i"]) == (-(2**63), 2**63 - 1)
    assert (least["day"], greatest["day"]) == ("0001-01-01", "9999-12-31")
    assert least["ts"] == "0001-01-01T00:00:00.000000Z"
    assert greatest["ts"] == "9999-12-31T23:59:59.999999Z"
    assert least["st"] == {"a.b": 1, 'q"r': "x"}
    assert nulls["st"] == {"a.b": 5, 'q"r': 5}
    assert all(len(text) <= 33 for text in (least.get("s", ""), greatest.get("s", "")))


@pytest.mark.parametrize("seed", range(3))
def test_no_reader_skips_a_row_that_matches(engine, tmp_path, seed):
    rng = random.Random(seed)
    rows = 400
    texts = ["", "a", "a" * 32, "a" * 33, "b" * 31 + "é", "\U0010ffff" * 33, "zz"]
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=rng.randint(0, 10**7))
               for _ in range(8)]  # fmt: skip
    values = {
        "k": list(range(rows)),
        "f": [rng.choice([math.nan, -0.0, 0.0, 1.5, -2.5, math.inf, None]) for _ in range(rows)],
        "d": [
            rng.choice([Decimal("0.10"), Decimal("0.30"), Decimal("-1.05"), None])
            for _ in range(rows)
        ],
        "s": [rng.choice([*texts, None]) for _ in range(rows)],
        "ts": [rng.choice([*moments, None]) for _ in range(rows)],
        "n": [{"x": rng.choice([None, 1, 2, 3])} for _ in range(rows)],
        "p": [rng.choice(["a b", "x/y%", None, "é"]) for _ in range(rows)],
    }
    schema = pa.schema(
        [("k", pa.int64()), ("f", pa.float64()), ("d", pa.decimal128(10, 2)), ("s", pa.string()),
         ("ts", pa.timestamp("us", "UTC")), ("n", pa.struct([("x", pa.int64())])), ("p", pa.string())]
    )  # fmt: skip
    table = pa.table(values, schema=schema)
    root = delta(run(engine, tmp_path, TableInput(table), partition_by=("p",)))
    rows = table.to_pylist()
    for text in {v for v in values["s"] if v}:
        assert _keys(sql(root, f"SELECT k FROM t WHERE s = '{text}'")) == _where(rows, "s", text)
        frame = pl.scan_delta(root).filter(pl.col("s") == text).select("k").collect()
        assert _keys(frame.to_dicts()) == _where(rows, "s", text)
    for number in ("0.10", "0.30", "-1.05"):
        found = pl.scan_delta(root).filter(pl.col("d") == Decimal(number)).select("k").collect()
        assert _keys(found.to_dicts()) == _where(rows, "d", Decimal(number))
        query = f"SELECT k FROM t WHERE d = CAST('{number}' AS DECIMAL(10,2))"
        assert _keys(sql(root, query)) == _where(rows, "d", Decimal(number))
    for moment in moments:
        found = pl.scan_delta(root).filter(pl.col("ts") == moment).select("k").collect()
        assert _keys(found.to_dicts()) == _where(rows, "ts", moment)
        query = f"SELECT k FROM t WHERE ts = TIMESTAMP '{moment.isoformat()}'"
        assert _keys(sql(root, query)) == _where(rows, "ts", moment)
    zeros = {row["k"] for row in rows if row["f"] == 0.0}
    assert {row["k"] for row in sql(root, "SELECT k FROM t WHERE f >= 0 AND f <= 0")} >= {
        row["k"] for row in rows if row["f"] == 0.0 and math.copysign(1, row["f"]) > 0
    }
    frame = pl.scan_delta(root).filter(pl.col("f") == 0.0).select("k").collect()
    assert _keys(frame.to_dicts()) == zeros
    over = {row["k"] for row in rows if row["f"] is not None and row["f"] > 1}
    assert _keys(sql(root, "SELECT k FROM t WHERE f > 1")) >= over
    for part in ("a b", "x/y%", "é"):
        assert _keys(sql(root, f"SELECT k FROM t WHERE p = '{part}'")) == _where(rows, "p", part)
    assert _keys(sql(root, "SELECT k FROM t WHERE p IS NULL")) == _where(rows, "p", None)
    assert _keys(sql(root, "SELECT k FROM t WHERE n['x'] = 2")) == {
        row["k"] for row in rows if row["n"]["x"] == 2
    }


def _keys(rows):
    return {row["k"] for row in rows}


def _where(rows, name, value):
    return {row["k"] for row in rows if row[name] == value}


def test_zeros_keep_their_sign_and_are_found(engine, tmp_path):
    table = pa.table({"f": [-0.0, 0.0] * 5000, "g": [-0.0] * 10_000, "k": range(10_000)})
    batch = run(engine, tmp_path, TableInput(table))
    rows = sorted(batch.rows, key=lambda row: row["k"])
    assert [math.copysign(1, row["f"]) for row in rows] == [-1, 1] * 5000
    root = delta(batch)
    assert sql(root, "SELECT count(*) n FROM t WHERE f = 0") == [{"n": 10_000}]
    assert sql(root, "SELECT count(*) n FROM t WHERE g = 0") == [{"n": 10_000}]
    assert pl.scan_delta(root).filter(pl.col("g") == 0.0).collect().height == 10_000


def test_partition_values_as_delta_writes_them(engine, tmp_path):
    table = pa.table(
        {
            "v": [1, 2, 3],
            "s": ["a/b", None, ""],
            "i": pa.array([1, None, -5], pa.int32()),
            "day": pa.array([0, None, 1], pa.int32()).cast(pa.date32()),
            "ts": pa.array([1, None, 0], pa.timestamp("us", "UTC")),
            "b": [True, None, False],
            "d": pa.array([Decimal("1.10"), None, Decimal(-2)], pa.decimal128(10, 2)),
        }
    )
    columns = ("s", "i", "day", "ts", "b", "d")
    batch = run(engine, tmp_path, TableInput(table), partition_by=columns)
    found = {json.dumps(file.partition_values) for file in batch.output.sink}
    assert found == {
        json.dumps(dict(zip(columns, values, strict=True)))
        for values in (
            ("a/b", "1", "1970-01-01", "1970-01-01 00:00:00.000001", "true", "1.10"),
            (None,) * 6,
            (None, "-5", "1970-01-02", "1970-01-01 00:00:00.000000", "false", "-2.00"),
        )
    }
    for file in batch.output.sink:
        assert pq.ParquetFile(batch.root / "sink" / file.path).schema_arrow.names == ["v"]
        assert file.path.rsplit("/", 1)[1].startswith("000003-a1b2-")
    root = delta(batch)
    back = pl.read_delta(root).sort("v").to_dicts()
    assert [row["s"] for row in back] == ["a/b", None, None]
    assert [row["ts"] for row in back] == table["ts"].to_pylist()
    assert [row["d"] for row in back] == table["d"].to_pylist()


def test_large_results_become_several_files(engine, tmp_path):
    rng = random.Random(1)
    table = pa.table({"v": [rng.random() for _ in range(900_000)]})
    batch = run(engine, tmp_path, TableInput(table), target_file_size=2_000_000)
    assert len(batch.output.sink) > 1
    assert batch.output.rows_written == 900_000
    assert len({file.path for file in batch.output.sink}) == len(batch.output.sink)


def test_no_rows_no_files(engine, tmp_path):
    table = pa.table({"v": [1], "p": ["x"]})
    for number, partition_by in enumerate([(), ("p",)]):
        root = tmp_path / str(number)
        batch = run(engine, root, TableInput(table.slice(0, 0)), partition_by=partition_by)
        assert batch.output.sink == ()
        assert [path for path in root.rglob("*") if path.is_file()] == []


def test_two_attempts_share_a_directory(engine, tmp_path):
    table = pa.table({"v": [1]})
    one = run(engine, tmp_path, TableInput(table), file_prefix="000000-aa")
    two = run(engine, tmp_path, TableInput(table), file_prefix="000000-bb")
    assert one.output.sink[0].path != two.output.sink[0].path
    assert one.rows == two.rows == [{"v": 1}]


def test_a_failed_attempt_leaves_the_others_alone(engine, tmp_path):
    table = pa.table({"v": ["1", "2"], "p": ["x", "y"]})
    run(engine, tmp_path, TableInput(table), partition_by=("p",), file_prefix="000000-aa")
    before = sorted(path for path in tmp_path.rglob("*"))
    fails = [
        Select((("v", "CAST(v || CASE WHEN p = 'y' THEN 'x' ELSE '' END AS BIGINT)"), ("p", "p")))
    ]
    with pytest.raises(ValueError, match="fails on a row"):
        run(
            engine, tmp_path, TableInput(table), fails, partition_by=("p",), file_prefix="000001-aa"
        )
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["with space", "it's", "per%cent", "é", "a#b?c", "[x]*", "a=b"])
def test_directories_of_any_name(engine, tmp_path, name):
    table = pa.table({"v": [1, 2], "p": ["x", name]})
    batch = run(engine, tmp_path / name, TableInput(table), partition_by=("p",))
    assert sorted((row["v"], row["p"]) for row in batch.rows) == [(1, "x"), (2, name)]
    files = [(str(batch.root / "sink" / f.path), f.partition_values) for f in batch.output.sink]
    back = engine.read(files, batch.schema)
    assert sorted(back.to_pylist(), key=str) == sorted(table.to_pylist(), key=str)


def test_single_rows_can_be_looked_up(engine, tmp_path):
    """Readers that skip rows within a column chunk must know how it is encoded."""
    table = pa.table(
        {
            "k": range(5000),
            "n": [k * 7919 % 100_003 for k in range(5000)],
            "s": [f"x{k}" for k in range(5000)],
        }
    )
    root = delta(run(engine, tmp_path, TableInput(table)))
    for predicate in ("k = 3", "s = 'x3'", "n = 23757", "k % 1000 = 3 AND n < 30000"):
        assert sql(root, f"SELECT k FROM t WHERE {predicate}") == [{"k": 3}]
    DeltaTable(root).delete("k = 3")
    assert sql(root, "SELECT count(*) n FROM t") == [{"n": 4999}]
