"""A query in a process of its own, to be killed."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.errors import HeadwaterError
from orchestration.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["READY", "Finished", "Victim"]

#: What the process prints once it is loaded and about to run the query.
READY = "ready"

_TAIL = 600


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that came to its end: batches it committed, and seconds from ``ready``."""

    batches: int
    seconds: float


class Victim:
    """Starts one query in another process, on one copy of its input.

    Args:
        command: What starts it; ``--home`` is appended. It prints :data:`READY`, then, when it
            is done, one line of JSON with ``batches`` and ``seconds``.
        environment: Its environment.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)

    def finish(self, home: Path) -> Finished:
        """Run until nothing is left.

        Raises:
            HeadwaterError: It failed; with what it said.
        """
        with self._started(home, {}) as process:
            lines = _lines(process)
        self._check(process, home)
        done = json.loads(lines[-1])
        return Finished(int(done["batches"]), float(done["seconds"]))

    def die_at(self, home: Path, point: str, nth: int) -> bool:
        """Run until a crash point is reached for the ``nth`` time; false if it never was."""
        with self._started(home, {"HEADWATER_CRASH_AT": f"{point}@{nth}"}) as process:
            _lines(process)
        return self._died(process, home)

    def die_after(self, home: Path, seconds: float) -> bool:
        """Kill it so many seconds after it began; false if it was done by then."""
        with self._started(home, {}) as process:
            if process.stdout is not None:
                process.stdout.readline()
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
            _lines(process)
        return self._died(process, home)

    @contextmanager
    def _started(self, home: Path, more: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        home.mkdir(parents=True, exist_ok=True)
        with (
            (home / "stderr.txt").open("w", encoding="utf-8") as errors,
            subprocess.Popen(
                [*self._command, "--home", str(home)],
                env={**self._environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:  # we are interrupted: it must not go on alone
                    process.kill()

    def _died(self, process: subprocess.Popen[str], home: Path) -> bool:
        if process.returncode == -signal.SIGKILL:
            return True
        self._check(process, home)
        return False

    @staticmethod
    def _check(process: subprocess.Popen[str], home: Path) -> None:
        if process.returncode == 0:
            return
        said = (home / "stderr.txt").read_text(encoding="utf-8", errors="replace").strip()
        raise HeadwaterError(
            f"the run in its own process ended with {process.returncode}: "
            f"{redact(said[-_TAIL:]) or 'it said nothing'}",
            remedy="see whether the query runs at all: headwater run",
        )


def _lines(process: subprocess.Popen[str]) -> list[str]:
    """Everything it prints until it ends."""
    text = process.stdout.read() if process.stdout else ""
    process.wait()
    return text.split("\n")[:-1] or [""]
