"""Files written anew without some keys: which are touched, what stays in them, how they are found."""

import json
import math
import random
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.engine.base import TableInput
from orchestration.engine.pruning import KEYS, candidates
from orchestration.engine.rewrite import OldFile, Rewrite
from orchestration.errors import SinkError
from tests.engine.support import left_behind, run


class Old:
    """Files of a table, all candidates unless bounds say otherwise."""

    def __init__(self, root, files, bounds=None):
        self.root = root
        self.files = files
        self.bounds = bounds or pa.table(
            {
                "number": pa.array(range(len(files)), pa.int64()),
                "rows": pa.array([file.rows for file in files], pa.int64()),
            }
        )

    def groups(self, numbers):
        yield self.group(numbers)

    @contextmanager
    def group(self, numbers):
        files = [(number, self.files[number]) for number in numbers]
        yield [
            OldFile(number, str(self.root / file.path), file.partition_values, file.rows, file.size)
            for number, file in files
        ]


def written(engine, root, table, name, partition_by=()):
    batch = run(engine, root, TableInput(table), file_prefix=name, partition_by=partition_by)
    return batch.output.sink


def rewritten(engine, root, old, emitted, keys, schema, partition_by=(), **options):
    job = Rewrite(
        emitted=[(str(root / "sink" / file.path), file.partition_values) for file in emitted],
        keys=keys,
        schema=schema,
        old=Old(root / "sink", old, options.pop("bounds", None)),
        directory=root / "sink",
        prefix="kept",
        partition_by=partition_by,
        target_file_size=options.pop("target_file_size", 1 << 20),
    )
    return engine.rewrite(job), job


def rows_of(engine, root, files, schema):
    pairs = [(str(root / "sink" / file.path), file.partition_values) for file in files]
    return sorted(map(str, engine.read(pairs, schema).to_pylist()))


def test_only_files_that_hold_a_key_are_touched(engine, tmp_path):
    schema = pa.schema([("k", pa.int64()), ("v", pa.string())])
    old = [
        written(engine, tmp_path, pa.table({"k": ks, "v": ["old"] * len(ks)}, schema), f"o{n}")[0]
        for n, ks in enumerate([[1, 2], [3], [4, 5, None]])
    ]
    emitted = written(engine, tmp_path, pa.table({"k": [2, 3], "v": ["new"] * 2}, schema), "new")
    done, _ = rewritten(engine, tmp_path, old, emitted, ("k",), schema)
    assert (done.removed, done.rows_replaced, done.looked_at) == ((0, 1), 2, 3)
    (kept,) = done.written
    assert rows_of(engine, tmp_path, [kept], schema) == ["{'k': 1, 'v': 'old'}"]
    assert json.loads(kept.stats)["maxValues"] == {"k": 1, "v": "old"}


def test_equal_as_groups_are(engine, tmp_path):
    schema = pa.schema([("f", pa.float64()), ("s", pa.string()), ("v", pa.int64())])
    old = pa.table(
        {
            "f": [math.nan, -0.0, None, 1.0, None],
            "s": ["a", "b", None, None, "x"],
            "v": [1, 2, 3, 4, 5],
        },
        schema,
    )
    new = pa.table({"f": [math.nan, 0.0, None], "s": ["a", "b", None], "v": [7, 8, 9]}, schema)
    files = written(engine, tmp_path, old, "old")
    done, _ = rewritten(
        engine, tmp_path, files, written(engine, tmp_path, new, "new"), ("f", "s"), schema
    )
    assert done.rows_replaced == 3
    assert rows_of(engine, tmp_path, done.written, schema) == [
        "{'f': 1.0, 's': None, 'v': 4}",
        "{'f': None, 's': 'x', 'v': 5}",
    ]


def test_every_type_is_carried_over_as_it_was(engine, tmp_path):
    table = pa.table(
        {
            "k": pa.array([1, 2, 3], pa.int64()),
            "i": pa.array([2**31 - 1, None, -5], pa.int32()),
            "d": pa.array([Decimal("0.10"), None, Decimal("-99999999.99")], pa.decimal128(10, 2)),
            "w": pa.array([Decimal(10**37), None, Decimal(-1)], pa.decimal128(38, 0)),
            "f": pa.array([math.inf, 1.0, -0.0]),
            "b": pa.array([True, None, False]),
            "x": pa.array([b"\xff", None, b""]),
            "day": pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
            "ts": pa.array(
                [datetime(2026, 1, 1, 0, 0, 0, 123999, UTC), None, datetime(1, 1, 1, tzinfo=UTC)],
                pa.timestamp("us", "UTC"),
            ),
            "s": pa.array(["é" * 100, "", None]),
            "st": pa.array([{"a": 1, "b": [1, None]}, None, {"a": None, "b": []}],
                           pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int64()))])),
            "m": pa.array([[("k", 1.5)], [], None], pa.map_(pa.string(), pa.float64())),
        }
    )  # fmt: skip
    old = written(engine, tmp_path, table, "old")
    new = written(engine, tmp_path, table.slice(1, 1), "new")
    done, _ = rewritten(engine, tmp_path, old, new, ("k",), table.schema)
    (kept,) = done.written
    before = pq.ParquetFile(tmp_path / "sink" / old[0].path).read().take([0, 2])
    after = pq.ParquetFile(tmp_path / "sink" / kept.path).read().sort_by("k")
    assert [item.type for item in after.schema] == [item.type for item in before.schema]
    assert repr(after.to_pylist()) == repr(before.to_pylist())


def test_partitions_stay_where_they_are(engine, tmp_path):
    names = ["a b", "100%", "a#b", "é/ü", "x=y", "a%20b", None, "[z]*", "'"]
    schema = pa.schema([("p", pa.string()), ("k", pa.int64()), ("v", pa.string())])
    table = pa.table({"p": names * 2, "k": [1] * 9 + [2] * 9, "v": ["old"] * 18}, schema)
    old = written(engine, tmp_path, table, "old", ("p",))
    new = pa.table({"p": names, "k": [1] * 9, "v": ["new"] * 9}, schema)
    emitted = written(engine, tmp_path, new, "new", ("p",))
    done, _ = rewritten(engine, tmp_path, old, emitted, ("p", "k"), schema, ("p",))
    assert len(done.removed) == len(old)
    found = {file.partition_values["p"]: file for file in done.written}
    assert set(found) == set(names)
    for name, file in found.items():
        assert file.path.rpartition("/")[0] == next(
            item.path.rpartition("/")[0] for item in old if item.partition_values["p"] == name
        )
        row = {"p": name, "k": 2, "v": "old"}
        assert rows_of(engine, tmp_path, [file], schema) == [str(row)]


def test_small_files_become_one_and_large_ones_stay_apart(engine, tmp_path):
    schema = pa.schema([("k", pa.int64()), ("v", pa.string())])
    rng = random.Random(1)

    def part(start, rows, width):
        values = [rng.randbytes(width).hex() for _ in range(rows)]
        return pa.table({"k": range(start, start + rows), "v": values}, schema)

    old = [written(engine, tmp_path, part(1000 * n, 10, 8), f"s{n}")[0] for n in range(5)]
    old += [written(engine, tmp_path, part(10_000 * n, 4000, 60), f"l{n}")[0] for n in range(1, 3)]
    assert all(file.size > (1 << 20) // 8 for file in old[5:])
    ks = [1000 * n for n in range(5)] + [10_000, 20_000]
    emitted = written(engine, tmp_path, pa.table({"k": ks, "v": ["new"] * 7}, schema), "new")
    done, _ = rewritten(engine, tmp_path, old, emitted, ("k",), schema)
    assert done.removed == tuple(range(7))
    assert sorted(file.rows for file in done.written) == [45, 3999, 3999]


def test_a_key_given_twice_is_refused_and_leaves_nothing(engine, tmp_path):
    schema = pa.schema([("k", pa.int64()), ("v", pa.int64())])
    old = written(engine, tmp_path, pa.table({"k": [1, 2], "v": [0, 0]}, schema), "old")
    emitted = written(engine, tmp_path, pa.table({"k": [1, 1], "v": [1, 2]}, schema), "new")
    before = left_behind(tmp_path)
    with pytest.raises(SinkError, match="2 rows for 1 values of its key"):
        rewritten(engine, tmp_path, old, emitted, ("k",), schema)
    assert left_behind(tmp_path) == before


def test_a_failure_mid_way_leaves_only_what_was_there(engine, tmp_path):
    schema = pa.schema([("k", pa.int64()), ("v", pa.int64())])
    old = [
        written(engine, tmp_path, pa.table({"k": [n, -1 - n], "v": [0, 0]}, schema), f"o{n}")[0]
        for n in range(2)
    ]
    emitted = written(engine, tmp_path, pa.table({"k": [0, 1], "v": [1, 1]}, schema), "new")
    before = left_behind(tmp_path)
    (tmp_path / "sink" / old[1].path).write_bytes(b"not parquet")
    with pytest.raises(duckdb.Error):
        rewritten(engine, tmp_path, old, emitted, ("k",), schema)
    assert left_behind(tmp_path) == before


EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = {
    "i": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5)),
    "s": (pa.string(), st.text(max_size=3) | st.sampled_from(["a" * 40, "a" * 40 + "b", "\U0010ffff" * 33, "é" * 35])),
    "d": (pa.date32(), st.dates()),
    "t": (pa.timestamp("us", "UTC"), st.integers(0, 5000).map(lambda us: EPOCH + timedelta(microseconds=us))),
    "n": (pa.decimal128(10, 2), st.decimals(-5, 5, places=2)),
    "w": (pa.decimal128(38, 2), st.decimals(Decimal(10) ** 18, Decimal(10) ** 18 + 3, places=2)),
    "b": (pa.bool_(), st.booleans()),
    "f": (pa.float64(), st.sampled_from([0.0, -0.0, math.nan, 1.5])),
}  # fmt: skip


@st.composite
def _tables(draw):
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
    values = st.tuples(*(st.none() | COLUMNS[name][1] for name in names))
    files = draw(st.lists(st.lists(values, min_size=1, max_size=4), min_size=1, max_size=5))
    every = [row for rows in files for row in rows]
    keys = draw(st.lists(st.sampled_from(every) | values, min_size=1, max_size=3))
    return names, files, keys


def _same(left, right):
    nan = isinstance(left, float) and isinstance(right, float) and left != left and right != right
    return nan or left == right


@settings(max_examples=60, deadline=None)
@given(_tables())
def test_pruning_never_misses_a_file(tmp_path_factory, drawn):
    """Bounds as delta-rs gives them, of its own files: less exact than ours are."""
    from deltalake import DeltaTable, write_deltalake

    from orchestration.sinks.snapshot import snapshot_of

    names, files, keys = drawn
    schema = pa.schema([(name, COLUMNS[name][0]) for name in names])
    uri = str(tmp_path_factory.mktemp("pruned") / "table")
    for number, rows in enumerate(files):
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        table = pa.table({**columns, "file": [number] * len(rows)},
                         schema.append(pa.field("file", pa.int64())))  # fmt: skip
        write_deltalake(uri, table, mode="append")
    snapshot = snapshot_of(DeltaTable(uri), names)
    holds = {
        number
        for number, item in enumerate(snapshot.files)
        for row in files[pq.ParquetFile(f"{uri}/{item.path}").read()["file"][0].as_py()]
        if any(all(map(_same, row, key)) for key in keys)
    }
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    given_ = pa.table(dict(zip(names, map(list, zip(*keys, strict=True)), strict=True)), schema)
    connection.register("given_keys", given_)
    connection.execute(f"CREATE TEMP TABLE {KEYS} AS SELECT DISTINCT * FROM given_keys")
    assert holds <= set(candidates(connection, snapshot.bounds, schema))


def test_pruning_rules_out_what_cannot_hold_a_key():
    bounds = pa.table(
        {
            "number": pa.array(range(6), pa.int64()),
            "rows": pa.array([10, 10, 10, 10, 10, None], pa.int64()),
            "least_0": pa.array([0, 100, None, 0, 50, None], pa.int64()),
            "greatest_0": pa.array([9, 109, None, 9, 60, None], pa.int64()),
            "nulls_0": pa.array([0, 0, 10, 1, 0, None], pa.int64()),
        }
    )
    connection = duckdb.connect()

    def found(keys):
        connection.register("given_keys", pa.table({"k": pa.array(keys, pa.int64())}))
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {KEYS} AS SELECT * FROM given_keys")
        return candidates(connection, bounds, pa.schema([("k", pa.int64())]))

    assert found([5, 105]) == (0, 1, 3, 5)  # not 4: nothing of the batch lies within
    assert found([None]) == (2, 3, 5)
    assert found([55, None]) == (2, 3, 4, 5)
    assert found([1000]) == (5,)
