"""Pipelines that follow pgbench's four tables: current state of all, history of three.

    python -m benchmarks.pgbench_copies HOME [--once]

Runs them over and over until it is killed; ``--once`` until nothing is left. The server is that of
the environment variable ``PGBENCH_DSN``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration import delta, delta_sink, scd1_sink, scd2_sink, stream
from orchestration.config import Settings
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.postgres import changes, postgres

if TYPE_CHECKING:
    from orchestration.sources.postgres.source import PostgresSource

__all__ = ["KEYS", "LOG", "SCHEMAS", "SLOT", "queries", "source"]

LOG, SLOT = "pgbench_changes", "headwater_pgbench"
SCHEMAS = {
    "accounts": {"aid": "INTEGER", "bid": "INTEGER", "abalance": "INTEGER", "filler": "VARCHAR"},
    "branches": {"bid": "INTEGER", "bbalance": "INTEGER", "filler": "VARCHAR"},
    "tellers": {"tid": "INTEGER", "bid": "INTEGER", "tbalance": "INTEGER", "filler": "VARCHAR"},
    "history": {
        "hid": "BIGINT",
        "tid": "INTEGER",
        "bid": "INTEGER",
        "aid": "INTEGER",
        "delta": "INTEGER",
        "mtime": "TIMESTAMPTZ",
        "filler": "VARCHAR",
    },
}
KEYS = {"accounts": "aid", "branches": "bid", "tellers": "tid", "history": "hid"}


def source(chunk_rows: int = 20_000) -> PostgresSource:
    """The four tables."""
    tables = [f"public.pgbench_{name}" for name in SCHEMAS]
    return postgres("env:PGBENCH_DSN", tables, SLOT, SLOT, chunk_rows=chunk_rows, max_rows=100_000)


def queries(home: Path) -> list[StreamingQuery]:
    """The change log, and what reads it."""
    settings = Settings.load(home=home)

    def query(name: str, rows: object, sink: object) -> StreamingQuery:
        return StreamingQuery(name, rows, sink=sink, settings=settings)  # type: ignore[arg-type]

    found = [query(LOG, stream(source()), delta_sink(LOG))]
    for name, schema in SCHEMAS.items():
        rows = changes(delta(LOG), f"public.pgbench_{name}", schema)
        found.append(query(name, rows, scd1_sink(name, keys=KEYS[name])))
        if name != "history":
            history = f"{name}_history"
            found.append(query(history, rows, scd2_sink(history, keys=KEYS[name])))
    return found


def main() -> None:
    """Run them."""
    home = Path(sys.argv[1])
    while True:
        done = [batch for query in queries(home) for batch in query.run()]
        if "--once" in sys.argv and not done:
            return


if __name__ == "__main__":
    main()
