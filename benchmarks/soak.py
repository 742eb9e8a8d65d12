"""Kill a run again and again while files keep coming, then count every row.

    python -m benchmarks.soak [--kills 50] [--seed N]

``headwater run`` is killed with SIGKILL at random moments over a directory that keeps receiving
files. At the end every valid line must be in the table exactly once, and every invalid one in the
quarantine exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from orchestration.runtime.contents import table_rows

__all__ = ["Soak", "soak"]

_QUERY = """\
from orchestration import StreamingQuery, available_now, delta_sink, files, stream

kills = StreamingQuery(
    "kills",
    stream(files("landing", schema={"id": "BIGINT", "text": "VARCHAR"})),
    sink=delta_sink("kills"),
    trigger=available_now(max_files=3),
)
"""
_COMMAND = (sys.executable, "-m", "orchestration.cli", "-m", "soaked", "run", "kills")
_LINES = 200
_FAULTS = ('{"id": 1, "text": "cut o', '{"id": "not a number", "text": "x"}', "no JSON at all")


@dataclass(slots=True)
class Soak:
    """What a soak came to.

    Attributes:
        kills: Runs that were killed.
        finished: Runs that were done before the kill came.
        files, valid, invalid: What was written.
        rows, quarantined: What the tables hold.
        lost, doubled: Valid lines that are missing, or there more than once.
        lost_invalid, doubled_invalid: The same of invalid lines in the quarantine.
    """

    kills: int = 0
    finished: int = 0
    files: int = 0
    valid: int = 0
    invalid: int = 0
    rows: int = 0
    quarantined: int = 0
    lost: int = 0
    doubled: int = 0
    lost_invalid: int = 0
    doubled_invalid: int = 0

    @property
    def passed(self) -> bool:
        """Whether everything is there exactly once."""
        wrong = self.lost + self.doubled + self.lost_invalid + self.doubled_invalid
        return not wrong and self.rows == self.valid and self.quarantined == self.invalid


class _Writer(threading.Thread):
    """Drops a file every now and then, some of them older than those before."""

    def __init__(self, landing: Path, chance: random.Random) -> None:
        super().__init__(name="writer", daemon=True)
        self._landing = landing
        self._chance = chance
        self.stop = threading.Event()
        self.ids: Counter[int] = Counter()
        self.faults: Counter[tuple[str, int]] = Counter()
        self.files = 0

    def run(self) -> None:
        while not self.stop.wait(self._chance.uniform(0.0, 0.4)):
            self.drop()

    def drop(self) -> None:
        """One more file."""
        name = f"{self._chance.randrange(10**6):06d}-{self.files:06d}.json"
        lines = []
        for number in range(1, _LINES + 1):
            if self._chance.random() < 0.01:
                lines.append(self._chance.choice(_FAULTS))
                self.faults[name, number] += 1
            else:
                key = self.files * _LINES + number
                lines.append(json.dumps({"id": key, "text": f"line {number} of {name}"}))
                self.ids[key] += 1
        partial = self._landing / f".{name}"
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if self._chance.random() < 0.3:  # late: its time is long past
            past = time.time() - self._chance.uniform(60, 86_400)
            os.utime(partial, (past, past))
        partial.rename(self._landing / name)
        self.files += 1


def soak(home: Path, kills: int, seed: int, *, say: bool = False) -> Soak:
    """Kill ``kills`` runs in ``home``, let one finish, and count.

    Raises:
        RuntimeError: A run failed by itself.
    """
    chance = random.Random(seed)
    landing = home / "landing"
    landing.mkdir(parents=True)
    (home / "pyproject.toml").write_text("", encoding="utf-8")
    (home / "soaked.py").write_text(_QUERY, encoding="utf-8")
    writer = _Writer(landing, random.Random(seed + 1))
    for _ in range(10):
        writer.drop()
    writer.start()
    result = Soak()
    try:
        startup = _run(home, None)
        if startup is None:
            raise RuntimeError("the first run was killed, and not by us")
        while result.kills < kills:
            done = _run(home, chance.uniform(0.4, 1.6) * startup)
            result.kills += done is None
            result.finished += done is not None
            if say:
                print(
                    f"  {result.kills} killed, {result.finished} done before, {writer.files} files"
                )
    finally:
        writer.stop.set()
        writer.join()
    _run(home, None)
    return _count(home, writer, result)


def _run(home: Path, after: float | None) -> float | None:
    """Run once; kill it after so many seconds. Gives its time, or ``None`` when killed."""
    started = time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    here = [str(Path(__file__).parent.parent), environment.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        _COMMAND,
        cwd=home,
        env={
            **environment,
            "HEADWATER_HOME": str(home / "home"),
            "PYTHONPATH": os.pathsep.join(filter(None, here)),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode:
        raise RuntimeError(f"headwater run ended with {process.returncode}:\n{output}")
    return time.perf_counter() - started


def _count(home: Path, writer: _Writer, result: Soak) -> Soak:
    tables = home / "home" / "tables"
    rows = Counter(row["id"] for row in table_rows(str(tables / "kills")))
    bad = Counter(
        (Path(row["file"]).name, row["line"])
        for row in table_rows(str(tables / "kills__quarantine"))
    )
    result.files, result.valid, result.invalid = (
        writer.files,
        writer.ids.total(),
        writer.faults.total(),
    )
    result.rows, result.quarantined = rows.total(), bad.total()
    result.lost, result.doubled = (writer.ids - rows).total(), (rows - writer.ids).total()
    result.lost_invalid = (writer.faults - bad).total()
    result.doubled_invalid = (bad - writer.faults).total()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    print(f"{given.kills} kills, seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="headwater-soak-") as home:
        result = soak(Path(home), given.kills, given.seed, say=True)
    print(result)
    print("every line exactly once" if result.passed else "WRONG")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
