"""How long an idle poll takes over a directory of files that were all seen before.

    python benchmarks/discovery.py [--files 100000]

An idle poll looks at every file (name, size, modification time) and compares it with the ledger,
which is in memory here; reading it from the cursor store is measured elsewhere.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.clock import SystemClock
from orchestration.config import Settings
from orchestration.sources.files import files

if TYPE_CHECKING:
    from orchestration.cursors.records import FileEntry

__all__ = ["main"]


class Ledger:
    """What was planned, as a source sees it."""

    def __init__(self) -> None:
        self.offset: dict[str, Any] = {}
        self.listing: dict[str, Any] = {}
        self.known: dict[str, FileEntry] = {}

    def seen(self) -> dict[str, FileEntry]:
        """Every file planned so far."""
        return self.known


def main() -> None:
    """Make the files, plan them all, and poll again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as scratch:
        landing = Path(scratch) / "landing"
        landing.mkdir()
        for number in range(count):
            (landing / f"part-{number:08d}.json").write_bytes(b"{}\n")
        settings, clock = (
            Settings.load(root=Path(scratch), home=Path(scratch) / "home"),
            SystemClock(),
        )
        source, ledger = files("landing", "json", {"v": "BIGINT"}), Ledger()
        started = time.perf_counter()
        backlog = source.poll(ledger, clock=clock, settings=settings)
        print(f"first poll of {count:,} files: {time.perf_counter() - started:.3f} s")
        started = time.perf_counter()
        batches = 0
        while not backlog.empty:
            part, backlog = source.take(backlog, source.limits, settings=settings)
            ledger.known.update({entry.path: entry for entry in part.files})
            ledger.offset = part.end
            batches += 1
        print(f"cut into {batches} batches: {time.perf_counter() - started:.3f} s")
        times = []
        for _ in range(5):
            started = time.perf_counter()
            again = source.poll(ledger, clock=clock, settings=settings)
            times.append(time.perf_counter() - started)
            if not again.empty or again.seen != count:
                raise SystemExit("an idle poll found something")
        shown = ", ".join(f"{seconds:.3f}" for seconds in times)
        print(f"idle polls of {count:,} files: {shown} s")


if __name__ == "__main__":
    main()
