"""``headwater flush``: the watermark moved once by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import moment
from orchestration.cli.words import count
from orchestration.clock import SystemClock
from orchestration.runtime.flush import flush as flush_query
from orchestration.runtime.waiting import waiting

if TYPE_CHECKING:
    from rich.console import Console

    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.summary import RunSummary

__all__ = ["flush"]


class _Moment(click.ParamType[Any]):
    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        text = str(value).strip()
        if text == "now":
            return SystemClock().now()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time; write e.g. 2026-03-02T15:00:00Z, or now", param, ctx)
        if at.tzinfo is None:
            self.fail(
                f"{text!r} does not say its time zone; write e.g. {at.isoformat()}Z or "
                f"{at.isoformat()}+01:00",
                param,
                ctx,
            )
        return at.astimezone(UTC)


@click.command()
@name_argument
@click.option(
    "--until",
    required=True,
    type=_Moment(),
    metavar="TIME",
    help="Event time: ISO 8601 with a zone, such as 2026-03-02T15:00:00Z, or now.",
)
@json_option
@pass_context
def flush(context: Context, name: str, until: datetime, *, as_json: bool) -> None:
    """Move the watermark of NAME to TIME, once: what ends by then is closed.

    For the end of a feed, when nothing comes any more that would move it. It is one batch,
    recorded as any other, without input: run the query first. Rows that come later for what it
    closed are late.
    """
    query = context.query(name)
    console = context.console(as_json=as_json)
    summary = flush_query(query, until)
    rows = sum(item.num_output_rows for item in summary.batches)
    if as_json:
        context.emit(
            {
                "query": name,
                "until": until.isoformat(),
                "rows": rows,
                "batches": [batch.to_json() for batch in summary.batches],
            }
        )
        return
    _show(console, query, summary, until)


def _show(console: Console, query: StreamingQuery, summary: RunSummary, until: datetime) -> None:
    name, batches = query.name, summary.batches
    if summary.waiting:
        console.print(f"{name}: nothing to close: {summary.waiting}")
        return
    with query.open() as session:
        open_ = waiting(session)
    if not batches:
        console.print(
            f"{name}: nothing to close: the watermark has passed {moment(until.isoformat())} "
            f"already → headwater watermark {name}"
        )
        return
    for batch in batches[:-1]:
        console.print(f"  batch {batch.batch_id} had been left by a crash and is finished now")
    last = batches[-1]
    operators = last.state_operators
    removed = sum(int(item.get("rows_removed", 0)) for item in operators)
    console.print(
        f"{name}: batch {last.batch_id} moved the watermark to "
        f"{moment(last.event_time.get('watermark'))}: {count(last.num_output_rows, 'row')} given, "
        f"{count(removed, 'row')} of state let go",
        style="bold green",
    )
    left = sum(int(item.get("rows_total", 0)) for item in operators)
    if open_ is not None and open_.sentence:
        console.print(f"  still open: {open_.sentence}")
    elif left:
        console.print(f"  {count(left, 'row')} of state left → headwater state {name}")
    console.print(f"  what comes now for what was closed is late → headwater late {name}")
