import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from tests.cli.conftest import ROOT


def test_home_is_made_with_a_configuration_that_dagster_takes(project):
    done = project("dev", "--home")
    assert done.exit_code == 0
    home = project.home / "dagster"
    assert done.stdout.strip() == str(home)
    script = (
        "import sys\nfrom dagster import DagsterInstance\n"
        "instance = DagsterInstance.from_config(sys.argv[1])\n"
        "assert not instance.telemetry_enabled\n"
        "assert not instance.nux_enabled\n"
        "config = instance.get_concurrency_config()\n"
        "print(config.pool_config.default_pool_limit, config.pool_config.pool_granularity.value)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, str(home)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["1", "run"]


def test_a_configuration_that_is_there_stays(project):
    project("dev", "--home")
    file = project.home / "dagster" / "dagster.yaml"
    file.write_text("# mine\n")
    assert project("dev", "--home").exit_code == 0
    assert file.read_text() == "# mine\n"


def test_a_dagster_home_of_ones_own_is_kept(project, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(project.root / "elsewhere"))
    assert project("dev", "--home").stdout.strip() == str(project.root / "elsewhere")
    monkeypatch.setenv("DAGSTER_HOME", "relative/place")
    done = project("dev", "--home")
    assert done.exit_code == 2
    assert "DAGSTER_HOME" in done.stderr


def test_dagster_starts_answers_and_stops_on_sigint(project):
    """The whole thing: six processes come, and six go."""
    (project.root / "shown.py").write_text(
        "import dagster as dg\n\n@dg.asset\ndef one():\n    return 1\n\n"
        "defs = dg.Definitions(assets=[one])\n"
    )
    project.module = "shown"
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", "-m", "shown", "dev", "--port", str(port)],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        assert answers(f"http://127.0.0.1:{port}/server_info")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert not in_use(port)
    assert (project.home / "dagster").is_dir()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)  # another program's start cannot be waited for otherwise
    return False
