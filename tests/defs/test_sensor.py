"""What a tick asks for, and what it says when it asks for nothing."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from orchestration import processing_time
from orchestration.clock import ManualClock, SystemClock
from orchestration.cursors.host import this_process
from orchestration.defs.runs import HOLDER_TAG, QUERY_TAG, TWIN_TAG
from orchestration.defs.tick import decide
from orchestration.errors import SourceUnavailable


def tick(lake):
    """One evaluation of the sensor; the run request, or the reason why there is none."""
    with dg.build_sensor_context(instance=lake.instance, definitions=lake.definitions()) as context:
        (sensor,) = lake.pipeline.sensors
        found = sensor(context)
    return found if isinstance(found, dg.RunRequest) else found.skip_message


def run_as_asked(lake, request, *, status=None):
    """The run that Dagster would make of a request; finished, or only in a status."""
    job = lake.definitions().resolve_job_def("run_clicks")
    if status is None:
        return job.execute_in_process(
            instance=lake.instance, tags=request.tags, raise_on_error=False
        )
    run = lake.instance.create_run_for_job(
        job, tags=request.tags, remote_job_origin=origin("run_clicks")
    )
    set_status(lake, run, status)
    return run


def origin(job):
    """Where a queued run comes from; Dagster queues no others."""
    location = RegisteredCodeLocationOrigin("headwater")
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)


def set_status(lake, run, status):
    events = {
        "QUEUED": DagsterEventType.RUN_ENQUEUED,
        "STARTING": DagsterEventType.RUN_STARTING,
        "STARTED": DagsterEventType.RUN_START,
    }
    event = DagsterEvent(events[status].value, run.job_name)
    lake.instance.report_dagster_event(event, run.run_id)
    assert lake.instance.get_run_by_id(run.run_id).status.value == status


def test_the_sensor_is_on_from_the_start(lake):
    (sensor,) = lake().pipeline.sensors
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 5


def test_a_missing_landing_directory_is_named(lake):
    lake = lake()
    assert tick(lake) == f"the landing directory {lake.landing} does not exist yet"


def test_new_files_are_one_request_with_counts_in_its_tags(lake):
    lake = lake()
    lake.land("a.json", 1)
    lake.land("b.json", 2)
    request = tick(lake)
    assert request.run_key is None
    assert request.tags[QUERY_TAG] == "clicks"
    assert request.tags["headwater/new_files"] == "2"
    size = sum(file.stat().st_size for file in lake.landing.iterdir())
    assert request.tags["headwater/new_bytes"] == str(size)
    assert request.tags["headwater/files.from"] == "0"
    assert request.tags["headwater/files.to"] == "2"


def test_the_request_becomes_rows_and_then_there_is_nothing_new(lake):
    lake = lake()
    for number in range(3):
        lake.land(f"{number}.json", number)
    assert run_as_asked(lake, tick(lake)).success
    assert lake.ids() == [0, 1, 2]
    assert re.fullmatch(r"0 new of 3 files; last batch 1 at \d\d:\d\d", tick(lake))


@pytest.mark.parametrize("status", ["QUEUED", "STARTING", "STARTED"])
def test_a_run_on_its_way_is_not_doubled(lake, status):
    lake = lake()
    lake.land("a.json", 1)
    run = run_as_asked(lake, tick(lake), status=status)
    assert tick(lake) == f"run {run.run_id[:8]} is {status.lower()} already"


def test_a_run_started_by_hand_is_not_doubled_either(lake):
    lake = lake()
    lake.land("a.json", 1)
    definitions = lake.definitions()
    job = definitions.resolve_implicit_global_asset_job_def()
    run = lake.instance.create_run_for_job(
        job.get_subset(asset_selection={lake.key}),
        asset_selection=frozenset({lake.key}),
        remote_job_origin=origin("__ASSET_JOB"),
    )
    set_status(lake, run, "QUEUED")
    assert run.run_id[:8] in tick(lake)


def test_a_runner_outside_dagster_is_not_doubled_either(lake):
    lake = lake()
    lake.land("a.json", 1)
    with lake.pipeline.query.open() as session:
        lease = session.store.leases.acquire("clicks", "by hand")
        assert "run by process" in tick(lake)
        lease.release()
    assert isinstance(tick(lake), dg.RunRequest)


@pytest.mark.parametrize("tag", [QUERY_TAG, TWIN_TAG])
def test_a_killed_run_is_declared_dead_and_asked_for_again(lake, tag):
    lake = lake()
    lake.land("a.json", 1)
    request = dg.RunRequest(tags={tag: "clicks"})
    run = run_as_asked(lake, request, status="STARTED")
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = {**this_process().to_json(), "pid": dead.pid, "started": 1.0}
    dead.communicate(b"\n")
    lake.instance.add_run_tags(run.run_id, {HOLDER_TAG: json.dumps(holder)})
    later = ManualClock(SystemClock().now() + timedelta(seconds=60))
    assert isinstance(decide(lake.pipeline, lake.instance, clock=later), dg.RunRequest)
    assert lake.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_failed_run_is_asked_for_again_later_and_later(lake):
    lake = lake(source={"on_bad_record": "fail"})
    lake.land("a.json", 1, bad=["{broken"])
    request = tick(lake)
    assert not run_as_asked(lake, request).success
    assert "the last run failed, and the next is asked for at" in tick(lake)

    def asked_after(seconds):
        clock = ManualClock(SystemClock().now() + timedelta(seconds=seconds))
        return isinstance(decide(lake.pipeline, lake.instance, clock=clock), dg.RunRequest)

    assert not asked_after(5)
    assert asked_after(15)
    assert not run_as_asked(lake, request).success
    assert not asked_after(15)
    assert asked_after(25)
    (lake.landing / "a.json").unlink()


def test_a_blocked_batch_asks_for_a_person_not_for_runs(lake):
    lake = lake(source={"on_bad_record": "fail"})
    lake.land("a.json", 1, bad=["{broken"])
    request = tick(lake)
    for _ in range(3):
        assert not run_as_asked(lake, request).success
    reason = tick(lake)
    assert "batch 0 failed 3 times the same way and is blocked" in reason
    assert "headwater retry clicks" in reason
    assert "headwater skip clicks --to-quarantine" in reason


def test_an_unfinished_batch_is_reason_enough(lake):
    lake = lake()
    lake.land("a.json", 1)
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.defs.lake import Lake\n"
        "Lake(Path(sys.argv[1]), None).pipeline.query.run()\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(lake.root)],
        env={**os.environ, "HEADWATER_CRASH_AT": "after_plan_log"},
        check=False,
    )
    assert killed.returncode == -9
    request = tick(lake)
    assert request.tags["headwater/batch"] == "0"
    assert run_as_asked(lake, request).success
    assert lake.ids() == [1]


def test_files_that_are_to_be_left_out_are_noted_by_a_run(lake):
    lake = lake(source={"include_existing": False})
    lake.land("old.json", 1)
    request = tick(lake)
    assert isinstance(request, dg.RunRequest)
    assert run_as_asked(lake, request).success
    assert not isinstance(tick(lake), dg.RunRequest)
    lake.land("new.json", 2)
    assert run_as_asked(lake, tick(lake)).success
    assert lake.ids() == [2]


def test_a_continuous_query_is_kept_going(lake):
    lake = lake(trigger=processing_time("10 milliseconds"), max_duration="100 milliseconds")
    lake.land("a.json", 1)
    assert run_as_asked(lake, tick(lake)).success
    assert isinstance(tick(lake), dg.RunRequest)


def test_a_place_that_may_not_be_read_makes_the_tick_red(lake):
    lake = lake()
    lake.landing.write_text("a file where a directory is expected")
    with pytest.raises((dg.Failure, SourceUnavailable)) as caught:
        tick(lake)
    assert str(lake.landing) in str(caught.value)


def test_a_tick_over_a_hundred_thousand_files_is_quick(lake):
    lake = lake()
    lake.land("a.json", 1)
    run_as_asked(lake, tick(lake))
    count = 100_000
    for number in range(count):
        os.close(os.open(lake.landing / f"{number:06d}.json", os.O_CREAT, 0o600))
    started = time.perf_counter()
    request = tick(lake)
    assert request.tags["headwater/new_files"] == str(count)
    # A tick may take a minute; so much slack is left for slow machines.
    assert time.perf_counter() - started < 20


def test_a_schedule_asks_at_its_times_only_when_there_is_something(lake):
    lake = lake(schedule="*/5 * * * *")
    assert lake.pipeline.sensors == []
    (schedule,) = lake.pipeline.schedules
    assert schedule.cron_schedule == "*/5 * * * *"

    with dg.instance_for_test() as instance:  # a schedule takes no instance in memory

        def evaluate():
            return schedule.evaluate_tick(dg.build_schedule_context(instance=instance))

        assert "does not exist yet" in evaluate().skip_message
        lake.land("a.json", 1)
        (request,) = evaluate().run_requests
        assert request.tags["headwater/new_files"] == "1"


def test_a_verification_can_be_scheduled(lake):
    lake = lake(verify="0 3 * * *")
    (schedule,) = lake.pipeline.schedules
    assert schedule.job_name == "reprocess_clicks"
