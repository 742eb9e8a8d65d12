import json
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT, Project

COMMANDS = (
    *("demo", "plan", "run", "status", "history", "quarantine", "verify", "prove", "reset"),
    *("retry", "skip", "cursors", "dev", "watermark", "late", "state", "flush"),
)
HEAVY = ("dagster", "duckdb", "deltalake", "pyarrow", "sqlalchemy", "pydantic", "rich")


def modules_after(code: str, cwd) -> set[str]:
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_names_every_command_and_loads_nothing_heavy(tmp_path):
    code = "from orchestration.cli.app import group; group.main(['--help'], standalone_mode=False)"
    assert not modules_after(code, tmp_path).intersection(HEAVY)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_help_and_has_its_own(project, command):
    assert f"\n  {command} " in project("--help").output
    own = project(command, "--help")
    assert own.exit_code == 0
    assert "Usage: headwater" in own.output


def test_a_run_never_imports_dagster(project):
    project.land(2)
    code = (
        "from orchestration.cli.app import group\n"
        f"group.main(['-m', {project.module!r}, 'run', 'clicks'], standalone_mode=False)"
    )
    loaded = modules_after(code, project.root)
    assert "duckdb" in loaded
    assert "dagster" not in loaded


def test_an_unknown_query_is_a_usage_error_that_names_the_nearest(project):
    done = project("run", "clicsk")
    assert done.exit_code == 2
    assert "did you mean clicks?" in done.stderr
    assert "Traceback" not in done.output


def test_an_unknown_command_names_the_nearest(project):
    done = project("quarantin", "clicks")
    assert done.exit_code == 2
    assert "Did you mean quarantine?" in done.stderr


def test_a_module_that_is_not_there(project):
    project.module = "nowhere"
    done = project("status")
    assert done.exit_code == 2
    assert "no module 'nowhere'" in done.stderr


def test_a_module_that_does_not_import_says_where(project):
    project.declare("import os\n\n1 / 0\n")
    done = project("status")
    assert done.exit_code == 1
    assert "ZeroDivisionError" in done.stderr
    assert f"{project.module}.py, line 3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_a_usage_error(project, monkeypatch):
    monkeypatch.setenv("HEADWATER_THREADS", "many")
    done = project("status")
    assert done.exit_code == 2
    assert "HEADWATER_THREADS" in done.stderr


def test_queries_are_found_in_packages_lists_and_pipelines(project):
    package = project.root / project.module
    (project.root / f"{project.module}.py").unlink()
    package.mkdir()
    (package / "__init__.py").write_text("")
    base = """
from orchestration import StreamingQuery, delta_sink, files, stream
raw = stream(files("landing", schema={"id": "BIGINT"}))
"""
    (package / "one.py").write_text(
        base + "many = [StreamingQuery(n, raw, sink=delta_sink(n)) for n in ('a', 'b')]\n"
        "by_name = {'c': StreamingQuery('c', raw, sink=delta_sink('c'))}\n"
    )
    (package / "two.py").write_text(
        base + "class Pipeline:\n"
        "    query = StreamingQuery('d', raw, sink=delta_sink('d'))\n"
        "d = Pipeline()\nagain = d.query\n"
    )
    (package / "_private.py").write_text("raise RuntimeError('not for us')\n")
    assert [item["name"] for item in project.json("status")] == ["a", "b", "c", "d"]


def test_two_queries_of_one_name_are_refused(project):
    project.declare(project_text_twice())
    done = project("status")
    assert done.exit_code == 1
    assert "two queries called 'clicks'" in done.stderr


def project_text_twice() -> str:
    return (
        "from orchestration import StreamingQuery, delta_sink, files, stream\n"
        "raw = stream(files('landing', schema={'id': 'BIGINT'}))\n"
        "one = StreamingQuery('clicks', raw, sink=delta_sink('clicks'))\n"
        "two = StreamingQuery('clicks', raw, sink=delta_sink('other'))\n"
    )


def test_debug_shows_the_traceback(project):
    process = Project.start(project, "--debug", "run", "nothing")
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" in errors


def test_no_secret_is_shown(project, monkeypatch):
    monkeypatch.setenv("HEADWATER_CURSORS", "postgresql://app:canary-s3cret@127.0.0.1:1/none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-aws-s3cret")
    project.land(1, '{"id": canary')
    for arguments in (
        ("status",),
        ("cursors",),
        ("run", "clicks"),
        ("plan", "clicks"),
        ("verify", "clicks"),
    ):
        done = project(*arguments)
        assert done.exit_code in {0, 1}
        assert "s3cret" not in done.output + done.stderr, arguments
