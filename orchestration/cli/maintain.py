"""``headwater maintain``: tables kept small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, pass_context
from orchestration.cli.words import duration, size
from orchestration.errors import HeadwaterError
from orchestration.redaction import redact
from orchestration.runtime.maintenance import RETENTION
from orchestration.runtime.maintenance import maintain as maintain_tables
from orchestration.streams.durations import parse_duration

if TYPE_CHECKING:
    from rich.console import Console

    from orchestration.runtime.maintained import Maintenance, TableMaintenance

__all__ = ["maintain", "show_maintenance"]


@click.command()
@click.argument("name", metavar="NAME", required=False)
@click.option("--all", "everything", is_flag=True, help="Every query of the module.")
@click.option(
    "--retention",
    default=f"{RETENTION.days} days",
    show_default=True,
    metavar="DURATION",
    help="What was current in this time stays readable, file by file; a day at least.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
@pass_context
def maintain(
    context: Context,
    name: str | None,
    retention: str,
    *,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Keep the tables of NAME small and quick: table, quarantine, late rows and twin.

    Small files are packed into few, a checkpoint is written, and log entries and files are
    deleted that no version of the last days is made of. Rows stay as they are; streams that
    follow the table see nothing of it. Run it between batches: it takes the query's lease.
    """
    if (name is None) is not everything:
        raise click.UsageError("Say which query, or --all.")
    keep = parse_duration(retention)
    queries = list(context.queries.values()) if name is None else [context.query(name)]
    console = context.console(as_json=as_json)
    done: list[Maintenance] = []
    failed: list[HeadwaterError] = []
    for query in queries:
        try:
            with query.open() as session, console.status(f"{query.name}: maintaining …"):
                done.append(maintain_tables(session, retention=keep, dry_run=dry_run))
        except HeadwaterError as error:
            if not everything:
                raise
            failed.append(error)
            console.print(f"{query.name}: {redact(str(error))}", style="red")
            continue
        if not as_json:
            show_maintenance(console, done[-1])
    if as_json:
        context.emit([item.to_json() for item in done] if everything else done[0].to_json())
    if failed:  # the others are done; the exit code says what kind of failure it was
        raise failed[0]


def show_maintenance(console: Console, done: Maintenance) -> None:
    """Say what was done to each table, and what was left undone."""
    would = "would be " if done.dry_run else ""
    if not done.tables:
        why = "; ".join(done.notes) or "it has no table yet"
        console.print(f"{done.query}: nothing to maintain: {why}")
        return
    if not done.changed:
        console.print(f"{done.query}: nothing to do, its tables are small already")
    else:
        console.print(
            f"{done.query}: {would}maintained"
            + ("" if done.dry_run else f" in {duration(done.seconds)}"),
            style="bold green",
        )
    console.print(_numbers(done))
    for table in done.tables:
        for note in table.notes:
            console.print(f"  note: {table.role}: {note}", style="yellow")
    for note in done.notes:
        console.print(f"  note: {note}", style="yellow")


def _numbers(done: Maintenance) -> Table:
    table = Table(box=None, header_style="dim")
    table.add_column("table")
    table.add_column("files", justify="right")
    table.add_column("bytes", justify="right")
    for title in ("packed", "deleted", "old log", "checkpoint"):
        table.add_column(title, justify="right")
    for item in done.tables:
        table.add_row(item.role, *_cells(item, dry_run=done.dry_run))
    return table


def _cells(item: TableMaintenance, *, dry_run: bool) -> tuple[str, ...]:
    stored = size(item.bytes_before)
    if not dry_run and item.bytes_after != item.bytes_before:
        stored += f" → {size(item.bytes_after)}"
    files = f"{item.files_before:,}"
    if item.files_after != item.files_before:
        files += f" → {item.files_after:,}"
    return (
        files,
        stored,
        f"{item.packed:,} → {item.packed_into:,}" if item.packed else "-",
        f"{item.deleted:,} ({size(item.deleted_bytes)})" if item.deleted else "-",
        f"{item.log_deleted:,} ({size(item.log_deleted_bytes)})" if item.log_deleted else "-",
        "-" if item.checkpoint is None else f"{item.checkpoint:,}",
    )
