"""A real `dagster dev` on a home of its own, asked by GraphQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from unittest.mock import patch

from orchestration.cli.dev import dagster_home
from orchestration.config import Settings

__all__ = ["DagsterDev", "environment", "web_log", "write_web_logs"]

ROOT = Path(__file__).resolve().parents[2]


def environment(root: Path) -> dict[str, str]:
    """Variables for a project whose landing directory and home lie in ``root``."""
    # The instance as `headwater dev` makes it.
    with patch.dict(os.environ, {"DAGSTER_HOME": ""}):
        directory = dagster_home(Settings.load(root=str(root), home=root / "home"))
    return {
        **os.environ,
        "HEADWATER_ROOT": str(root),
        "HEADWATER_HOME": str(root / "home"),
        "HEADWATER_THREADS": "1",
        "DAGSTER_HOME": str(directory),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }


def web_log(number: int) -> dict[str, object]:
    """One line of a web log."""
    return {
        "request_id": f"r{number:06d}",
        "ts": f"2026-03-01T12:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "method": "GET",
        "path": f"/products/{number % 42}",
        "status": 500 if number % 50 == 0 else 200,
        "bytes": 1000 + number,
        "duration_ms": 12.5,
        "user_id": None if number % 3 else f"u{number}",
        "country": "DE",
        "device": {"os": "ios", "version": "17.1"},
        "referrer": None,
    }


def write_web_logs(root: Path, name: str, numbers, *, bad: int = 0) -> None:
    """A file of log lines in the landing directory, moved there whole."""
    file = root / "landing" / "web_logs" / "2026-03-01" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(web_log(number)) for number in numbers] + ["{broken"] * bad
    part = file.with_name(f".{file.name}")
    part.write_text("".join(f"{line}\n" for line in lines))
    part.rename(file)


class DagsterDev:
    """The web server and the daemon, as `dagster dev -w workspace.yaml` starts them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (root / "dagster-dev.log").open("w")
        self._process = subprocess.Popen(
            ["dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.port)],
            cwd=ROOT,
            env=environment(root),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> DagsterDev:
        self.until(lambda: self._loaded(), 120, "dagster dev to load the code location")
        return self

    def __exit__(self, *_: object) -> None:
        # To the parent alone: a signal to the group leaves its children hanging.
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def ask(self, query: str, **variables: object) -> dict:
        """Data of a GraphQL query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def until(self, condition, seconds: float, what: str):
        """Wait for something to become true, by asking again and again."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            assert self._process.poll() is None, f"dagster dev ended: {self.log()}"
            found = condition()
            if found:
                return found
            time.sleep(0.3)
        raise AssertionError(f"waited {seconds} s for {what}\n{self.log()}")

    def log(self) -> str:
        """The last of what it printed."""
        return (self.root / "dagster-dev.log").read_text()[-6000:]

    def materializations(self, asset: str) -> list[dict[str, object]]:
        """The asset's materializations as metadata, the newest first."""
        data = self.ask(
            """query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
                 assetMaterializations(limit: 20) { runId metadataEntries { label
                   ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } } } } }
            """,
            key={"path": [asset]},
        )
        found = data["assetOrError"].get("assetMaterializations", [])
        return [
            {
                "run": item["runId"],
                **{
                    entry["label"]: entry.get("intValue", entry.get("text"))
                    for entry in item["metadataEntries"]
                },
            }
            for item in found
        ]

    def check(self, asset: str) -> str | None:
        """Status of the newest evaluation of the asset's check."""
        data = self.ask(
            """query ($key: AssetKeyInput!) { assetCheckExecutions(
                 assetKey: $key, checkName: "incremental_equals_full", limit: 1) { status } }""",
            key={"path": [asset]},
        )
        found = data["assetCheckExecutions"]
        return found[0]["status"] if found else None

    def ticks(self, sensor: str) -> list[dict[str, object]]:
        """The sensor's last ticks, the newest first."""
        data = self.ask(
            """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
                 ... on Sensor { sensorState { status ticks(limit: 5) {
                   status skipReason runIds } } } } }""",
            sensor={
                "repositoryName": "__repository__",
                "repositoryLocationName": "headwater",
                "sensorName": sensor,
            },
        )
        return data["sensorOrError"]["sensorState"]["ticks"]

    def _loaded(self) -> bool:
        try:
            data = self.ask(
                """{ repositoriesOrError { ... on RepositoryConnection { nodes {
                     assetNodes { id } } } } }"""
            )
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        nodes = data["repositoriesOrError"].get("nodes", [])
        return any(node["assetNodes"] for node in nodes)
