"""``headwater status``: where every query stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from orchestration.cli.context import Context, json_option, pass_context
from orchestration.cli.event_time import EventTime, event_time_of
from orchestration.cli.source_warnings import source_warnings
from orchestration.cli.words import at, count, details, duration, size
from orchestration.clock import SystemClock
from orchestration.redaction import redact
from orchestration.runtime.change_counts import ChangeCounts
from orchestration.runtime.status import CostPanel, QueryStatus, costs, history
from orchestration.runtime.status import status as query_status
from orchestration.runtime.waiting import waiting

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

__all__ = ["show_costs", "status"]

_WIDE = 120  # columns of a terminal; a narrower one shows of timed queries what matters more
_COLOURS = {"blocked": "bold red", "unfinished": "yellow", "resetting": "yellow", "running": "cyan"}


@dataclass(frozen=True, slots=True)
class _Found:
    """One query: where it stands, what it cost, its event time, and what waits for that.

    And what its last batch did to its table, where it applied changes; and what its sources warn
    of.
    """

    state: QueryStatus
    panel: CostPanel
    event_time: EventTime
    open: str | None
    output_mode: str
    changes: ChangeCounts | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.state.to_json(),
            "costs": self.panel.to_json(),
            "event_time": self.event_time.to_json(),
            "waiting_for": self.open,
            "output_mode": self.output_mode,
            "changes": None if self.changes is None else self.changes.to_json(),
            "warnings": list(self.warnings),
        }


@click.command()
@click.argument("name", required=False)
@json_option
@pass_context
def status(context: Context, name: str | None, *, as_json: bool) -> None:
    """Show where the queries stand, or NAME in full. Takes no lease, reads no data."""
    queries = [context.query(name)] if name else list(context.queries.values())
    found: list[_Found] = []
    for query in queries:
        with query.open() as session:
            newest = None if query.is_plain else next(iter(history(session, 2)), None)
            held = waiting(session) if name else None
            told = event_time_of(newest)
            open_ = held.sentence if held is not None else None
            state, mode = query_status(session), query.sink.mode
            changes = None if newest is None else ChangeCounts.of([newest])
            warned = source_warnings(query)
            found.append(_Found(state, costs(session), told, open_, mode, changes, warned))
    if as_json:
        items = [item.to_json() for item in found]
        context.emit(items[0] if name else items)
        return
    console = context.console()
    now = SystemClock().now()
    if name:
        _show_one(console, found[0], now)
    elif found:
        console.print(_table(found, now, narrow=console.width < _WIDE))
        _show_warnings(console, found)
        _show_next(console, [item.state for item in found])
    else:
        console.print(f"Module {context.module!r} declares no query.")


def _table(found: list[_Found], now: datetime, *, narrow: bool) -> Table:
    timed = any(item.event_time.stateful for item in found)
    narrow = narrow and timed
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("query")
    table.add_column("state")
    for heading in ("batches", "rows", "quarantined", "files"):
        if not narrow or heading == "rows":
            table.add_column(heading, justify="right")
    if timed:
        table.add_column("watermark")
        table.add_column("late", justify="right")
        table.add_column("kept", justify="right")
    if not narrow:
        table.add_column("last batch")
    for item in found:
        state, told = item.state, item.event_time
        watermark = told.watermark_short if narrow else told.watermark
        kept = (watermark, f"{told.late_total:,}", f"{told.state_rows:,}")
        counts = (f"{state.rows_quarantined:,}", f"{state.files:,}")
        last = f"{state.last_batch_id} at {at(state.last_batch_at, now)}"
        table.add_row(
            state.name,
            state.state,
            *(() if narrow else (f"{state.batches:,}",)),
            f"{state.rows:,}",
            *(() if narrow else counts),
            *((kept if told.stateful else ("-", "-", "-")) if timed else ()),
            *(() if narrow else ("-" if state.last_batch_id is None else last,)),
            style=_COLOURS.get(state.state),
        )
    return table


def _show_one(console: Console, item: _Found, now: datetime) -> None:
    state, told = item.state, item.event_time
    console.print(f"{state.name}: {state.state}", style=_COLOURS.get(state.state, "bold"))
    rows: list[tuple[str, object]] = []
    if state.last_batch_id is not None:
        rows.append(("last batch", f"{state.last_batch_id} at {at(state.last_batch_at, now)}"))
        rows.append(("batches", f"{state.batches:,} (generation {state.generation})"))
        # Where batches replace rows, the table holds fewer than they gave.
        given = "" if item.output_mode == "append" else " given by all batches together,"
        rows.append(("rows", f"{state.rows:,}{given} from {count(state.files, 'file')}"))
        if item.changes is not None:
            rows.append(("last changes", item.changes.sentence))
        rows.append(("quarantined", f"{state.rows_quarantined:,}"))
    rows += [("read up to", f"{place} ({name})") for name, place in state.followed.items()]
    if told.stateful:
        if item.changes is None or told.watermark != "-":
            rows += _waiting(item)
        kept = f"{count(told.state_rows, 'row')}, {size(told.state_bytes)}"
        rows.append(("kept", f"{kept} → headwater state {state.name}"))
    if state.holder:
        rows.append(("run by", state.holder))
    if state.last_error:
        rows.append(("last error", redact(state.last_error)))
    if state.input_schema:
        columns = ", ".join(f"{name} {kind}" for name, kind in state.input_schema.items())
        rows.append(("inferred", columns))
    rows += [(f"{role} table", redact(uri)) for role, uri in state.tables.items()]
    console.print(details(rows))
    show_costs(console, item.panel)
    _show_warnings(console, [item])
    _show_next(console, [state])


def _waiting(item: _Found) -> list[tuple[str, object]]:
    """How far event time is, and what came after it."""
    name, told = item.state.name, item.event_time
    rows: list[tuple[str, object]] = [
        ("watermark", f"{told.watermark} → headwater watermark {name}")
    ]
    if item.open:
        rows.append(("open", item.open))
    return [*rows, ("late", f"{count(told.late_total, 'row')} → headwater late {name}")]


def show_costs(console: Console, panel: CostPanel) -> None:
    """What the incremental runs cost beside the full reprocess; all measured."""
    if not panel.runs:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("measured")
    for heading in ("rows read", "bytes read", "time"):
        table.add_column(heading, justify="right")
    table.add_row(
        "last incremental run",
        f"{panel.last_rows:,}",
        size(panel.last_bytes),
        duration(panel.last_seconds),
    )
    if panel.full_runs:
        table.add_row(
            "last full reprocess",
            f"{panel.last_full_rows:,}",
            size(panel.last_full_bytes),
            duration(panel.last_full_seconds),
        )
    table.add_row(
        f"all {count(panel.runs, 'incremental run')}",
        f"{panel.rows:,}",
        size(panel.bytes),
        duration(panel.seconds),
    )
    console.print(table)
    if panel.times_cheaper is not None and panel.times_cheaper > 1:
        console.print(
            f"  keeping it current took {panel.times_cheaper:g} times less time than a full "
            "reprocess"
        )
    if panel.runs > 1 and panel.times_fewer_rows is not None:
        console.print(
            f"  a full reprocess instead of each run would have read "
            f"{count(panel.rows_if_full, 'row')}: {panel.times_fewer_rows:g} times as many"
        )


def _show_warnings(console: Console, found: list[_Found]) -> None:
    for item in found:
        for warning in item.warnings:
            console.print(f"warning: {item.state.name}: {warning}", style="yellow")


def _show_next(console: Console, states: list[QueryStatus]) -> None:
    for state in states:
        name = state.name
        if state.state == "blocked":
            console.print(
                f"→ {name}: batch {state.last_batch_id} keeps failing: "
                f"{redact(state.last_error or '')}\n  'headwater retry {name}', or "
                f"'headwater skip {name} --to-quarantine'"
            )
        elif state.state in {"unfinished", "resetting"}:
            console.print(f"→ {name}: 'headwater run {name}' finishes what was left")
        elif state.state == "never run":
            console.print(f"→ {name}: 'headwater plan {name}', then 'headwater run {name}'")
