"""Seconds, processor seconds and peak memory of a piece of work."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Spent", "child_peak", "clean_environment", "median_ratio", "own_peak", "spent"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a piece of work took.

    Attributes:
        wall: Seconds by the clock.
        cpu: Seconds of processor time of this process, all threads.
    """

    wall: float
    cpu: float


def spent(work: Callable[[], object]) -> Spent:
    """Do it once and measure."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of ``theirs / ours``, pair by pair: a busy machine slows both of a pair."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a child that must see this checkout and none of the user's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    here = [str(Path(__file__).parent.parent), kept.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, here))
    return {**kept, "PYTHONPATH": path, "HEADWATER_ROOT": str(home), **more}


def child_peak(arguments: Sequence[str], home: Path) -> int:
    """Most bytes of memory that ``python ARGUMENTS`` had: what :func:`own_peak` gave it to print.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return int(done.stdout.split()[-1])


def own_peak() -> int:
    """Most bytes of memory that this process has had.

    On Linux not by ``getrusage``: its number starts with what the parent had at the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
