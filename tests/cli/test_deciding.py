from orchestration.runtime.contents import table_rows

FAILING = """
import pathlib
from orchestration import StreamingQuery, delta_sink, files, stream

HERE = pathlib.Path(__file__).parent
schema = {"id": "BIGINT"}

def check(rows):
    if (HERE / "broken").exists():
        raise ValueError("the price list is missing")
    return rows

clicks = StreamingQuery("clicks", stream(files("landing", schema=schema)).map_batches(check, schema),
                        sink=delta_sink("clicks"))
"""


def rows(project, suffix=""):
    return table_rows(str(project.home / "tables" / f"clicks{suffix}"))


def block(project):
    project.declare(FAILING)
    (project.root / "broken").touch()
    project.land(3)
    for _ in range(3):
        done = project("run", "clicks")
        assert done.exit_code == 1
        assert "the price list is missing" in done.stderr


def test_a_batch_that_keeps_failing_blocks_and_is_refused(project):
    block(project)
    done = project("run", "clicks")
    assert done.exit_code == 3
    assert "BatchBlocked" in done.stderr
    assert "headwater skip clicks --to-quarantine" in done.stderr
    assert project.json("status", "clicks")["state"] == "blocked"
    shown = project("status").stdout
    assert "blocked" in shown
    assert "headwater retry clicks" in shown


def test_retry_tries_the_same_range_again(project):
    block(project)
    (project.root / "broken").unlink()
    assert project("run", "clicks").exit_code == 3
    done = project("retry", "clicks")
    assert done.exit_code == 0
    assert "will be tried again. Next: headwater run clicks" in done.stdout
    assert project("run", "clicks").exit_code == 0
    assert len(rows(project)) == 3


def test_skip_sets_the_files_aside_whole(project):
    block(project)
    assert project("skip", "clicks").exit_code == 2
    assert project("skip", "clicks", "--to-quarantine").exit_code == 0
    project.land(2)
    (project.root / "broken").unlink()
    assert project("run", "clicks").exit_code == 0
    assert len(rows(project)) == 2
    (aside,) = rows(project, "__quarantine")
    assert aside["line"] is None
    assert "skipped by hand" in aside["reason"]


def test_there_is_nothing_to_retry_or_skip(project):
    project.land()
    project("run", "clicks")
    for arguments in (("retry", "clicks"), ("skip", "clicks", "--to-quarantine")):
        done = project(*arguments)
        assert done.exit_code == 3
        assert "has no failed batch" in done.stderr


def test_reset_asks_and_can_be_told_no(project):
    project.land()
    project("run", "clicks")
    done = project("reset", "clicks")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert len(rows(project)) == 3


def test_reset_empties_and_the_next_run_reads_everything_again(project):
    project.land(3, "bad")
    project("run", "clicks")
    done = project("reset", "clicks", "--yes")
    assert done.exit_code == 0
    assert "generation 2" in done.stdout
    assert rows(project) == []
    assert rows(project, "__quarantine") == []
    project("run", "clicks")
    assert len(rows(project)) == 3
    assert len(rows(project, "__quarantine")) == 1


def test_a_declaration_that_does_not_follow_is_refused(project):
    project.land()
    project("run", "clicks")
    text = (project.root / f"{project.module}.py").read_text()
    other = project.root / "changed"
    other.mkdir()
    (other / "changed_queries.py").write_text(text.replace('"v": "VARCHAR"', '"v": "BIGINT"'))
    project.module = "changed_queries"
    process = project.start("run", "clicks", PYTHONPATH=f"{other}:{_repository()}")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "IncompatibleQuery" in errors
    assert "headwater reset clicks" in errors


def _repository():
    from tests.cli.conftest import ROOT

    return ROOT
