"""What an idle run costs with 100,000 files behind it.

    python -m benchmarks.idle [--files 100000]

The files are read by real runs first. Then runs that find nothing are measured, each in a
process of its own, from the end of its start-up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["idle_seconds"]

_QUERY = """\
from orchestration import StreamingQuery, delta_sink, files, stream

many = StreamingQuery(
    "many",
    stream(files("landing", schema={"id": "BIGINT"}, recursive=True)),
    sink=delta_sink("many"),
)
"""
_PER_DIRECTORY = 1000
_RUNS = 5
_ALLOWED_SECONDS = 1.5


def idle_seconds(home: Path, files: int) -> tuple[float, list[float]]:
    """Seconds to ingest ``files`` tiny files, and seconds of each idle run afterwards."""
    for number in range(files):
        directory = home / "landing" / f"{number // _PER_DIRECTORY:04d}"
        if number % _PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / f"{number:07d}.json").write_bytes(b'{"id":%d}\n' % number)
    (home / "pyproject.toml").write_text("", encoding="utf-8")
    (home / "idling.py").write_text(_QUERY, encoding="utf-8")
    started = time.perf_counter()
    first = _run(home, 10_000)
    ingested = time.perf_counter() - started
    if not first["batches"]:
        raise RuntimeError("the first run read nothing")
    idle = [_run(home, 10_000) for _ in range(_RUNS)]
    if any(run["batches"] for run in idle):
        raise RuntimeError("an idle run found something")
    return ingested, [run["seconds"] for run in idle]


def _run(home: Path, max_files: int) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    here = [str(Path(__file__).parent.parent), environment.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "orchestration.cli.child", "idling", "many"]
    done = subprocess.run(
        [*command, "--max-files", str(max_files)],
        cwd=home,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, here))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    value: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-idle-") as home:
        ingested, idle = idle_seconds(Path(home), given.files)
    median = statistics.median(idle)
    print(f"{given.files:,} tiny files ingested in {ingested:.1f} s")
    passed = median < _ALLOWED_SECONDS
    print(
        f"idle: a run with nothing to do works {median:.2f} s after start-up, {max(idle):.2f} s at "
        f"most (less than {_ALLOWED_SECONDS} s is promised): {'good' if passed else 'TOO SLOW'}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
