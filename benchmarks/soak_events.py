"""Kill the queries by event time again and again while files keep coming; each must equal its twin.

    python -m benchmarks.soak_events [--kills 30] [--query NAME ...] [--s3 --postgres] [--seed N]

Every query of ``assets/`` that keeps state is killed with SIGKILL at random moments of its
batches, over directories that keep receiving files, some of them so late that their windows are
closed. At the end what is left is read, everything is reprocessed by the same query from nothing,
and the two tables are compared row for row: windows, late rows, sessions, sums, joined pairs.

With ``--s3`` tables and state lie in a real object store (SeaweedFS), with ``--postgres`` cursors
in a real PostgreSQL; both come with ``.[dev]``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import clean_environment
from orchestration.cli.child import command
from orchestration.cli.shop_events import write_shop_files
from orchestration.cli.web_logs import write_log_files
from orchestration.runtime.victim import READY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["QUERIES", "Outcome", "soak_query"]

#: Query to what its files are made by.
QUERIES = {
    "page_views_5m": "web_logs",
    "visits": "web_logs",
    "top_pages": "web_logs",
    "customer_totals": "shop",
    "payments_once": "shop",
    "ad_clicks": "shop",
}

_BACKLOG = 6  # files that are there before the first run
_MAX_FILES = 2  # a batch
_HELD_BACK = 0.15  # of the files come later than their turn
_LINES, _ORDERS = 120, 40


@dataclass(slots=True)
class Outcome:
    """What the soak of one query came to.

    Attributes:
        query: Its name.
        kills: Runs that were killed in the middle of their work.
        finished: Runs that were done before the kill came.
        files: Files written.
        rows: Rows of the table, equal to the twin's where ``same``.
        late: Rows in its late table.
        same: Whether every row is in both tables.
        verdict: What ``headwater verify`` says.
    """

    query: str
    kills: int = 0
    finished: int = 0
    files: int = 0
    rows: int = 0
    late: int = 0
    same: bool = False
    verdict: dict[str, Any] = field(default_factory=dict, repr=False)


class _Writer(threading.Thread):
    """Lets a file land every now and then, in order but for those that are held back."""

    def __init__(self, landing: Path, kind: str, chance: random.Random) -> None:
        super().__init__(name="writer", daemon=True)
        self._landing, self._kind, self._chance = landing, kind, chance
        self._next = 0
        self._held: list[tuple[int, int]] = []  # when it is to land, and its number
        self.stop = threading.Event()
        self.files = 0

    def run(self) -> None:
        while not self.stop.wait(self._chance.uniform(0.1, 0.8)):
            self.drop()

    def drop(self) -> None:
        """One more."""
        number, self._next = self._next, self._next + 1
        if self._chance.random() < _HELD_BACK:
            self._held.append((number + self._chance.randint(2, 40), number))
        else:
            self._write(number)
        for item in [item for item in self._held if item[0] <= number]:
            self._held.remove(item)
            self._write(item[1])

    def _write(self, number: int) -> None:
        if self._kind == "shop":
            self.files += write_shop_files(self._landing, range(number, number + 1), _ORDERS).files
        else:
            directory = self._landing / "web_logs"
            self.files += write_log_files(directory, range(number, number + 1), _LINES).files


def soak_query(
    home: Path, name: str, kills: int, seed: int, environment: Mapping[str, str]
) -> Outcome:
    """Kill so many runs of a query of ``assets``, let one finish, and hold it against its twin.

    Args:
        home: An empty directory for landing files and everything else that is local.
        name: One of :data:`QUERIES`.
        kills: Runs to kill.
        seed: Decides what lands when, and the moments.
        environment: Where tables, state and cursors are, if not in ``home``.

    Raises:
        RuntimeError: A run failed by itself.
    """
    chance = random.Random(seed)
    home.mkdir(parents=True, exist_ok=True)
    (home / "pyproject.toml").write_text("", encoding="utf-8")
    child = clean_environment(home, HEADWATER_HOME=str(home / "home"), **environment)
    writer = _Writer(home / "landing", QUERIES[name], random.Random(seed + 1))
    for _ in range(_BACKLOG):
        writer.drop()
    result = Outcome(name)
    usual = _run(home, name, child, None)
    writer.start()
    try:
        while result.kills < kills:
            writer.drop()
            took = _run(home, name, child, chance.uniform(0, 1.3) * (usual or 0))
            result.kills += took is None
            result.finished += took is not None
            usual = took if took is not None else usual
    finally:
        writer.stop.set()
        writer.join()
    _run(home, name, child, None)
    result.files = writer.files
    result.verdict = _asked(home, child, "verify", name)
    result.late = int(_asked(home, child, "late", name)["total"])
    result.rows = int(result.verdict["incremental_rows"])
    result.same = result.verdict["outcome"] == "identical" and result.rows > 0
    return result


def _run(home: Path, name: str, environment: dict[str, str], after: float | None) -> float | None:
    """Run once; kill it so many seconds after it was loaded. Its seconds; ``None`` when killed."""
    process = subprocess.Popen(
        [*command("assets", name), "--max-files", str(_MAX_FILES)],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.stdout is None or process.stdout.readline().strip() != READY:
        raise RuntimeError(f"{name} did not start:\n{process.communicate()[1]}")
    started = time.perf_counter()
    try:
        _, errors = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode:
        raise RuntimeError(f"a run of {name} ended with {process.returncode}:\n{errors}")
    return time.perf_counter() - started


def _asked(home: Path, environment: dict[str, str], verb: str, name: str) -> dict[str, Any]:
    """What a command of ``headwater`` says, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "-m", "assets", verb, name, "--json"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        value: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"headwater {verb} {name}:\n{done.stdout}{done.stderr}") from None
    return value


@contextmanager
def servers(root: Path, *, s3: bool, postgres: bool) -> Iterator[Iterator[dict[str, str]]]:
    """Start them; gives an environment with places of its own each time it is asked."""
    from tests.support.postgres import postgres_database, postgres_server
    from tests.support.s3 import Bucket, s3_server_running

    with ExitStack() as stack:
        server = None
        if s3:
            (root / "s3").mkdir(parents=True)
            server = stack.enter_context(s3_server_running(root / "s3"))
        url = stack.enter_context(postgres_server()) if postgres else None

        def environments() -> Iterator[dict[str, str]]:
            number = 0
            while True:
                number += 1
                found: dict[str, str] = {}
                if server is not None:
                    bucket = Bucket(server, f"soak-{number}")
                    bucket.client.create_bucket(Bucket=bucket.name)
                    found |= server.environment()
                    found["HEADWATER_TABLES"] = f"{bucket.uri}/tables"
                    found["HEADWATER_STATE"] = f"{bucket.uri}/state"
                if url is not None:
                    found["HEADWATER_CURSORS"] = stack.enter_context(postgres_database(url))
                yield found

        yield environments()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--query", choices=QUERIES, nargs="+", default=list(QUERIES))
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    where = ("S3" if given.s3 else "local disk", "PostgreSQL" if given.postgres else "SQLite")
    print(f"soak by event time: {given.kills} kills each, {' and '.join(where)}, seed {given.seed}")
    passed = True
    with tempfile.TemporaryDirectory(prefix="headwater-soak-") as name, ExitStack() as stack:
        root = Path(name)
        environments = stack.enter_context(servers(root, s3=given.s3, postgres=given.postgres))
        for query in given.query:
            result = soak_query(root / query, query, given.kills, given.seed, next(environments))
            passed &= result.same
            print(
                f"  {query:16} {result.kills} killed, {result.finished} done before; "
                f"{result.files} files, {result.rows:,} rows, {result.late:,} late: "
                f"{'equals its twin' if result.same else 'DIFFERENT'}",
                flush=True,
            )
            if not result.same:
                print(json.dumps(result.verdict, indent=2, default=str))
    print("soak by event time: every query equals its twin" if passed else "WRONG")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
