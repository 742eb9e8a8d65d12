"""The demo's act on change data: a database's changes keep a copy right, and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from orchestration.cli.verify import show_verification
from orchestration.runtime.contents import table_rows
from orchestration.runtime.twin import reprocess
from orchestration.runtime.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestration.cli.demo_stage import Stage
    from orchestration.cli.shop_changes import ShopChanges
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.summary import RunSummary

__all__ = ["play_changes"]

_SHOWN = 4  # rows of one customer's history


def play_changes(
    stage: Stage,
    now: StreamingQuery,
    past: StreamingQuery,
    *,
    run: Callable[[str], RunSummary],
    land: Callable[[range, bool], ShopChanges],
) -> None:
    """A shop's customers as they are, and as they were.

    Args:
        stage: Where it is played.
        now, past: Queries that keep the customers (SCD type 1) and their history (type 2).
        run: Runs a query, and shows its batches.
        land: Lets some hours of changes land, with all that was held back or without.

    Raises:
        BrokenPromiseError: Something is not as it must be.
    """
    title = "A database's changes: Debezium files, some events late, some twice"
    stage.title(title, f"headwater run {now.name}")
    land(range(3), False)
    run(now.name)
    written = land(range(3, 4), True)
    run(now.name)
    run(past.name)
    stage.title("Is the copy the database?", f"headwater verify {now.name}")
    rows = table_rows(now.settings.tables_uri(now.sink.table))
    names = [name for name in next(iter(written.customers.values())) if name != "seen_at"]
    held = {row["id"]: {name: row[name] for name in names} for row in rows}
    truth = {key: {n: row[n] for n in names} for key, row in written.customers.items()}
    stage.expect(held == truth, "the copy holds what the database holds")
    stage.console.print(f"  {len(rows)} customers in the database, the same {len(rows)} here")
    for query in (now, past):
        with query.open() as session:
            full = reprocess(session)
            result = verify(session)
        show_verification(stage.console, query.name, full, result)
        stage.expect(result.passed, f"{query.name} equals its full reprocess")
    _history(stage, past)


def _history(stage: Stage, query: StreamingQuery) -> None:
    """Show what is known of one customer who moved about."""
    rows = table_rows(query.settings.tables_uri(query.sink.table))
    states: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: str(row["__start_at"])):
        states.setdefault(row["id"], []).append(row)
    moved = [
        number
        for number, found in states.items()
        if 2 < len(found) <= _SHOWN and len({row["city"] for row in found}) > 2
    ]
    if not moved:
        return
    shown = Table(title=f"Customer {moved[0]} in {query.name}", title_justify="left")
    for name in ("name", "city", "from change", "until change"):
        shown.add_column(name)
    for row in states[moved[0]]:
        until = "holds still" if row["__end_at"] is None else _short(row["__end_at"])
        shown.add_row(row["name"], row["city"], _short(row["__start_at"]), until)
    stage.console.print(shown)


def _short(sequence: str) -> str:
    """The LSN in a sequence, for people; a snapshot's is called that."""
    first, _, lsn, *_ = sequence.split("/")
    return "snapshot" if first == "0" else f"LSN {int(lsn):,}"
