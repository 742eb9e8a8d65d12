"""``headwater maintain``: what it says, and what it refuses."""

import os
import sys

import pytest

from tests.cli.conftest import Project


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEADWATER_ROOT", str(tmp_path))
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Project(tmp_path)


def fill(project, runs=3):
    for _ in range(runs):
        project.land(2)
        assert project("run", "clicks").exit_code == 0


def test_it_says_what_it_did(project):
    fill(project)
    looked = project("maintain", "clicks", "--dry-run")
    assert "would be maintained" in looked.stdout
    done = project("maintain", "clicks")
    assert done.exit_code == 0, done.output
    assert "clicks: maintained in" in done.stdout
    assert done.stdout.count("3 → 1") == 2  # files, and what was packed
    assert "nothing to do" in project("maintain", "clicks").stdout


def test_numbers_for_scripts(project):
    fill(project)
    found = project.json("maintain", "clicks")
    (table,) = found["tables"]
    assert (found["query"], found["dry_run"], found["retention_seconds"]) == (
        "clicks",
        False,
        604800,
    )
    assert (table["role"], table["files_before"], table["files_after"]) == ("sink", 3, 1)
    assert table["bytes_before"] > table["bytes_after"] > 0
    (every,) = project.json("maintain", "--all")
    assert every["query"] == "clicks"


def test_it_refuses_what_is_unclear_or_unsafe(project):
    assert project("maintain").exit_code == 2
    assert project("maintain", "clicks", "--all").exit_code == 2
    assert "has never run" in project("maintain", "clicks").stdout
    done = project("maintain", "clicks", "--retention", "2 hours")
    assert done.exit_code == 2
    assert "not safe" in done.stderr
    fill(project, 1)
    project.land(2)
    crashed = project.start("run", "clicks", HEADWATER_CRASH_AT="after_seal")
    crashed.wait(60)
    crashed.communicate()
    refused = project("maintain", "clicks")
    assert refused.exit_code == 3
    assert "headwater run clicks" in refused.stderr
    assert project("maintain", "--all").exit_code == 3
