"""What verify says of a stateful query when something is wrong, gone, or cannot be repeated."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration import delta_sink, files, static, stream
from orchestration.config import Settings
from orchestration.runtime import twin_stateful
from orchestration.runtime.blocked import skip_to_quarantine
from orchestration.runtime.flush import flush
from orchestration.runtime.query import StreamingQuery
from orchestration.runtime.twin_floats import summed_columns
from orchestration.runtime.verify import covered_batch
from orchestration.streams.windows import session_window, window
from orchestration.testing import SimulatedCrash
from tests.support.twins import SCHEMA, Twins, timed, windowed


def counted(source):
    return windowed(timed(source), "k", n="count(*)", total="sum(v)")


def sessions(source):
    return timed(source).group_by(session_window("ts", "4 seconds"), "k").agg(n="count(*)")


def add(twins, *times, k="a", v=1, source=0):
    twins.sources[source].add([{"ts": ts, "k": k, "v": v, "x": v / 10} for ts in times])
    twins.drain()


def late(declare=counted, **options):
    """Three batches; one of their rows is late, and two windows are closed."""
    twins = Twins(declare, **options)
    add(twins, 10, 11, 12)
    add(twins, 16, 30)
    add(twins, 10, 31)
    assert twins.late == 1
    return twins


def uri(twins, suffix=""):
    return twins.test.settings.tables_uri(twins.test.query.sink.table + suffix)


# -- faults ----------------------------------------------------------------------------------------


def test_a_row_that_is_gone_from_the_sink_is_found_and_shown():
    twins = late()
    assert twins.prove()[1].passed
    DeltaTable(uri(twins)).delete("total = 3")
    _, found = twins.prove()
    assert (found.outcome, found.only_incremental, found.only_full) == ("different", 0, 1)
    (row,) = found.samples_full.to_pylist()
    assert (row["k"], row["n"], row["total"]) == ("a", 3, 3)
    assert any(note.startswith("1 late row left out") for note in found.notes)


def test_a_late_row_that_is_gone_is_found_and_shown():
    twins = late()
    DeltaTable(uri(twins, "__late")).delete("batch_id >= 0")
    _, found = twins.prove()
    assert found.outcome == "different"
    assert "late rows holds 0 rows" in found.reason
    assert found.samples_incremental.to_pylist()[0]["n"] == 3
    assert found.samples_full.to_pylist()[0]["n"] == 4


def test_a_late_row_that_is_gone_is_found_where_the_result_does_not_need_it():
    twins = late(sessions)
    assert twins.prove()[1].passed
    DeltaTable(uri(twins, "__late")).delete("batch_id >= 0")
    done, found = twins.prove()
    assert done.replayed
    assert (found.outcome, found.only_incremental, found.only_full) == ("different", 0, 0)
    assert "but the table of late rows holds 0 rows" in found.reason


# -- late rows -------------------------------------------------------------------------------------


def test_late_rows_that_nobody_kept_are_dropped_again_batch_by_batch():
    twins = late(on_late="drop")
    done, found = twins.prove()
    assert (done.replayed, done.late_rows, found.outcome) == (True, 0, "identical")
    assert any("on_late='drop'" in note for note in found.notes)
    without = Twins(counted, on_late="drop")
    add(without, 10, 30)
    done, found = without.prove()
    assert (done.replayed, found.outcome) == (False, "identical")


def test_late_rows_of_a_batch_that_is_not_committed_yet_do_not_count():
    twins = late()
    twins.test.crash_at("after_late_commit")
    with pytest.raises(SimulatedCrash):
        add(twins, 10, 40)
    twins.test.restart()
    done, found = twins.prove()
    assert (done.late_rows, found.outcome) == (1, "identical")
    twins.drain()
    done, found = twins.prove()
    assert (done.late_rows, found.outcome) == (2, "identical")


def test_of_rows_alike_those_that_came_last_are_left_out():
    def lists(source):
        return windowed(timed(source), "k", values="list(v)", first="first(v)")

    twins = Twins(lists)
    add(twins, 10)
    add(twins, 10, v=2)
    add(twins, 30)
    add(twins, 10)  # late, and just like the first
    done, found = twins.prove()
    assert (twins.late, done.replayed, found.outcome, found.full_rows) == (1, False, "identical", 1)


def test_a_sketch_of_many_values_is_the_same_however_they_were_cut():
    def sketched(source):
        return stream(source).group_by("k").agg(d="approx_count_distinct(v)", n="count(*)")

    twins = Twins(sketched, mode="update")
    for batch in range(4):
        rows = range(batch * 700, batch * 700 + 1000)
        twins.sources[0].add([{"ts": 10, "k": "a", "v": v, "x": None} for v in rows])
        twins.drain()
    done, found = twins.prove()
    assert (done.replayed, found.outcome) == (False, "identical")
    (row,) = twins.test.table()
    assert 3100 * 0.9 < row["d"] < 3100 * 1.1
    assert row["n"] == 4000


# -- moments ---------------------------------------------------------------------------------------


def test_the_twin_is_held_against_the_table_as_it_was_when_it_ran():
    twins = late()
    twins.test.query.reprocess()
    add(twins, 60)
    found = twins.test.query.verify()
    assert (found.outcome, found.full_rows) == ("identical", 2)
    done, found = twins.prove()
    assert (found.outcome, found.full_rows) == ("identical", len(twins.test.table()))
    assert done.offsets == {"s0": {"rows": 8}}


def test_before_the_first_batch_both_are_empty():
    twins = Twins(counted)
    done, found = twins.prove()
    assert (done.rows_read, done.batch_id, found.outcome) == (0, None, "identical")


def test_a_batch_whose_range_was_set_aside_is_left_out_of_both():
    twins = Twins(counted)
    add(twins, 10, 11)
    twins.test.crash_at("after_plan_log")
    with pytest.raises(SimulatedCrash):
        add(twins, 12, 40)
    twins.test.restart()
    with twins.test.query.open(clock=twins.test.clock) as session:
        skip_to_quarantine(session)
    add(twins, 13, 50)
    done, found = twins.prove()
    assert (done.replayed, found.outcome, found.full_rows) == (True, "identical", 1)
    assert twins.test.table()[0]["n"] == 3


# -- files -----------------------------------------------------------------------------------------


class Landed:
    """A query over files."""

    def __init__(self, root, declare, mode="append", **sink):
        self.landing = root / "landing"
        self.landing.mkdir()
        self.settings = Settings.load(home=root / "home")
        source = files(str(self.landing), schema=SCHEMA, name="landing")
        self.query = StreamingQuery(
            "q",
            declare(source),
            sink=delta_sink("q", output_mode=mode, **sink),
            settings=self.settings,
        )

    def land(self, name, *times, k="a"):
        rows = [{"ts": f"1970-01-01T00:00:{ts:02d}Z", "k": k, "v": 1, "x": 0.1} for ts in times]
        text = "".join(json.dumps(row) + "\n" for row in rows) + "{bad\n"
        (self.landing / f"{name}.json").write_text(text)
        self.query.run()

    def prove(self):
        return self.query.reprocess(), self.query.verify()


@pytest.mark.parametrize("declare", [counted, sessions])
def test_files_that_are_not_there_any_more_are_named(tmp_path, declare):
    world = Landed(tmp_path, declare)
    world.land("a", 10, 11)
    world.land("b", 30)
    world.land("c", 50)
    done, found = world.prove()
    assert (done.rows_read, done.files, done.rows_quarantined) == (7, 3, 3)
    assert found.outcome == "identical"
    (world.landing / "a.json").unlink()
    done, found = world.prove()
    assert (done.files, found.outcome) == (2, "not_comparable")
    assert "a.json" in found.reason


@pytest.mark.parametrize("files_at_once", [500, 1])
def test_batches_replayed_into_a_partitioned_table_leave_the_last_of_each_key(
    tmp_path, monkeypatch, files_at_once
):
    monkeypatch.setattr(twin_stateful, "_EMITTED", files_at_once)

    def declare(source):
        return stream(source).group_by("k").agg(n="count(*)", at="max(now())")

    world = Landed(tmp_path, declare, "update", partition_by="k")
    for number, key in enumerate("abab"):
        world.land(str(number), 10 + number, k=key)
    done, found = world.prove()
    assert (done.replayed, done.rows_written, found.outcome) == (True, 2, "identical")
    table = DeltaTable(world.settings.tables_uri("q__full"))
    assert table.metadata().partition_columns == ["k"]
    assert sorted(table.to_pyarrow_table()["n"].to_pylist()) == [2, 2]


def test_a_reprocess_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    world = Landed(tmp_path, sessions)
    for number in range(3):
        world.land(str(number), 10 + 20 * number)
    world.prove()
    place = world.settings.home / "tables/q__full"
    before = sorted(place.rglob("*.parquet"))
    from orchestration.engine.duckdb import DuckDBEngine

    run, calls = DuckDBEngine.run_stateful, []

    def fails(self, job):
        calls.append(job)
        if len(calls) > 4:
            raise RuntimeError("out of disk")
        return run(self, job)

    monkeypatch.setattr(DuckDBEngine, "run_stateful", fails)
    with pytest.raises(RuntimeError, match="disk"):
        world.query.reprocess()
    assert sorted(place.rglob("*.parquet")) == before
    assert not list(world.settings.spool_dir.glob("twin-*"))


# -- static tables ---------------------------------------------------------------------------------


@pytest.fixture
def enriched(tmp_path):
    """A stream joined to a Delta table; the first batch ran."""
    names = str(tmp_path / "names")
    write_deltalake(names, pa.table({"k": ["a"], "name": ["one"]}))
    table = static(names, schema={"k": "VARCHAR", "name": "VARCHAR"})
    world = Landed(tmp_path, lambda source: stream(source).join(table, on="k", how="left"))
    world.names = names
    world.land("a", 10)
    return world


def test_static_tables_at_one_version_are_read_at_it(enriched):
    enriched.land("b", 11)
    write_deltalake(enriched.names, pa.table({"k": ["a"], "name": ["two"]}), mode="overwrite")
    done, found = enriched.prove()
    assert (done.replayed, found.outcome, found.full_rows) == (False, "identical", 2)


def test_static_tables_that_changed_are_read_as_each_batch_read_them(enriched):
    write_deltalake(enriched.names, pa.table({"k": ["a"], "name": ["two"]}), mode="overwrite")
    enriched.land("b", 11)
    done, found = enriched.prove()
    assert (done.replayed, found.outcome, found.full_rows) == (True, "identical", 2)
    assert any("different versions" in note for note in found.notes)


def test_a_static_version_that_is_gone_is_named(enriched):
    write_deltalake(enriched.names, pa.table({"k": ["a"], "name": ["two"]}), mode="overwrite")
    DeltaTable(enriched.names).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False
    )
    enriched.land("b", 11)
    _, found = enriched.prove()
    assert found.outcome == "not_comparable"
    assert "static table cannot be read any more" in found.reason


# -- floating-point sums ---------------------------------------------------------------------------


def test_only_columns_made_of_floating_point_sums_may_differ_in_their_last_bits(engine):
    def columns(declared):
        return set(summed_columns(declared.plan(), engine.describe_plan))

    from orchestration.testing import MemoryStream

    source = MemoryStream(SCHEMA)
    grouped = timed(source).group_by(window("ts", "5 seconds"), "x")
    assert columns(grouped.agg(n="sum(v)", m="avg(v)", top="max(x)", d="median(x)")) == set()
    sums = grouped.agg(s="sum(x)", share="sum(x) / count(*)", sd="stddev(v)", n="count(*)")
    assert columns(sums) == {"s", "share", "sd"}
    assert columns(sums.select("n", half="s / 2", key="x")) == {"half"}
    other = timed(MemoryStream(SCHEMA, name="other")).select("ts AS rts", "x AS rx")
    again = stream(source).group_by("x").agg(s="sum(x)").select("x", y="s")
    assert columns(again) == {"y"}
    del other


@pytest.fixture
def engine(tmp_path):
    from orchestration.engine.duckdb import DuckDBEngine

    engine = DuckDBEngine("256MiB", 1, tmp_path / "spill")
    yield engine
    engine.close()


def test_a_batch_without_input_leaves_the_twin_behind():
    twins = late()
    with twins.test.query.open() as session:
        assert covered_batch(session) is None
    done, _ = twins.prove()
    with twins.test.query.open() as session:
        assert covered_batch(session) == done.batch_id
    flush(twins.test.query, datetime.fromtimestamp(100, UTC), clock=twins.test.clock)
    again, found = twins.prove()
    assert (again.offsets, again.batch_id) == (done.offsets, done.batch_id + 1)
    assert (found.outcome, found.full_rows) == ("identical", len(twins.test.table()))


@pytest.mark.parametrize("declare", [counted, sessions])
def test_tables_and_state_in_an_object_store(s3, declare):
    places = {"tables": f"{s3.uri}/tables", "state": f"{s3.uri}/state"}
    twins = late(declare, **places)
    done, found = twins.prove()
    assert (done.late_rows, found.outcome) == (1, "identical")
    assert found.full_rows == len(twins.test.table()) > 0
    assert not list(twins.test.settings.spool_dir.glob("twin-*"))
