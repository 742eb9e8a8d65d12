import pytest

UNSTEADY = """
import os
import pyarrow as pa
from orchestration import StreamingQuery, delta_sink, files, stream

schema = {"id": "BIGINT", "v": "VARCHAR"}

def unsteady(rows):
    # Not what map_batches allows: another value each time it runs.
    values = pa.array([os.urandom(8).hex() for _ in range(rows.num_rows)], pa.string())
    return rows.set_column(1, "v", values)

clicks = StreamingQuery("clicks",
                        stream(files("landing", schema=schema)).map_batches(unsteady, schema),
                        sink=delta_sink("clicks"))
"""


def test_incremental_equals_full(project):
    for _ in range(5):
        project.land(4, "bad")
    project("run", "clicks")
    done = project("verify", "clicks")
    assert done.exit_code == 0, done.output
    assert "identical: 20 rows in both tables" in done.stdout
    assert "last full reprocess" in done.stdout


def test_json_says_what_was_compared(project):
    project.land(4)
    project("run", "clicks")
    found = project.json("verify", "clicks")
    assert found["outcome"] == "identical"
    assert found["incremental_rows"] == found["full_rows"] == 4
    assert found["costs"]["full_runs"] == 1


def test_a_difference_is_shown_and_fails(project):
    project.declare(UNSTEADY)
    project.land(4)
    project("run", "clicks")
    done = project("verify", "clicks")
    assert done.exit_code == 1
    assert "DIFFERENT: 4 rows only in the incremental table, 4 only in the full" in done.stdout
    assert "only in the full reprocess" in done.stdout
    found = project.json("verify", "clicks", "--no-reprocess")
    assert found["outcome"] == "different"
    assert len(found["samples_incremental"]) == 4


def test_without_a_reprocess_there_is_nothing_to_compare_with(project):
    project.land()
    project("run", "clicks")
    done = project("verify", "clicks", "--no-reprocess")
    assert done.exit_code == 1
    assert "not comparable: there is no full-reprocess twin yet" in done.stdout


def test_nothing_equals_nothing(project):
    assert project("verify", "clicks").exit_code == 0


@pytest.mark.parametrize("point", ["after_plan_log", "after_seal", "after_sink_commit"])
def test_a_batch_in_hand_does_not_disturb_the_comparison(project, point):
    for _ in range(4):
        project.land()
    process = project.start("run", "clicks", HEADWATER_CRASH_AT=f"{point}@2")
    process.communicate(timeout=60)
    assert project("verify", "clicks").exit_code == 0
