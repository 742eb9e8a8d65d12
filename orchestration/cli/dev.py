"""``headwater dev``: Dagster on this home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click

from orchestration.cli.context import Context, pass_context
from orchestration.config import Settings
from orchestration.errors import ConfigError

__all__ = ["dagster_home", "dev"]

_HOST = "127.0.0.1"
_PORTS = range(3000, 3100)
_GRACE_SECONDS = 20
# It advertises 'dg dev', which comes with the dev extra only.
_QUIET = "ignore:Function `dev_command` is superseded"

_DAGSTER_YAML = """\
# Written by `headwater dev` because there was none; change what you like, it is not rewritten.
telemetry:
  enabled: false
nux:
  enabled: false
# One run of a query at a time: a second one waits in the queue and is not red.
concurrency:
  pools:
    default_limit: 1
    granularity: run
# A queued run starts within a second; the default looks every five.
run_coordinator:
  module: dagster
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
# A run whose process was killed is marked failed, so that it can be asked for again.
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
# Sensor ticks beside each other, so that a slow source does not hold up the others.
sensors:
  use_threads: true
  num_workers: 4
"""


@click.command()
@click.option("--port", type=int, help="Port of the UI; default: the first free one from 3000.")
@click.option("--home", is_flag=True, help="Only prepare DAGSTER_HOME and print it.")
@pass_context
def dev(context: Context, port: int | None, *, home: bool) -> None:
    """Open Dagster on the tables and cursors of this home, the sensors on.

    Everything else that is started with the same DAGSTER_HOME is seen in its UI:
    export DAGSTER_HOME="$(headwater dev --home)".
    """
    settings = Settings.load()
    directory = dagster_home(settings)
    if home:
        click.echo(str(directory))
        return
    root = settings.root or Path.cwd()
    chosen = port or _free_port()
    command = [sys.executable, "-m", "dagster", "dev", "-h", _HOST, "-p", str(chosen)]
    if context.module == "assets" and (root / "workspace.yaml").is_file():
        command += ["-w", str(root / "workspace.yaml")]
    else:
        command += ["-m", "orchestration.definitions"]
    console = context.console()
    console.print(f"Dagster: http://{_HOST}:{chosen} in about ten seconds; Ctrl-C stops it")
    console.print(f"  DAGSTER_HOME={directory}")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(directory),
        "HEADWATER_HOME": str(settings.home),
        "HEADWATER_ROOT": str(root),
        "HEADWATER_MODULE": context.module,
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), _QUIET])),
    }
    raise click.exceptions.Exit(_supervise(command, root, environment))


def dagster_home(settings: Settings) -> Path:
    """The directory that Dagster keeps its runs in, made with a ``dagster.yaml`` where missing.

    ``DAGSTER_HOME`` where that is set, else ``dagster/`` in Headwater's home.

    Raises:
        ConfigError: ``DAGSTER_HOME`` is not an absolute path.
    """
    given = os.environ.get("DAGSTER_HOME")
    directory = Path(given).expanduser() if given else settings.home / "dagster"
    if not directory.is_absolute():
        raise ConfigError(
            f"DAGSTER_HOME={given!r} is not an absolute path, and Dagster takes no other",
            remedy="unset it, or give the whole path",
        )
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "dagster.yaml"
    if not file.exists():
        file.write_text(_DAGSTER_YAML, encoding="utf-8")
    return directory


def _free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise ConfigError(
        f"no port from {_PORTS[0]} to {_PORTS[-1]} is free", remedy="name one with --port"
    )


def _supervise(command: list[str], root: Path, environment: dict[str, str]) -> int:
    """Run Dagster and stop it the one way that stops all of its processes.

    It is given a process group of its own: Ctrl-C at a terminal reaches a whole group, and
    Dagster's daemon, code server and webserver, interrupted behind its back, can stay for ever.
    Interrupted alone, the parent ends them in two seconds.
    """
    child = subprocess.Popen(command, cwd=root, env=environment, start_new_session=True)
    asked = False

    def stop(number: int, frame: object) -> None:
        nonlocal asked
        del number, frame
        child.send_signal(signal.SIGINT)
        asked = True

    former = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not asked and child.poll() is None:
            try:
                child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
        try:
            code = child.wait(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
    return 0 if asked else code
