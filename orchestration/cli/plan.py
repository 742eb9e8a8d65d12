"""``headwater plan``: what the next batches would read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.trigger import trigger_option
from orchestration.cli.words import at, count, nothing_new, size
from orchestration.clock import SystemClock
from orchestration.redaction import redact
from orchestration.runtime.preview import Preview, preview

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from orchestration.cli.plan_event_time import PlannedEventTime
    from orchestration.runtime.session import Session
    from orchestration.runtime.triggers import Trigger

__all__ = ["plan", "show_preview"]

_SHOWN = 20


@click.command()
@name_argument
@trigger_option
@json_option
@pass_context
def plan(context: Context, name: str, trigger: Trigger | None, *, as_json: bool) -> None:
    """Show what the next batches of NAME would read. Reads no data, writes nothing."""
    query = context.query(name)
    clock = SystemClock()
    with query.open(clock=clock) as session:
        found = preview(session, trigger)
        timed = None if query.is_plain else _planned_event_time(session)
        if as_json:
            event_time = None if timed is None else timed.to_json()
            context.emit({"query": name, **found.to_json(), "event_time": event_time})
            return
        last = session.store.batches.last(found.generation) if found.generation else None
    console = context.console()
    console.print(f"{name} reads {redact(query.reads)}", style="bold")
    moment = last.plan.timestamp if last else None
    if timed is not None:
        from orchestration.cli.plan_event_time import show_event_time

        show_event_time(console, timed)
    show_preview(console, found, name, moment, clock.now())


def show_preview(
    console: Console, found: Preview, name: str, last_at: datetime | None, now: datetime
) -> None:
    """Say which batches come next, or that nothing does."""
    for note in found.backlog.notes:
        console.print(f"  note: {note}", style="yellow")
    left = found.unfinished
    if left is not None:
        files = sum(len(part.files) for part in left.plan.slices)
        state = "is blocked" if left.blocked else "was left unfinished and comes first"
        console.print(f"Batch {left.plan.batch_id} ({count(files, 'file')}) {state}.")
        if left.blocked:
            console.print(
                f"  {left.last_error}\n  → 'headwater retry {name}', or "
                f"'headwater skip {name} --to-quarantine'"
            )
    if not found.backlog.exists:
        console.print("Nothing to read: the place does not exist yet.")
        return
    if not found.batches:
        last = found.next_batch_id - 1 if found.next_batch_id else None
        console.print(_capital(nothing_new(found.backlog.seen, last, last_at, now)) + ".")
        return
    backlog = found.backlog
    more = "or more" if not found.left.empty else ""
    what = f"{size(backlog.bytes)} behind"
    if backlog.files:
        what = f"{count(len(backlog.files), 'new file')} ({size(backlog.bytes)}) of "
        what += f"{backlog.seen:,} known"
    batches = count(len(found.batches), "batch", "batches")
    console.print(f"{what}: {batches} {more}".rstrip())
    console.print(_table(found, now))
    hidden = len(found.batches) - _SHOWN
    if hidden > 0:
        console.print(f"  … and {count(hidden, 'more batch', 'more batches')}")
    console.print(f"Nothing was written. Next: headwater run {name}")


def _planned_event_time(session: Session) -> PlannedEventTime | None:
    # Here, so that plans of other queries do not pay for it.
    from orchestration.cli.plan_event_time import planned_event_time

    return planned_event_time(session)


def _table(found: Preview, now: datetime) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("batch", "files", "size", "offsets"):
        table.add_column(heading, justify="right")
    table.add_column("oldest file")
    table.add_column("first file")
    for number, batch in enumerate(found.batches[:_SHOWN], start=found.next_batch_id):
        for part in (item for item in batch if item.start != item.end):
            oldest = min((item.modified for item in part.files), default=None)
            offsets = f"{_offset(part.start)} to {_offset(part.end)}"
            table.add_row(
                str(number),
                f"{len(part.files):,}",
                size(part.bytes),
                offsets if len(batch) == 1 else f"{part.source} {offsets}",
                at(oldest, now),
                part.files[0].path if part.files else "",
            )
    return table


def _offset(offset: dict[str, object]) -> str:
    """An offset of one number as that number; of a Delta table as version and file."""
    if "version" in offset and "table" in offset:
        snapshot = ", as it is" if offset.get("snapshot") else ""
        return f"v{offset['version']}/{offset.get('file', 0)}{snapshot}"
    if "lsn" in offset:
        return str(offset["lsn"])  # what it is a place of does not change from batch to batch
    values = list(offset.values())
    return str(values[0]) if len(values) == 1 else str(offset or 0)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
