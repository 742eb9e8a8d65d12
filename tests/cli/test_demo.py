import os
import subprocess
import sys

import pytest

from orchestration.cli.web_logs import write_log_files
from orchestration.runtime.contents import table_rows
from tests.cli.conftest import ROOT


def demo(root):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "demo"],
        cwd=root,
        env={**environment, "PYTHONPATH": str(ROOT), "HEADWATER_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def test_the_demo_is_as_promised_and_can_be_run_again(root):
    first = demo(root)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Everything as promised" in first.stdout
    assert "nothing new: 0 of 48 files" in first.stdout
    assert "make dev" in first.stdout
    assert "customers in the database" in first.stdout
    rows = len(table_rows(str(root / ".headwater/tables/web_logs_bronze")))
    assert rows > 0
    second = demo(root)
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(table_rows(str(root / ".headwater/tables/web_logs_bronze"))) == rows


def test_the_demo_never_touches_data_that_is_not_its_own(root):
    mine = root / "landing" / "web_logs" / "mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}\n")
    done = demo(root)
    assert done.returncode == 3
    assert "did not write" in done.stderr
    assert mine.read_text() == "{}\n"


def test_an_act_is_left_out_where_files_of_others_lie(root):
    mine = root / "landing" / "cdc" / "orders" / "mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}\n")
    done = demo(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A database's changes" not in done.stdout
    assert [path.name for path in mine.parent.iterdir()] == ["mine.json"]


def test_the_logs_are_always_the_same(tmp_path):
    for name in ("one", "two"):
        write_log_files(tmp_path / name, range(-1, 4), 200)
    files = sorted(path.relative_to(tmp_path / "one") for path in tmp_path.glob("one/**/*.json"))
    assert len(files) == 5
    for file in files:
        one, two = tmp_path / "one" / file, tmp_path / "two" / file
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_mtime == two.stat().st_mtime
