import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestration.cli.app import group
from orchestration.runtime.declared import choose, find_queries

ROOT = Path(__file__).parent.parent.parent
PLAIN = """
from orchestration import StreamingQuery, available_now, delta_sink, files, stream

raw = stream(files("landing", schema={"id": "BIGINT", "v": "VARCHAR"}))
clicks = StreamingQuery("clicks", raw.where("id >= 0"), sink=delta_sink("clicks"),
                        trigger=available_now(max_files=2))
"""
_numbers = itertools.count()


class Project:
    """A user's project: a module with queries, a landing directory, a home."""

    def __init__(self, root: Path, module: str = PLAIN) -> None:
        self.root = root
        self.home = root / "home"
        self.landing = root / "landing"
        # Modules are cached by name, so each test has one of its own.
        self.module = f"queries_{next(_numbers)}_{os.getpid()}"
        (root / "pyproject.toml").write_text("")
        self.declare(module)
        self.next_id = 0

    def declare(self, text: str) -> None:
        (self.root / f"{self.module}.py").write_text(text)

    def land(self, rows: int = 3, *bad: str, name: str | None = None) -> Path:
        self.landing.mkdir(exist_ok=True)
        lines = [
            json.dumps({"id": n, "v": f"v{n}"}) for n in range(self.next_id, self.next_id + rows)
        ]
        self.next_id += rows
        path = self.landing / (
            name or f"{self.next_id:06d}-{len(list(self.landing.iterdir()))}.json"
        )
        path.write_text("".join(line + "\n" for line in (*lines, *bad)))
        return path

    def __call__(self, *arguments: str, answer: str | None = None):
        """Run the command in this process; the result has exit_code, stdout and stderr."""
        return CliRunner().invoke(
            group, ["-m", self.module, *arguments], input=answer, prog_name="headwater"
        )

    def json(self, *arguments: str):
        done = self(*arguments, "--json")
        assert done.exit_code in {0, 1}, done.output
        return json.loads(done.stdout)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start the command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli", "-m", self.module, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def query(self, name: str = "clicks"):
        return choose(find_queries(self.module), name, self.module)


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEADWATER_ROOT", str(tmp_path))
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    # Finding a module extends sys.path; give it back as it was.
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Project(tmp_path)
