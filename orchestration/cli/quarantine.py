"""``headwater quarantine``: what could not be read."""

from __future__ import annotations

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.words import count, shorten
from orchestration.redaction import redact
from orchestration.runtime.contents import Quarantined, quarantined

__all__ = ["quarantine", "quarantine_table", "reasons_table"]

_REASONS = 10
_RAW = 70


@click.command()
@name_argument
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="Records to show, the newest first.",
)
@json_option
@pass_context
def quarantine(context: Context, name: str, limit: int, *, as_json: bool) -> None:
    """Show the records that NAME could not read: file, line, reason, and the head of their text."""
    with context.query(name).open() as session:
        found = quarantined(session, limit)
    if as_json:
        context.emit(
            {
                "query": name,
                "table": redact(found.uri),
                "total": found.total,
                "reasons": found.reasons,
                "records": list(found.newest),
            }
        )
        return
    console = context.console()
    if not found.total:
        console.print(f"Nothing is in the quarantine of {name}.")
        return
    console.print(f"{count(found.total, 'record')} in {redact(found.uri)}", style="bold")
    console.print(reasons_table(found))
    if found.newest:
        console.print(quarantine_table(found))
    if found.total > len(found.newest):
        console.print(
            f"{count(found.total - len(found.newest), 'more record')}: --limit shows them"
        )
    console.print("The table keeps each record whole (column raw), with its file and line.")


def reasons_table(found: Quarantined) -> Table:
    """How many records there are for each reason."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("records", justify="right")
    table.add_column("reason")
    for reason, number in list(found.reasons.items())[:_REASONS]:
        table.add_row(f"{number:,}", shorten(reason, 100))
    rest = list(found.reasons.values())[_REASONS:]
    if rest:
        table.add_row(f"{sum(rest):,}", f"… {count(len(rest), 'other reason')}")
    return table


def quarantine_table(found: Quarantined) -> Table:
    """The records themselves."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("file", overflow="fold")
    table.add_column("line", justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("raw", no_wrap=True)
    for row in found.newest:
        raw = row["raw"] if row["raw"] is not None else row["raw_base64"]
        table.add_row(
            row["file"],
            "whole" if row["line"] is None else f"{row['line']:,}",
            shorten(row["reason"] or "", 60),
            shorten(raw or "", _RAW),
        )
    return table
