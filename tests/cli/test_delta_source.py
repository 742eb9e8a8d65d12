"""What the commands say of a query that follows a Delta table."""

import json

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

MODULE = """
from orchestration import StreamingQuery, available_now, delta, delta_sink, stream

copy = StreamingQuery("copy", stream(delta("there/")), sink=delta_sink("copy"),
                      trigger=available_now(max_files=1))
"""


FEED = """
from orchestration import StreamingQuery, delta, scd1_sink, stream

copy = StreamingQuery("copy", stream(delta("./there", change_feed=True, starting_version=0)),
                      sink=scd1_sink("copy", keys="id"))
"""


def append(project, *ids):
    table = pa.table({"id": pa.array(ids, pa.int64())})
    write_deltalake(str(project.root / "there"), table, mode="append")


def test_plan_run_and_status(project):
    project.declare(MODULE)
    assert "the place does not exist yet" in project("plan", "copy").stdout
    append(project, 1, 2)
    planned = project("plan", "copy").stdout
    assert "1 new file" in planned
    assert "v1/0" in planned
    assert project("run", "copy").exit_code == 0
    append(project, 3)
    append(project, 4)
    planned = project("plan", "copy").stdout
    assert "v1/0 to v2/0" in planned
    assert "v2/0 to v3/0" in planned
    assert project("run", "copy").exit_code == 0
    assert "version 2 (there)" in project("status", "copy").stdout
    assert project.json("status", "copy")["followed"] == {"there": "version 2"}
    assert project("verify", "copy").exit_code == 0
    write_deltalake(str(project.root / "there"), pa.table({"id": [9]}), mode="overwrite")
    stopped = project("run", "copy")
    assert stopped.exit_code == 3
    assert "version 3" in stopped.stderr
    assert "on_change='skip'" in stopped.stderr
    assert project("plan", "copy").exit_code == 3


def test_it_can_be_proved(project):
    project.declare(MODULE)
    for number in range(5):
        append(project, number, number)
    done = project("prove", "copy", "--kills", "0", "--at", "after_seal", "--json")
    assert done.exit_code == 0, done.stderr
    proof = json.loads(done.stdout)
    assert proof["passed"]
    assert (proof["rows"], proof["files"], proof["batches"]) == (10, 5, 3)


def test_a_copy_by_changes_can_be_proved(project):
    project.declare(FEED)
    there = str(project.root / "there")
    table = pa.table({"id": [1, 2, 3], "v": ["a", "b", "c"]})
    write_deltalake(there, table, configuration={"delta.enableChangeDataFeed": "true"})
    DeltaTable(there).update({"v": "'new'"}, predicate="id = 1")
    DeltaTable(there).delete("id = 2")
    done = project("prove", "copy", "--kills", "0", "--at", "after_write", "--json")
    assert done.exit_code == 0, done.stderr
    proof = json.loads(done.stdout)
    assert proof["passed"]
    assert proof["rows"] == 2
