"""A pipeline that reads another's table: lineage, sensor, and the numbers people see."""

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration import delta, delta_sink, files, pipeline, static, stream
from orchestration.config import Settings
from orchestration.defs.collect import definitions_of
from orchestration.defs.looking import look
from orchestration.defs.tick import decide
from orchestration.errors import TableRewritten


@pytest.fixture
def settings(tmp_path):
    return Settings.load(home=tmp_path / "home", threads=1)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def follower(settings, source, name="after", **options):
    return pipeline(name, stream(source), sink=delta_sink(name), settings=settings, **options)


def rows(*ids):
    return pa.table({"id": pa.array(ids, pa.int64())})


def test_the_asset_depends_on_the_one_that_writes_the_table(tmp_path, settings):
    schema = {"id": "BIGINT"}
    first = pipeline(
        "first",
        stream(files(str(tmp_path / "landing"), schema=schema)),
        sink=delta_sink("first_table"),
        settings=settings,
        key_prefix="lake",
    )
    elsewhere = pipeline(
        "elsewhere",
        stream(files(str(tmp_path / "landing"), schema=schema)),
        sink=delta_sink(str(tmp_path / "far/away")),
        settings=settings,
    )
    second = follower(settings, delta("first_table"), "second")
    third = follower(settings, delta(str(tmp_path / "far/away")), "third")
    fourth = follower(settings, delta("second__quarantine"), "fourth")
    fifth = follower(settings, delta("s3://lake/not_ours"), "fifth")
    definitions = definitions_of([first, elsewhere, second, third, fourth, fifth])
    graph = definitions.resolve_asset_graph()

    def parents(name):
        return {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}

    assert parents("second") == {"lake/first"}
    assert parents("second__full") == {"lake/first"}
    assert parents("third") == {"elsewhere"}
    assert parents("fourth") == {"second"}
    assert parents("fifth") == {"s3/lake/not_ours"}
    known = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert "first_table" not in known
    (spec,) = fifth.source_assets
    assert spec.kinds == {"deltalake", "s3"}


def test_the_sensor_counts_versions_files_and_bytes(settings, instance, tmp_path):
    there = str(tmp_path / "there")
    after = follower(settings, delta(there))
    assert "does not exist yet" in look(after.query).reason
    write_deltalake(there, rows(1))
    found = decide(after, instance)
    assert isinstance(found, dg.RunRequest)
    assert found.tags["headwater/new_files"] == "1"
    assert found.tags["headwater/version.to"] == "1"
    assert "headwater/table.to" not in found.tags
    after.query.run()
    assert look(after.query).reason.startswith("0 new of 1 file, version 0 is the newest; last")
    write_deltalake(there, rows(2), mode="append")
    write_deltalake(there, rows(3), mode="append")
    reason = look(after.query).reason
    assert reason.startswith("2 new of 3 files, ")
    assert "bytes in 2 versions" in reason


def test_an_idle_look_reads_no_commit(settings, tmp_path, monkeypatch):
    there = str(tmp_path / "there")
    after = follower(settings, delta(there))
    for number in range(5):
        write_deltalake(there, rows(number), mode="append")
    after.query.run()
    look(after.query)

    def never(*_):
        raise AssertionError("it was opened")

    monkeypatch.setattr("orchestration.sources.delta_poll.open_table", never)
    monkeypatch.setattr("orchestration.sources.delta_log.parse_commit", never)
    assert not look(after.query).wanted


def test_many_commits_without_rows_are_noted_once(settings, tmp_path):
    there = str(tmp_path / "there")
    write_deltalake(there, rows(1))
    after = follower(settings, delta(there))
    later = follower(settings, delta(there, starting_version=1), "later")
    after.query.run()
    later.query.run()
    for number in range(52):
        DeltaTable(there).alter.set_table_description(f"number {number}")
    assert not look(later.query).wanted, "nothing was read yet, so there is nothing to keep"
    assert look(after.query).wanted
    after.query.run()
    assert not look(after.query).wanted


def test_a_stream_that_cannot_go_on_makes_the_tick_red(settings, instance, tmp_path):
    there = str(tmp_path / "there")
    after = follower(settings, delta(there))
    write_deltalake(there, rows(1))
    after.query.run()
    write_deltalake(there, rows(2), mode="overwrite")
    with pytest.raises(TableRewritten):
        decide(after, instance)


def test_lag_is_shown_in_versions_files_bytes_and_seconds(settings, instance, tmp_path):
    there = str(tmp_path / "there")
    after = follower(settings, delta(there, max_files=1))
    for number in range(3):
        write_deltalake(there, rows(number), mode="append")
    assert dg.materialize(after.assets, instance=instance).success
    write_deltalake(there, rows(7), mode="append")
    write_deltalake(there, rows(8), mode="append")
    result = dg.materialize(after.assets, instance=instance)
    assert result.success
    events = [
        event.event_specific_data.asset_observation
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    ]
    first, second = events[:2]
    assert [item.metadata["backlog_versions"].value for item in (first, second)] == [1, 0]
    assert first.metadata["backlog_files"].value == 1
    assert first.metadata["backlog_bytes"].value > 0
    (made,) = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("after")
    ]
    assert made.metadata["backlog_versions"].value == 0
    assert made.metadata["lag_seconds"].value == 0
    assert all(item.passed for item in result.get_asset_check_evaluations())


def test_a_joined_table_may_be_followed_and_another_read_whole(settings, tmp_path):
    there, names = str(tmp_path / "there"), str(tmp_path / "names")
    write_deltalake(names, pa.table({"id": [1, 2], "name": ["a", "b"]}))
    write_deltalake(there, rows(1, 2))
    joined = stream(delta(there, schema={"id": "BIGINT"})).join(
        static(names, schema={"id": "BIGINT", "name": "VARCHAR"}), on="id"
    )
    query = pipeline("joined", joined, sink=delta_sink("joined"), settings=settings).query
    query.run()
    write_deltalake(there, rows(2), mode="append")
    (batch,) = query.run()
    assert batch.num_output_rows == 1
