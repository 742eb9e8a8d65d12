"""``headwater history``: the batches so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import event_time_of
from orchestration.cli.words import at, count, duration, size
from orchestration.clock import SystemClock
from orchestration.runtime.change_counts import ChangeCounts
from orchestration.runtime.status import history as query_history

if TYPE_CHECKING:
    from datetime import datetime

    from orchestration.runtime.progress import BatchProgress

__all__ = ["history"]

_WIDE = 110  # columns of a terminal; a narrower one shows of a timed query what matters more


@click.command()
@name_argument
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1))
@json_option
@pass_context
def history(context: Context, name: str, limit: int, *, as_json: bool) -> None:
    """List the committed batches of NAME, the newest first."""
    with context.query(name).open() as session:
        batches = query_history(session, limit)
        generation = session.store.queries.get(name)
        total = session.store.batches.count(generation) if generation else 0
    if as_json:
        context.emit([batch.to_json() for batch in batches])
        return
    console = context.console()
    if not batches:
        console.print(f"{name} has committed no batch yet. Next: headwater run {name}")
        return
    console.print(_table(batches, SystemClock().now(), narrow=console.width < _WIDE))
    if total > len(batches):
        console.print(f"{count(total, 'batch', 'batches')} in all; --limit {total} shows them")


def _table(batches: list[BatchProgress], now: datetime, *, narrow: bool) -> Table:
    about = [event_time_of(batch) for batch in batches]
    timed = any(item.stateful for item in about)
    changed = [ChangeCounts.of([batch]) for batch in batches]
    changing = any(item is not None for item in changed)
    # Changes are in the order of their sequence; few of them go by event time besides.
    waits = timed and not (changing and all(item.watermark == "-" for item in about))
    narrow = narrow and timed
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    out = ("inserted", "updated", "deleted", "ignored") if changing else ("rows out",)
    for heading in ("batch", "at", "files", "bytes", "rows in", *out, "bad", "time"):
        if not (narrow and heading in {"at", "files", "bytes", "bad"}):
            table.add_column(heading, justify="left" if heading == "at" else "right")
    if waits:
        table.add_column("watermark")
        table.add_column("late", justify="right")
    if timed:
        table.add_column("state", justify="right")
    if not narrow:
        table.add_column("version", justify="right")
    table.add_column("")
    for batch, told, counts in zip(batches, about, changed, strict=True):
        watermark = told.watermark_short if narrow else told.watermark
        table.add_row(
            str(batch.batch_id),
            *(() if narrow else (at(batch.at, now), f"{batch.files:,}", size(batch.bytes))),
            f"{batch.num_input_rows:,}",
            *_given(batch, counts, changing=changing),
            *(() if narrow else (f"{batch.quarantined_rows:,}",)),
            duration(batch.batch_duration_ms / 1000),
            *((watermark, f"{told.late:,}") if waits else ()),
            *((f"{told.state_rows:,}",) if timed else ()),
            *(() if narrow else ("-" if batch.sink.version is None else str(batch.sink.version),)),
            _mark(batch),
        )
    return table


def _given(batch: BatchProgress, counts: ChangeCounts | None, *, changing: bool) -> list[str]:
    if not changing:
        return [f"{batch.num_output_rows:,}"]
    return [f"{number:,}" for number in (counts or ChangeCounts()).to_json().values()]


def _mark(batch: BatchProgress) -> str:
    if batch.skipped:
        return "skipped"
    if batch.replayed:
        return "after a crash"
    return "no data" if batch.details.get("no_data") else ""
