"""What a run of the incremental asset does, and what the asset page is told."""

import threading

import dagster as dg
import pytest

from orchestration import processing_time
from orchestration.defs.draining import Drain, Waiting
from orchestration.errors import QueryAlreadyRunning
from tests.defs.lake import evaluation


def observations(lake, result):
    return [
        event.event_specific_data.asset_observation
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    ]


def test_one_run_drains_many_batches_and_tells_of_each(lake):
    lake = lake()
    for number in range(5):
        lake.land(f"{number}.json", number)
    result = lake.materialize()
    assert lake.ids() == [0, 1, 2, 3, 4]
    seen = observations(lake, result)
    assert [item.metadata["batch"].value for item in seen] == ["0", "1", "2"]
    assert [item.metadata["batch_rows"].value for item in seen] == [2, 2, 1]
    assert [item.metadata["backlog_files"].value for item in seen] == [3, 1, 0]
    for name in ("batch_seconds", "batch_rows_per_second", "batch_bytes", "batch_files"):
        assert all(item.metadata[name].value > 0 for item in seen), name


def test_the_materialization_sums_the_run_up(lake):
    lake = lake(column_descriptions={"page": "Where it was."})
    for number in range(3):
        lake.land(f"{number}.json", number, bad=["{broken"] if number == 1 else [])
    metadata = lake.metadata(lake.materialize())
    assert metadata["batches"] == 2
    assert metadata["rows"] == 4
    assert metadata["rows_written"] == 3
    assert metadata["quarantined_rows"] == 1
    assert metadata["files"] == 3
    assert metadata["bytes"] == sum(f.stat().st_size for f in lake.landing.iterdir())
    assert metadata["rows_per_second"] > 0
    assert metadata["backlog_files"] == 0
    assert metadata["lag_seconds"] == 0.0
    assert metadata["dagster/row_count"] == 3
    assert metadata["dagster/uri"] == lake.settings.tables_uri("clicks")
    assert metadata["offsets"] == {"files": {"from": {}, "to": {"files": 3}}} or metadata[
        "offsets"
    ] == {"files": {"from": {"files": 0}, "to": {"files": 3}}}
    columns = metadata["dagster/column_schema"].columns
    assert [(c.name, c.type, c.description) for c in columns] == [
        ("id", "BIGINT", None),
        ("page", "VARCHAR", "Where it was."),
    ]
    preview = metadata["preview"]
    assert [dict(record.data) for record in preview.records] == [{"id": 2, "page": "/2"}]
    assert "| batch | rows |" in metadata["progress"]
    assert "incremental | full reprocess" in metadata["cost"]


def test_the_data_version_is_the_delta_version(lake):
    lake = lake()
    lake.land("a.json", 1)
    metadata = lake.metadata(lake.materialize())
    event = lake.instance.get_latest_materialization_event(lake.key)
    tags = event.asset_materialization.tags
    assert tags["dagster/data_version"] == str(metadata["delta_version"])
    assert tags["dagster/code_version"]


def test_nothing_new_says_so_in_numbers(lake):
    lake = lake()
    lake.land("a.json", 1)
    lake.land("b.json", 2)
    lake.materialize()
    metadata = lake.metadata(lake.materialize())
    assert metadata["batches"] == 0
    assert metadata["summary"].startswith("nothing new: 0 of 2 files; last batch 0 at ")
    assert metadata["dagster/row_count"] == 2
    assert lake.ids() == [1, 2]


def test_the_cost_panel_holds_both_sides_after_the_first_run(lake):
    lake = lake()
    lake.land("a.json", 1, 2)
    first = lake.metadata(lake.materialize())
    assert "in seconds" in first["cost"] or "times quicker" in first["cost"]
    lake.land("b.json", 3)
    second = lake.metadata(lake.materialize())
    # Runs of 2 rows and of 1: full reprocesses would have read 2 and then 3.
    assert "read 5 rows; the incremental runs read 3:" in second["cost"]
    assert second["times_fewer_rows"] == pytest.approx(5 / 3, abs=0.01)
    assert second["times_cheaper"] > 0


def test_without_data_the_declared_table_is_made_and_the_check_passes_on_nothing(lake):
    lake = lake()
    result = lake.materialize()
    metadata = lake.metadata(result)
    assert lake.ids() == []
    assert metadata["dagster/row_count"] == 0
    assert [c.name for c in metadata["dagster/column_schema"].columns] == ["id", "page"]
    assert evaluation(result).passed


def test_a_schema_to_infer_waits_for_the_first_file(lake):
    lake = lake(source={"schema": "infer"})
    result = lake.materialize()
    assert "no file to infer the schema from" in lake.metadata(result)["summary"]
    found = evaluation(result)
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    lake.land("a.json", 1)
    result = lake.materialize()
    assert lake.ids() == [1]
    assert evaluation(result).passed


def test_an_error_is_shown_as_what_was_found_and_what_to_do(lake):
    lake = lake(source={"on_bad_record": "fail"})
    lake.land("a.json", 1, bad=["{broken"])
    result = lake.materialize(fails=True)
    failure = result.failure_data_for_node("clicks")
    assert "a.json" in failure.user_failure_data.description
    assert failure.user_failure_data.metadata["error"].value == "BadRecords"
    # Only the frames of ours that raise it, and none of those between.
    assert failure.error.cause is None


def test_another_runner_is_waited_for(lake):
    lake = lake()
    lake.land("a.json", 1)
    with lake.pipeline.query.open() as session:
        lease = session.store.leases.acquire("clicks", "another run")
        drain = Drain(lake.pipeline.query)
        events = iter(drain)
        waiting = next(events)
        assert isinstance(waiting, Waiting)
        assert "another run" in waiting.reason
        lease.release()
        (batch,) = list(events)
    assert batch.num_output_rows == 1
    assert drain.summary.batches == [batch]


def test_a_run_by_hand_beside_another_one_waits_and_is_not_red(lake):
    lake = lake()
    lake.land("a.json", 1)
    with lake.pipeline.query.open() as session:
        lease = session.store.leases.acquire("clicks", "the sensor's run")
        done = threading.Timer(0.7, lease.release)
        done.start()
        metadata = lake.metadata(lake.materialize())
        done.join()
    assert metadata["rows"] == 1


def test_a_drain_that_is_given_up_leaves_the_query_to_the_next(lake):
    lake = lake(trigger=processing_time("1 hour"))
    lake.land("a.json", 1)
    events = iter(Drain(lake.pipeline.query))
    assert next(events).batch_id == 0
    events.close()  # as when Dagster ends the run
    assert [t.name for t in threading.enumerate() if t.name.startswith(("drain", "lease"))] == []
    with lake.pipeline.query.open() as session:
        session.store.leases.acquire("clicks", "next").release()


def test_waiting_has_an_end(lake):
    from datetime import timedelta

    lake = lake()
    with lake.pipeline.query.open() as session:
        lease = session.store.leases.acquire("clicks", "another run")
        with pytest.raises(QueryAlreadyRunning):
            list(Drain(lake.pipeline.query, longest_wait=timedelta(0)))
        lease.release()


def test_a_continuous_run_ends_after_its_max_duration(lake):
    lake = lake(trigger=processing_time("20 milliseconds"), max_duration="1 second")
    lake.land("a.json", 1)
    metadata = lake.metadata(lake.materialize())
    assert metadata["batches"] == 1
    assert lake.ids() == [1]
