import json
import signal

from orchestration.cursors.store import CursorStore
from orchestration.runtime.contents import table_rows


def ids(project):
    return sorted(row["id"] for row in table_rows(str(project.home / "tables" / "clicks")))


def test_a_run_says_what_happened_and_what_comes_next(project):
    for _ in range(3):
        project.land(4)
    project.land(1, '{"id": oh dear')
    done = project("run", "clicks")
    assert done.exit_code == 0, done.output
    assert "batch 0" in done.stdout
    assert "2 batches, 13 rows from 4 files" in done.stdout
    assert "1 bad record set aside → headwater quarantine clicks" in done.stdout
    assert "headwater verify clicks" in done.stdout
    assert ids(project) == list(range(13))


def test_a_rerun_says_there_was_nothing_to_do(project):
    for _ in range(3):
        project.land()
    project("run", "clicks")
    done = project("run", "clicks")
    assert done.exit_code == 0
    assert "nothing new: 0 of 3 files; last batch 1 at " in done.stdout
    assert ids(project) == list(range(9))


def test_without_a_landing_directory_there_is_nothing_to_read_yet(project):
    done = project("run", "clicks")
    assert done.exit_code == 0
    assert "not there yet" in done.stdout


def test_once_takes_everything_in_one_batch(project):
    for _ in range(5):
        project.land()
    batches = project.json("run", "clicks", "--trigger", "once")["batches"]
    assert [batch["batch_id"] for batch in batches] == [0]
    assert batches[0]["rows_out"] == 15


def test_an_impossible_trigger_is_a_usage_error(project):
    for trigger in ("sometimes", "processing_time", "processing_time=-1 second"):
        done = project("run", "clicks", "--trigger", trigger)
        assert done.exit_code == 2, trigger
        assert "--trigger" in done.stderr


def test_json_is_alone_on_standard_output(project):
    project.land()
    done = project("run", "clicks", "--json")
    assert json.loads(done.stdout)["batches"][0]["rows_out"] == 3
    assert "batch 0" in done.stderr


def test_a_second_runner_is_refused(project):
    project.land()
    query = project.query()
    with (
        CursorStore.open(query.settings.cursors_url, clock=query.open().clock) as store,
        store.leases.acquire("clicks", "the other"),
    ):
        done = project("run", "clicks")
    assert done.exit_code == 3
    assert "QueryAlreadyRunning" in done.stderr
    assert project("run", "clicks").exit_code == 0


def test_sigterm_ends_a_processing_time_query_after_the_batch_in_hand(project):
    project.land()
    process = project.start("run", "clicks", "--trigger", "processing_time=1 hour")
    lines = []
    while not lines or "batch 0" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "stopping after the batch in hand" in rest
    assert "1 batch, 3 rows" in rest


def test_a_second_signal_ends_it_at_once(project):
    project.declare(
        """
import time
from orchestration import StreamingQuery, delta_sink, files, stream

def slow(rows):
    print("in the batch", flush=True)
    time.sleep(600)
    return rows

schema = {"id": "BIGINT"}
clicks = StreamingQuery("clicks", stream(files("landing", schema=schema)).map_batches(slow, schema),
                        sink=delta_sink("clicks"))
"""
    )
    project.land()
    process = project.start("run", "clicks")
    assert "in the batch" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert "once more" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    status = project.json("status", "clicks")
    assert status["state"] == "unfinished"


def test_a_killed_run_is_finished_by_the_next(project):
    for _ in range(4):
        project.land()
    process = project.start("run", "clicks", HEADWATER_CRASH_AT="after_sink_commit@2")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert project.json("status", "clicks")["state"] == "unfinished"
    done = project("run", "clicks")
    assert done.exit_code == 0
    assert "batch 1 had been left by a crash and is finished now" in done.stdout
    assert ids(project) == list(range(12))


def test_a_reader_that_has_enough_is_no_error(project):
    project.land()
    project("run", "clicks")
    process = project.start("history", "clicks", "--json")
    process.stdout.close()
    process.wait(timeout=60)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
