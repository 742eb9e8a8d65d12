"""State as sorted runs: what is merged, what is dropped, and how little a look-up reads."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from orchestration.engine.stateful.keyed import FANOUT, HASH, KeyedState, key_hash
from orchestration.engine.stateful.tables import Tables
from orchestration.objects import Place
from orchestration.state.files import StateFiles
from orchestration.state.manifest import StateVersion
from orchestration.streams.operators import (
    Aggregate,
    DropDuplicates,
    ExpressionKey,
    WindowKey,
    WithWatermark,
)
from orchestration.streams.plan import Chain, SourceRoot
from tests.engine.stateful_support import StatefulQuery, schema

ROWS = schema(ts="TIMESTAMPTZ", k="BIGINT")
MINUTE = 60_000_000


def counts(delay=0):
    window = WindowKey("ts", MINUTE, MINUTE)
    aggregate = Aggregate(
        "aggregate-0",
        (window, ExpressionKey("k", "k")),
        (("n", "count(*)"),),
        watermarked=True,
        event_column="ts",
    )
    return Chain(SourceRoot("rows", ROWS), (WithWatermark("watermark-0", "ts", delay), aggregate))


def at(second, key=1):
    return {"ts": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second), "k": key}


def test_runs_stay_few_and_closed_windows_leave_the_disk_version(tmp_path):
    query = StatefulQuery(tmp_path, counts(delay=5 * MINUTE))
    given = Counter()
    batches = 6 * FANOUT
    for number in range(batches):
        for row in query.batch(rows=[at(number * 20), at(number * 20 + 1), at(number * 20, 2)]):
            given[row["k"]] += row["n"]
    runs = query.state.operators["aggregate-0"].runs
    assert len(runs) < 2 * FANOUT
    horizon = query.watermark * 1000
    assert all(run.max_expiry > horizon for run in runs)
    live = sum(run.rows for run in runs)
    assert live < 60  # some six minutes of two keys, not everything there ever was
    query.batch(rows=[at(10**6, 9)])
    for row in query.batch():
        given[row["k"]] += row["n"]
    assert given == {1: 2 * batches, 2: batches}


def test_merged_runs_hold_batches_next_to_each_other(tmp_path):
    query = StatefulQuery(tmp_path, counts(delay=10**12), "update")
    for number in range(FANOUT * FANOUT + 3):
        query.batch(rows=[at(0, number % 5)])
    runs = query.state.operators["aggregate-0"].runs
    spans = [(run.first_batch, run.last_batch) for run in runs]
    assert spans == sorted(spans)
    assert all(one[1] < other[0] for one, other in zip(spans, spans[1:], strict=False))
    assert {run.level for run in runs} == {0, 2}
    rows = query.batch(rows=[at(0, 0)])
    assert rows[0]["n"] == len(range(0, FANOUT * FANOUT + 3, 5)) + 1


def test_a_few_keys_are_looked_up_without_reading_the_rest(tmp_path):
    plan = Chain(SourceRoot("rows", ROWS), (DropDuplicates("drop_duplicates-0", ("k",)),))
    query = StatefulQuery(tmp_path, plan)
    times = pa.array([None] * 500_000, pa.timestamp("us", "UTC"))
    query.batch(rows=pa.table({"ts": times, "k": pa.array(range(500_000), pa.int64())}))
    assert query.output.operators[0]["rows_total"] == 500_000
    assert query.batch(rows=[{"k": 7}, {"k": 500_007}, {"k": 499_999}]) == [
        {"ts": None, "k": 500_007}
    ]
    with query.engine._limits.connect_unguarded() as connection:
        tables = Tables(connection)
        state = KeyedState(
            tables,
            query.files,
            query.state.operators["drop_duplicates-0"].runs[:1],
            name="x",
            batch_id=9,
            columns=["headwater_k0"],
            keys=["headwater_k0"],
        )
        wanted = tables.create(
            f"SELECT k AS headwater_k0, {key_hash(['k'])} AS {HASH} FROM (VALUES (7::BIGINT)) t(k)"
        )
        read = state.matching(wanted, -1)
        assert tables.value(f"SELECT count(*) FROM ({read})") < 50_000
        assert tables.value(f"SELECT count(*) FROM ({read}) WHERE headwater_k0 = 7") == 1


def test_hashes_of_another_engine_are_not_trusted(tmp_path):
    plan = Chain(SourceRoot("rows", ROWS), (DropDuplicates("drop_duplicates-0", ("k",)),))
    query = StatefulQuery(tmp_path, plan)
    times = pa.array([None] * 100_000, pa.timestamp("us", "UTC"))
    query.batch(rows=pa.table({"ts": times, "k": pa.array(range(100_000), pa.int64())}))
    text = query.state.to_bytes()
    name = query.state.operators["drop_duplicates-0"].runs[0].hash_name
    query.state = StateVersion.from_bytes(text.replace(name.encode(), b"other"), "here")
    assert query.batch(rows=[{"k": 5}, {"k": 100_000}]) == [{"ts": None, "k": 100_000}]


def test_versions_share_files_and_cleaning_keeps_what_they_need(tmp_path):
    query = StatefulQuery(tmp_path, counts(delay=10**12))
    names = []
    for number in range(FANOUT + 2):
        query.batch(rows=[at(number, number)])
        names.append(f"state/v{number:010d}.json")
        query.files.save(query.state, names[-1])
    assert query.files.clean(names[-1:]) > FANOUT
    assert set(query.files.names()) == {names[-1], *query.state.paths}
    assert query.files.load(names[-1]) == query.state
    fresh = StateFiles(Place.open(str(tmp_path / "state")), "g1", tmp_path / "elsewhere")
    assert fresh.load(names[-1]) == query.state
    assert {row["k"] for row in query.batch(rows=[at(10**7, 99)])} == set()
