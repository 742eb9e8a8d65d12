"""``headwater run``: micro-batches, with their progress."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from orchestration.cli.batch_bar import BatchBar
from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.event_time import event_time_of
from orchestration.cli.trigger import trigger_option
from orchestration.cli.words import count, duration, nothing_new, size
from orchestration.clock import SystemClock
from orchestration.redaction import redact
from orchestration.runtime.change_counts import ChangeCounts
from orchestration.runtime.waiting import Waiting, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from types import FrameType

    from rich.console import Console

    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.runner import RunSummary
    from orchestration.runtime.triggers import Trigger

__all__ = ["run", "run_shown", "show_summary"]


@click.command()
@name_argument
@trigger_option
@json_option
@pass_context
def run(context: Context, name: str, trigger: Trigger | None, *, as_json: bool) -> None:
    """Run batches of NAME until what was there at the start is done, or as --trigger says.

    Ctrl-C or SIGTERM ends it after the batch in hand; a second one at once. Either way, and after
    any crash, the next run goes on where this one was.
    """
    query = context.query(name)
    console = context.console(as_json=as_json)
    summary = run_shown(query, console, trigger)
    if as_json:
        open_ = _open(query)
        context.emit(
            {
                "query": name,
                "run_id": summary.run_id,
                "batches": [batch.to_json() for batch in summary.batches],
                "seen_files": summary.seen_files,
                "files_left": len(summary.backlog.files) if summary.backlog else 0,
                "notes": list(summary.notes),
                "waiting": summary.waiting,
                "waiting_for": None if open_ is None else open_.sentence,
            }
        )


def run_shown(
    query: StreamingQuery, console: Console, trigger: Trigger | None = None
) -> RunSummary:
    """Run a query with a progress bar, and say what came of it and what comes next."""
    clock = SystemClock()
    chosen = trigger or query.trigger
    if chosen.interval is not None:
        console.print(
            f"{query.name}: a batch every {duration(chosen.interval.total_seconds())}; "
            "Ctrl-C ends it after the batch in hand"
        )
    with _stopping(console) as stop, BatchBar(console) as bar:
        summary = _beside(
            lambda: query.execute(
                trigger, on_plan=bar.planned, on_batch=bar.finished, stop=stop, clock=clock
            )
        )
    show_summary(console, query, summary, clock.now(), stopped=stop.is_set())
    return summary


def show_summary(
    console: Console,
    query: StreamingQuery,
    summary: RunSummary,
    now: datetime,
    *,
    stopped: bool = False,
) -> None:
    """Say what a run did, and what to do next."""
    name = query.name
    for note in summary.notes:
        console.print(f"  note: {note}", style="yellow")
    open_ = _open(query)
    if not summary.batches:
        console.print(f"{name}: {_idle(query, summary, now)}")
        if open_ is not None and open_.sentence:
            console.print(f"  {open_.sentence} → headwater watermark {name}")
        return
    batches = summary.batches
    rows = sum(item.num_output_rows for item in batches)
    bad = sum(item.quarantined_rows for item in batches)
    files = sum(item.files for item in batches)
    read = sum(item.bytes for item in batches)
    seconds = sum(item.batch_duration_ms for item in batches) / 1000
    sink = batches[-1].sink
    version = "" if sink.version is None else f" (version {sink.version})"
    changes = ChangeCounts.of(batches)
    taken = sum(item.num_input_rows for item in batches)
    what = count(rows, "row") if changes is None else count(taken, "change")
    console.print(
        f"{name}: {count(len(batches), 'batch', 'batches')}, {what} from "
        f"{count(files, 'file')} ({size(read)}) in {duration(seconds)}",
        style="bold green",
    )
    if changes is not None:
        console.print(f"  {changes.sentence}")
    console.print(f"  table {sink.description}{version}")
    for batch in batches:
        if batch.replayed:
            console.print(f"  batch {batch.batch_id} had been left by a crash and is finished now")
    if bad:
        console.print(
            f"  {count(bad, 'bad record')} set aside → headwater quarantine {name}", style="yellow"
        )
    late = sum(event_time_of(batch).late for batch in batches)
    if late:
        console.print(
            f"  {count(late, 'row')} came too late → headwater late {name}", style="yellow"
        )
    said = open_.said(rows) if open_ is not None else None
    if said:  # every newcomer's first question: where are my rows?
        console.print(f"  {said} → headwater watermark {name}")
    left = len(summary.backlog.files) if summary.backlog else 0
    if left:
        why = "stopped after the batch in hand; " if stopped else ""
        console.print(f"  {why}{count(left, 'file')} left → headwater run {name}")
    else:
        console.print(f"  nothing is left; is it right? → headwater verify {name}")


def _open(query: StreamingQuery) -> Waiting | None:
    """What waits for the watermark; ``None`` where there is none."""
    if query.is_plain:
        return None
    with query.open() as session:
        return waiting(session)


def _idle(query: StreamingQuery, summary: RunSummary, now: datetime) -> str:
    if summary.backlog is not None and not summary.backlog.exists:
        return f"nothing to read: {redact(query.reads)}: not there yet"
    if summary.waiting:
        return f"nothing to do: {summary.waiting}"
    with query.open() as session:
        generation = session.store.queries.get(query.name)
        last = session.store.batches.last(generation, with_files=False) if generation else None
    return nothing_new(
        summary.seen_files,
        last.plan.batch_id if last else None,
        last.plan.timestamp if last else None,
        now,
    )


def _beside(work: Callable[[], RunSummary]) -> RunSummary:
    """Do the work in a thread of its own, so that this one is free for signals.

    The engine may be inside a statement for minutes, and Python's handlers wait for the main
    thread to come back from it.
    """
    done: list[RunSummary] = []
    failed: list[BaseException] = []

    def target() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=target, name="run", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


@contextmanager
def _stopping(console: Console) -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second ends the process."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        for one in former:
            signal.signal(one, signal.SIG_DFL)
        # Not here: the main thread may be inside the event's own lock.
        threading.Thread(target=stop.set, daemon=True).start()
        console.print("stopping after the batch in hand; once more ends it at once")

    former = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    for one in former:
        signal.signal(one, handle)
    try:
        yield stop
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
