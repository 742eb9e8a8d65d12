"""What a person does to a query."""

from dataclasses import replace

import pyarrow as pa
import pytest

from orchestration import delta_sink, files, stream
from orchestration.engine.duckdb import DuckDBEngine
from orchestration.errors import (
    BadRecords,
    BatchBlocked,
    DeclarationError,
    IncompatibleQuery,
    OutputModeError,
    SchemaError,
    SinkError,
)
from orchestration.runtime.blocked import retry, skip_to_quarantine
from orchestration.runtime.query import StreamingQuery
from tests.support.world import SCHEMA, World


def test_a_reset_reads_everything_anew(tmp_path):
    world = World(tmp_path)
    world.land(3, bad=1)
    world.run()
    generation = world.query.reset()
    assert generation.number == 2
    assert (world.ids(), world.bad()) == ([], [])
    assert [batch.batch_id for batch in world.run()] == [0]
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


def test_a_reset_interrupted_at_its_commit_is_finished_by_the_next_run(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.land(2)
    world.run()
    from orchestration.cursors.queries import Queries

    class Dead(BaseException):
        pass

    def die(*_):
        raise Dead

    with monkeypatch.context() as patched:
        patched.setattr(Queries, "finish_reset", die)
        with pytest.raises(Dead):
            world.query.reset()
    world.run()
    assert world.ids() == [0, 1]


def failing(world, how):
    def check(table: pa.Table) -> pa.Table:
        how(table)
        return table

    schema = {"id": "BIGINT", "upper": "VARCHAR"}
    return StreamingQuery(
        world.name,
        world.stream().map_batches(check, schema),
        sink=delta_sink(world.name),
        settings=world.settings,
    )


def fail(_table):
    raise RuntimeError("the model server is down")


def block(world):
    for _ in range(3):
        with pytest.raises(Exception, match="model server"):
            failing(world, fail).run()


def test_a_batch_that_keeps_failing_is_blocked_and_named(tmp_path):
    world = World(tmp_path)
    world.land(2, name="poison.json")
    block(world)
    with pytest.raises(BatchBlocked, match=r"batch 0 .* poison.json.*model server") as caught:
        failing(world, fail).run()
    assert "headwater retry clicks" in caught.value.remedy
    assert "skip clicks --to-quarantine" in caught.value.remedy


def test_retry_runs_the_same_range_again(tmp_path):
    world = World(tmp_path)
    world.land(2)
    block(world)
    with world.query.open() as session:
        retry(session)
    failing(world, lambda _: None).run()
    assert world.ids() == [0, 1]


def test_skip_sets_the_files_aside_and_goes_on(tmp_path):
    world = World(tmp_path)
    world.land(2, name="poison.json")
    block(world)
    world.land(3)
    with world.query.open() as session:
        skip_to_quarantine(session)
    failing(world, lambda _: None).run()
    assert world.ids() == [2, 3, 4]
    import polars as pl

    (row,) = pl.read_delta(world.uri + "__quarantine").to_dicts()
    assert row["file"].endswith("poison.json")
    assert "skipped by hand" in row["reason"]
    assert "model server" in row["reason"]


def test_a_healthy_query_has_nothing_to_retry_or_skip(tmp_path):
    world = World(tmp_path)
    world.land(1)
    world.run()
    for action in (retry, skip_to_quarantine):
        with world.query.open() as session, pytest.raises(BatchBlocked, match="no failed batch"):
            action(session)


def test_bad_records_can_fail_the_batch_and_nothing_is_written(tmp_path):
    world = World(tmp_path, on_bad_record="fail")
    world.land(2, bad=1)
    with pytest.raises(BadRecords):
        world.run()
    assert world.ids() == []
    assert list((world.settings.home / "tables/clicks").glob("*.parquet")) == []


def declared(world, stream_, **sink):
    return StreamingQuery(
        world.name, stream_, sink=delta_sink(world.name, **sink), settings=world.settings
    )


def test_what_a_history_cannot_follow_is_refused(tmp_path):
    world = World(tmp_path)
    world.land(2)
    world.run()
    other = stream(files(str(world.landing), schema=SCHEMA)).select("id", upper="length(v)")
    with pytest.raises(IncompatibleQuery, match="upper"):
        declared(world, other).run()
    with pytest.raises(IncompatibleQuery, match="partition"):
        declared(world, world.stream(), partition_by="upper").run()


def test_code_of_the_same_columns_may_change(tmp_path):
    world = World(tmp_path)
    world.land(2)
    world.run()
    world.land(2)
    other = stream(files(str(world.landing), schema=SCHEMA)).select("id", upper="lower(v)")
    assert len(declared(world, other).run()) == 1


def test_a_new_column_is_added_when_asked(tmp_path):
    world = World(tmp_path)
    world.land(1)
    world.run()
    world.land(1)
    wider = world.stream().select("*", doubled="id * 2")
    with pytest.raises(IncompatibleQuery):
        declared(world, wider).run()
    declared(world, wider, schema_evolution="add_columns").run()
    assert world.ids() == [0, 1]


@pytest.mark.parametrize("name", ["", "a b", "1a", "x__full", "x/y"])
def test_names_that_cannot_be_are_refused(tmp_path, name):
    world = World(tmp_path)
    with pytest.raises(DeclarationError, match="not a query name"):
        StreamingQuery(name, world.stream(), sink=delta_sink("t"))


def test_complete_mode_needs_an_aggregation(tmp_path):
    with pytest.raises(OutputModeError, match="aggregation"):
        StreamingQuery("q", World(tmp_path).stream(), sink=delta_sink("t", output_mode="complete"))


@pytest.mark.parametrize("columns", ["nope", ["id", "upper"]])
def test_partitions_that_cannot_be_are_refused(tmp_path, columns):
    with pytest.raises(SchemaError):
        StreamingQuery("q", World(tmp_path).stream(), sink=delta_sink("t", partition_by=columns))


def test_a_batch_that_never_counts_a_failure_can_still_be_skipped(tmp_path):
    world = World(tmp_path)
    world.land(2, name="poison.json")
    assert world.crash_at("during_write")  # as one does that kills its process each time
    world.land(3)
    with world.query.open() as session:
        skip_to_quarantine(session)
    world.run()
    assert world.ids() == [2, 3, 4]


def test_versions_before_a_reset_stay_readable_after_a_replay(tmp_path):
    world = World(tmp_path)
    world.land(3)
    world.run()
    version = world.delta().version()
    world.query.reset()
    assert world.crash_at("after_write")
    world.run()
    table = world.delta()
    table.load_as_version(version)
    assert len(table.to_pyarrow_table()) == 3


def test_a_file_that_does_not_fit_fails_its_batch_before_it_is_decided(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.land(2)
    run = DuckDBEngine.run

    def wrong(self, job):
        output = run(self, job)
        return replace(output, sink=tuple(replace(item, stats="{}") for item in output.sink))

    with monkeypatch.context() as patched:
        patched.setattr(DuckDBEngine, "run", wrong)
        with pytest.raises(SinkError, match="numRecords"):
            world.run()
    world.run()
    assert world.ids() == [0, 1]
