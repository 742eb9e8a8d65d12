"""``headwater state``: what a query keeps between its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import instant
from orchestration.cli.words import count, details, size
from orchestration.runtime.state_report import OperatorReport, StateReport, state_report
from orchestration.streams.change_resolving import CHANGES_ID

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_state", "state"]


@click.command()
@name_argument
@json_option
@pass_context
def state(context: Context, name: str, *, as_json: bool) -> None:
    """Show the state of NAME: rows, bytes, files and oldest event time of each operator."""
    with context.query(name).open() as session:
        found = state_report(session)
    if as_json:
        context.emit({"query": name, "state": None if found is None else found.to_json()})
        return
    show_state(context.console(), name, found)


def show_state(console: Console, name: str, found: StateReport | None) -> None:
    """Say what is kept, operator by operator."""
    if found is None:
        console.print(f"{name} keeps nothing between its batches.")
        return
    if found.batch_id is None:
        console.print(f"{name} has committed no batch yet. Next: headwater run {name}")
        return
    console.print(
        f"{name}: {count(found.rows, 'row')} of state, {size(found.bytes)}, after batch "
        f"{found.batch_id}",
        style="bold",
    )
    if found.operators:
        console.print(_table(found))
    versions = count(found.versions, "version")
    if found.versions:
        versions += f", of batches {found.oldest_version} to {found.newest_version}"
    console.print(
        details(
            [
                ("watermark", instant(found.watermark_ms * 1000 or None)),
                ("kept", versions),
                ("place", found.place),
            ]
        )
    )
    for item in found.operators:
        if item.rows and item.leaves_us is None:
            bounds = (
                "tombstone_retention" if item.id == CHANGES_ID else "a watermark on its event time"
            )
            console.print(f"→ what leaves 'never' grows with the input: {bounds} bounds it")
            break


def _leaves(item: OperatorReport) -> str:
    if item.rows and item.leaves_us is None:
        return "never"
    # What changes leave behind goes by the time of the batches, not by event time.
    return ("batches from " if item.id == CHANGES_ID and item.rows else "") + instant(
        item.leaves_us
    )


def _table(found: StateReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("operator")
    table.add_column("kind")
    for heading in ("rows", "bytes", "files"):
        table.add_column(heading, justify="right")
    table.add_column("oldest event time")
    table.add_column("first leaves at watermark")
    for item in found.operators:
        table.add_row(
            item.id,
            item.name.replace("_", " "),
            f"{item.rows:,}",
            size(item.bytes),
            f"{item.runs:,}",
            instant(item.oldest_us),
            _leaves(item),
        )
    return table
