"""``headwater watermark``: how far event time has come, and what holds it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import instant, moment, span
from orchestration.cli.words import at, count, details
from orchestration.clock import SystemClock
from orchestration.redaction import redact
from orchestration.runtime.late_rows import LateRows, late_rows
from orchestration.runtime.watermark_report import WatermarkReport, watermark_report

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from orchestration.runtime.watermark_report import WatermarkInput

__all__ = ["show_watermark", "watermark"]


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
        report = watermark_report(session)
        late = late_rows(session, 0) if report is not None else None
    if as_json:
        found = None if report is None else report.to_json()
        if found is not None and late is not None:
            found |= {"late_rows": late.dropped, "latest_seconds": late.most_seconds}
        context.emit({"query": name, "watermark": found})
        return
    console = context.console()
    if report is None or late is None:
        console.print(f"{name} has no watermark: it waits for nothing, and no row is late.")
        console.print('  with_watermark("ts", "10 minutes") gives a stream one')
        return
    show_watermark(console, name, report, late, SystemClock().now())


def show_watermark(
    console: Console, name: str, report: WatermarkReport, late: LateRows, now: datetime
) -> None:
    """Say where event time stands, in words and by input."""
    if report.batch_id is None:
        console.print(f"{name}: no batch ran yet, so there is no watermark", style="bold")
    else:
        reached = instant(report.next_watermark_ms * 1000)
        console.print(f"{name}: the watermark is {reached}", style="bold")
    if report.sentence or report.explanation:
        console.print(f"  {report.sentence or report.explanation}")
    console.print(details(_lines(name, report, late)))
    console.print(_inputs(report, now))
    if report.batch_id is None:
        console.print(f"Next: headwater run {name}")
    elif report.due:
        console.print(f"→ the next run closes what it has passed: headwater run {name}")
    elif report.closes is not None and report.output_mode == "append":
        console.print(
            f"→ nothing comes any more? headwater flush {name} --until TIME closes what is open"
        )


def _lines(name: str, report: WatermarkReport, late: LateRows) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if report.batch_id is not None:
        used = instant(report.watermark_ms * 1000)
        lines.append(("last batch", f"{report.batch_id} used {used}"))
    holding = report.holding
    if holding is not None and holding.maximum is not None:
        newest = moment(holding.maximum)
        file = f", last file {redact(holding.last_file)}" if holding.last_file else ""
        delay = span(holding.delay_seconds)
        lines.append(("held by", f"{_called(holding)}: {newest} less {delay}{file}"))
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


def _inputs(report: WatermarkReport, now: datetime) -> Table:
    from datetime import datetime as moments

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("input", "event time", "newest row", "delay", "its watermark", "last row at"):
        table.add_column(heading)
    table.add_column("")
    for item in report.inputs:
        seen = None if item.seen_at is None else moments.fromisoformat(item.seen_at)
        mark = "idle" if item.idle else "holds the watermark" if item.holds else ""
        table.add_row(
            " and ".join(item.sources) or item.id,
            item.column,
            moment(item.maximum),
            span(item.delay_seconds),
            instant(item.watermark_ms * 1000),
            at(seen, now),
            mark if len(report.inputs) > 1 or item.idle else "",
        )
    return table


def _called(item: WatermarkInput) -> str:
    return " and ".join(item.sources) or item.id
