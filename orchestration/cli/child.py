"""The process that ``headwater prove`` and ``headwater demo`` kill. Not for people.

::

    python -m orchestration.cli.child MODULE NAME --input DIR --home DIR --max-files N
    python -m orchestration.cli.child MODULE NAME --max-files N

With ``--input`` the query runs on that copy of its input, in that home; without, as declared.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from orchestration.clock import SystemClock
from orchestration.errors import HeadwaterError
from orchestration.redaction import redact
from orchestration.runtime.declared import choose, find_queries
from orchestration.runtime.scratch import in_scratch
from orchestration.runtime.triggers import available_now
from orchestration.runtime.victim import READY

__all__ = ["command", "main"]


def command(module: str, name: str) -> list[str]:
    """What starts this for one query."""
    return [sys.executable, "-m", "orchestration.cli.child", module, name]


def main() -> int:
    """Run one query to its end, or to its death."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("name")
    parser.add_argument("--input", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--max-files", type=int)
    given = parser.parse_args()
    clock = SystemClock()
    try:
        query = choose(find_queries(given.module), given.name, given.module)
        if given.input is not None:
            query = in_scratch(query, given.input, given.home)
        _load_all()
        _say(READY)
        started = clock.monotonic()
        summary = query.execute(available_now(max_files=given.max_files), clock=clock)
    except HeadwaterError as error:
        sys.stderr.write(redact(f"{type(error).__name__}: {error}\n"))
        return 1
    seconds = round(clock.monotonic() - started, 6)
    _say(json.dumps({"batches": len(summary.batches), "seconds": seconds}))
    return 0


def _load_all() -> None:
    """Load what a run loads lazily, so that the time from ready on is the query's own."""
    import deltalake
    import duckdb
    import sqlalchemy

    del deltalake, duckdb, sqlalchemy


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
