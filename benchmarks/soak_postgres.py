"""pgbench writes, pipelines copy, and are killed every few seconds; at the end all is the same.

    python -m benchmarks.soak_postgres [--seconds 120] [--clients 4] [--seed N]

A real PostgreSQL server (from ``.[dev]``) runs TPC-B while one process copies its four tables,
current state and history, and is killed with SIGKILL every few seconds. When pgbench is done the
rest is copied. Then every table has to equal its source row for row, the history has to be the one
that the change log tells, and the slot must hold next to nothing back.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from benchmarks.measuring import clean_environment
from benchmarks.pgbench_copies import KEYS, LOG, SCHEMAS, SLOT
from orchestration.cli.private_postgres import PrivatePostgres, private_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Outcome", "soak"]

_PAUSE = (2.0, 6.0)  # seconds between two kills
_NEARLY_NOTHING = 1024 * 1024  # bytes of log: the server's own records


@dataclass(slots=True)
class Outcome:
    """What the soak came to.

    Attributes:
        kills: Times the copying process was killed.
        transactions: That pgbench committed.
        changes: Rows of the change log.
        lag: Bytes of log that the slot has not confirmed.
        wrong: What is not as it should be.
    """

    kills: int = 0
    transactions: int = 0
    changes: int = 0
    lag: int = 0
    wrong: list[str] = field(default_factory=list)


def soak(home: Path, server: PrivatePostgres, seconds: float, clients: int, seed: int) -> Outcome:
    """Write, copy and kill for so long; then copy the rest and compare."""
    import psycopg

    chance, outcome = random.Random(seed), Outcome()
    environment = clean_environment(home, PGBENCH_DSN=server.url)
    pgbench = [str(server.tool("pgbench")), server.url]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*pgbench, "-i", "-q", "-s", "1"], check=True, **quiet)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE pgbench_history ADD COLUMN hid bigserial PRIMARY KEY")
        writing = subprocess.Popen(
            [*pgbench, "-n", "-c", str(clients), "-j", "2", "-T", str(int(seconds))], **quiet
        )
        while writing.poll() is None:
            copying = _copy(home, environment)
            try:
                writing.wait(chance.uniform(*_PAUSE))
            except subprocess.TimeoutExpired:
                outcome.kills += 1
            copying.kill()
            copying.wait()
        code = _copy(home, environment, "--once").wait()
        if code:
            outcome.wrong.append(f"the last run ended with {code}")
        row = connection.execute("SELECT count(*) FROM pgbench_history").fetchone()
        outcome.transactions = row[0] if row else 0
        row = connection.execute(
            "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots "
            "WHERE slot_name = %s",
            (SLOT,),
        ).fetchone()
        outcome.lag = int(row[0]) if row else -1
        _compare(home / "tables", connection, outcome)
    return outcome


def _copy(home: Path, environment: Mapping[str, str], *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.pgbench_copies", str(home), *more]
    log = (home / "copying.log").open("ab")
    with log:
        return subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log)


def _compare(tables: Path, connection: Any, outcome: Outcome) -> None:
    log = pl.read_delta(str(tables / LOG))
    outcome.changes = log.height
    twice = (
        log.filter(pl.col("_op") != "read").height
        - log.filter(pl.col("_op") != "read")["_sequence"].n_unique()
    )
    if twice:
        outcome.wrong.append(f"{twice} changes are in the log twice")
    if not 0 <= outcome.lag < _NEARLY_NOTHING:
        outcome.wrong.append(f"the slot lags {outcome.lag} bytes behind")
    for name, schema in SCHEMAS.items():
        key, columns = KEYS[name], list(schema)
        listed = ", ".join(
            f"{item} AT TIME ZONE 'UTC'" if item == "mtime" else item for item in columns
        )
        rows = connection.execute(f"SELECT {listed} FROM pgbench_{name} ORDER BY {key}").fetchall()
        copy = pl.read_delta(str(tables / name)).sort(key)
        if copy.select(columns).rows() != rows:
            outcome.wrong.append(f"{name}: {copy.height} rows, {len(rows)} at the source")
        if name != "history":
            _check_history(tables, name, log, copy, outcome)


def _check_history(
    tables: Path, name: str, log: pl.DataFrame, copy: pl.DataFrame, outcome: Outcome
) -> None:
    """One interval for each change of a key, each beginning where the one before ends."""
    key, columns = KEYS[name], list(SCHEMAS[name])
    history = pl.read_delta(str(tables / f"{name}_history")).sort(key, "__start_at")
    ends = history["__end_at"].shift(-0)
    starts = history["__start_at"].shift(-1)
    same = history[key] == history[key].shift(-1)
    gaps = history.filter(
        (same & (ends != starts).fill_null(value=True)).fill_null(value=False)
    ).height
    still_open = history.filter(pl.col("__end_at").is_null())
    dangling = history.filter(
        (~same.fill_null(value=False)) & history["__end_at"].is_not_null()
    ).height
    if gaps or dangling:
        outcome.wrong.append(f"{name}_history: {gaps} gaps, {dangling} without a row that holds")
    if still_open.select(columns).rows() != copy.select(columns).rows():
        outcome.wrong.append(f"{name}_history: what holds now is not the current state")
    told = (
        log.filter((pl.col("_table") == f"public.pgbench_{name}") & (pl.col("_op") != "schema"))
        .with_columns(pl.col("after").str.json_path_match(f"$.{key}").cast(pl.Int64).alias(key))
        .sort("_sequence", "_op")
        .with_columns(
            (pl.col("after") != pl.col("after").shift(1).over(key))
            .fill_null(value=True)
            .alias("new")
        )
        .filter("new")
        .height
    )
    if told != history.height:
        outcome.wrong.append(f"{name}_history: {history.height} rows, and {told} changes")


def main() -> None:
    """Run the soak and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, private_postgres() as server:
        found = soak(Path(name), server, given.seconds, given.clients, given.seed)
        if found.wrong:
            print((Path(name) / "copying.log").read_text(encoding="utf-8")[-3000:])
    print(
        f"pgbench: {found.transactions:,} transactions, {found.changes:,} rows in the change log, "
        f"{found.kills} kills, slot {found.lag:,} bytes behind (seed {given.seed})"
    )
    print("\n".join(found.wrong) or "every table equals its source, and history has every change")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
