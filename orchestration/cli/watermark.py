"""``headwater watermark``: how far event time has come, and what holds it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import delay, instant, moment, span
from orchestration.cli.words import at, count, details
from orchestration.clock import SystemClock
from orchestration.redaction import redact
from orchestration.runtime.holding import HeldBy, held_by
from orchestration.runtime.late_rows import LateRows, late_rows
from orchestration.runtime.waiting import Waiting, waiting

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from orchestration.runtime.watermark_report import WatermarkInput, WatermarkReport

__all__ = ["show_watermark", "watermark"]

_WIDE = 130  # columns of a terminal; a narrower one leaves out what follows from the rest


@click.command()
@name_argument
@json_option
@pass_context
def watermark(context: Context, name: str, *, as_json: bool) -> None:
    """Show where the watermark of NAME is, what holds it there, and what closes next.

    The watermark says how far event time has surely come: a window is given when it reaches the
    window's end, and rows for a window that it has passed are late.
    """
    with context.query(name).open() as session:
        held = waiting(session)
        late = late_rows(session, 0) if held is not None else None
        holding = held.report.holding if held is not None else None
        brought = held_by(session, holding) if holding is not None else None
    if as_json:
        found = None if held is None else {**held.report.to_json(), "waiting_for": held.sentence}
        if found is not None and late is not None:
            found |= {
                "late_rows": late.dropped,
                "latest_seconds": late.most_seconds,
                "held_by_batch": None if brought is None else brought.to_json(),
            }
        context.emit({"query": name, "watermark": found})
        return
    console = context.console()
    if held is None or late is None:
        console.print(f"{name} has no watermark: it waits for nothing, and no row is late.")
        console.print('  with_watermark("ts", "10 minutes") gives a stream one')
        return
    show_watermark(console, name, held, late, brought, SystemClock().now())


def show_watermark(
    console: Console,
    name: str,
    held: Waiting,
    late: LateRows,
    brought: HeldBy | None,
    now: datetime,
) -> None:
    """Say where event time stands, in words and by input."""
    report = held.report
    if report.batch_id is None:
        console.print(f"{name}: no batch ran yet, so there is no watermark", style="bold")
    else:
        reached = instant(report.next_watermark_ms * 1000)
        console.print(f"{name}: the watermark is {reached}", style="bold")
    said = held.said(report.output_rows_last)
    if said:
        console.print(f"  {said}")
    console.print(details(_lines(name, report, late, brought)))
    console.print(_inputs(report, now, narrow=console.width < _WIDE))
    if report.batch_id is None:
        console.print(f"Next: headwater run {name}")
    elif report.due:
        console.print(f"→ the next run closes what it has passed: headwater run {name}")
    elif held.sentence is not None:
        console.print(
            f"→ nothing comes any more? headwater flush {name} --until TIME closes what is open"
        )


def _lines(
    name: str, report: WatermarkReport, late: LateRows, brought: HeldBy | None
) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if report.batch_id is not None:
        used = instant(report.watermark_ms * 1000)
        lines.append(("last batch", f"{report.batch_id} used {used}"))
    holding = report.holding
    if holding is not None and holding.watermark_ms < report.next_watermark_ms:
        # It never goes back, whatever the inputs or the delay say later.
        lines.append(("held by", "a flush, or a shorter delay than now: its inputs are behind it"))
    elif holding is not None and holding.maximum is not None:
        newest = moment(holding.maximum)
        file = f", in {redact(str(brought))}" if brought is not None else ""
        less = delay(holding.delay_seconds)
        lines.append(
            ("held by", f"{_called(holding)}: its newest row, {newest}{file}; less {less}")
        )
    elif holding is not None and report.batch_id is not None:
        lines.append(("held by", f"{_called(holding)}, which gave no row yet"))
    if report.closes is not None and report.closing_event_time_us is not None:
        first = f"{report.closes}, at watermark {instant(report.next_close_us)}"
        row = f"a row of event time {instant(report.closing_event_time_us)} or after"
        lines.append(("closes next", f"{first}: {row} brings it there"))
    else:
        lines.append(("closes next", "nothing is open"))
    lines.append(("state", count(report.state_rows, "row")))
    if late.dropped:
        last = f", {report.late_rows_last:,} of them in the last batch"
        by = f"; the latest by {span(late.most_seconds)}" if late.operators else ""
        lines.append(("late", f"{count(late.dropped, 'row')}{last}{by} → headwater late {name}"))
    else:
        lines.append(("late", "no row"))
    if report.idle:
        silent = ", ".join(_called(item) for item in report.idle)
        lines.append(("idle", f"{silent}: silent, and holds nobody back"))
    return lines


def _inputs(report: WatermarkReport, now: datetime, *, narrow: bool) -> Table:
    from datetime import datetime as moments

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    headings = ["input", "event time", "newest row", "delay", "its watermark", "last row at", ""]
    for heading in headings:
        if not (narrow and heading in {"its watermark", "last row at"}):
            table.add_column(heading, overflow="fold")
    for item in report.inputs:
        seen = None if item.seen_at is None else moments.fromisoformat(item.seen_at)
        holds = item.holds and item.watermark_ms >= report.next_watermark_ms
        mark = "idle" if item.idle else "holds the watermark" if holds else ""
        newest = moment(item.maximum)
        table.add_row(
            _called(item),
            item.column,
            newest[:19] if narrow else newest,
            delay(item.delay_seconds),
            *(() if narrow else (instant(item.watermark_ms * 1000), at(seen, now))),
            mark if len(report.inputs) > 1 or item.idle else "",
        )
    return table


def _called(item: WatermarkInput) -> str:
    return " and ".join(item.sources) or item.id
