import json

import pytest

from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.cli.test_verify import UNSTEADY

QUICK = ("--kills", "0", "--at", "after_write")


def test_a_query_is_proved(project):
    for _ in range(6):
        project.land(20, "bad")
    done = project("prove", "clicks", "--kills", "2", "--seed", "7", "--json")
    assert done.exit_code == 0, done.stderr
    proof = json.loads(done.stdout)
    assert proof["passed"]
    assert (proof["rows"], proof["quarantined"], proof["files"]) == (120, 6, 6)
    assert proof["batches"] > 1
    assert [kill["point"] for kill in proof["kills"][: len(CRASH_POINTS)]] == list(CRASH_POINTS)
    assert all(kill["killed"] for kill in proof["kills"][: len(CRASH_POINTS)])
    assert {kill["verdict"] for kill in proof["kills"]} == {"identical"}
    assert len(proof["kills"]) == len(CRASH_POINTS) + 2
    # Nothing of it is left, and the query's own home knows nothing of it.
    assert not list((project.home / "scratch").glob("prove-*"))
    assert not (project.home / "tables").exists()


def test_a_query_that_is_not_repeatable_is_found_out(project):
    project.declare(UNSTEADY)
    for _ in range(4):
        project.land()
    done = project("prove", "clicks", *QUICK)
    assert done.exit_code == 1
    assert "NOT proved: 1 of 1" in done.stdout
    assert "12 rows only in the undisturbed run, 12 only in this one" in done.stdout
    (kept,) = (project.home / "scratch").glob("prove-*")
    assert str(kept) in done.stdout


def test_a_query_that_reads_twice_what_a_crash_left_is_found_out(project):
    """Exactly-once, broken on purpose: rows that a killed attempt has seen come twice."""
    project.declare(
        """
import hashlib
import pathlib
import pyarrow as pa
from orchestration import StreamingQuery, delta_sink, files, stream
from orchestration.config import Settings

schema = {"id": "BIGINT"}

def doubling(rows):
    # A note outside of the protocol, as careless code keeps it: "these were not done yet".
    name = hashlib.sha256(str(rows["id"].to_pylist()).encode()).hexdigest()[:16]
    # The home is the killed process's own, so that its successor finds the note.
    import sys
    home = pathlib.Path(sys.argv[sys.argv.index("--home") + 1])
    seen = home / f"seen-{name}"
    if seen.exists():
        rows = pa.concat_tables([rows, rows])
    if rows.num_rows:
        seen.touch()
    return rows

clicks = StreamingQuery("clicks",
                        stream(files("landing", schema=schema)).map_batches(doubling, schema),
                        sink=delta_sink("clicks"))
"""
    )
    for _ in range(4):
        project.land()
    both = ("--at", "after_write", "--at", "after_seal")
    done = project("prove", "clicks", "--kills", "0", *both, "--json")
    assert done.exit_code == 1
    verdicts = {kill["point"]: kill["verdict"] for kill in json.loads(done.stdout)["kills"]}
    # Run again before the seal, the rows are computed again; after it they are not.
    assert verdicts["after_write"] == "different"
    assert verdicts["after_seal"] == "identical"


def test_there_has_to_be_something_to_prove(project):
    project.landing.mkdir()
    done = project("prove", "clicks")
    assert done.exit_code == 1
    assert "nothing to prove yet" in done.stderr


def test_only_what_can_be_copied_can_be_proved(project):
    project.declare(
        """
from orchestration import StreamingQuery, delta_sink, stream
from orchestration.testing import MemoryStream

clicks = StreamingQuery("clicks", stream(MemoryStream({"id": "BIGINT"})), sink=delta_sink("clicks"))
"""
    )
    done = project("prove", "clicks")
    assert done.exit_code == 1
    assert "StreamTest" in done.stderr


def test_the_input_is_bounded_and_says_so(project):
    sizes = [project.land(10).stat().st_size for _ in range(4)]
    bound = f"{sizes[0] + sizes[1]} B"
    done = project("prove", "clicks", *QUICK, "--max-bytes", bound, "--json")
    proof = json.loads(done.stdout)
    assert (proof["files"], proof["left_out"]) == (2, 2)


@pytest.mark.parametrize("size", ["none", "-1", "3 parsecs"])
def test_a_size_that_is_none(project, size):
    assert project("prove", "clicks", "--max-bytes", size).exit_code == 2


def test_the_input_itself_is_left_alone(project):
    path = project.land(5)
    before = (path.stat().st_mtime_ns, path.read_bytes())
    project("prove", "clicks", *QUICK)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
