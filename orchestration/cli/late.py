"""``headwater late``: rows that came after their window had closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import moment, span
from orchestration.cli.words import count, shorten
from orchestration.redaction import redact
from orchestration.runtime.late_rows import LateRows, late_rows

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["late", "show_late"]

# What stands before the row itself in a line, and what is shown of it at least and at most.
_BESIDE, _LEAST, _MOST = 62, 16, 110


@click.command()
@name_argument
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="Rows to show, the newest first.",
)
@json_option
@pass_context
def late(context: Context, name: str, limit: int, *, as_json: bool) -> None:
    """Show the rows that came too late for NAME: for which operator, by how much, and the row.

    A row is late when the watermark had passed the end of its window (or, without a window, its
    own time) before its batch began.
    """
    with context.query(name).open() as session:
        found = late_rows(session, limit)
    if as_json:
        context.emit(
            {
                "query": name,
                "table": redact(found.uri),
                "on_late": "table" if found.kept else "drop",
                "total": found.total,
                "dropped": found.dropped,
                "operators": [
                    {
                        "operator": item.id,
                        "rows": item.rows,
                        "mean_seconds": item.mean_seconds,
                        "most_seconds": item.most_seconds,
                    }
                    for item in found.operators
                ],
                "rows": list(found.newest),
            }
        )
        return
    show_late(context.console(), name, found)


def show_late(console: Console, name: str, found: LateRows) -> None:
    """Say how many rows were late and by how much, and show the newest."""
    if not found.total:
        if found.dropped:
            console.print(
                f"{count(found.dropped, 'row')} of {name} came too late and "
                f"{'was' if found.dropped == 1 else 'were'} dropped, as on_late says. "
                'delta_sink(…, on_late="table") keeps them.'
            )
            return
        console.print(f"No row came too late for {name}.")
        return
    console.print(f"{count(found.total, 'late row')} in {redact(found.uri)}", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("rows", justify="right")
    table.add_column("operator")
    table.add_column("too late by, on average")
    table.add_column("at most")
    for item in found.operators:
        table.add_row(f"{item.rows:,}", item.id, span(item.mean_seconds), span(item.most_seconds))
    console.print(table)
    if found.newest:
        console.print(_rows(found, console.width))
    if found.total > len(found.newest):
        console.print(f"{count(found.total - len(found.newest), 'more row')}: --limit shows them")
    console.print(
        "They are in no result. A longer delay of with_watermark waits for such rows: "
        f"headwater watermark {name}"
    )


def _rows(found: LateRows, width: int) -> Table:
    shown = min(_MOST, max(_LEAST, width - _BESIDE))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("batch", justify="right")
    table.add_column("closed at", no_wrap=True)
    table.add_column("watermark", no_wrap=True)
    table.add_column("row", no_wrap=True)
    for row in found.newest:
        table.add_row(
            str(row["batch_id"]),
            moment(row["event_time"].isoformat()) if row["event_time"] else "-",
            moment(row["watermark"].isoformat()) if row["watermark"] else "-",
            shorten(row["row"] or "", shown),
        )
    return table
