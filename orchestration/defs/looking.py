"""Is there anything to do? Asked at every tick, of the cursor store and of a listing.

Dagster moves its own cursor when a run is asked for, not when it succeeds, so that one is never
the truth here. No data is read, no lease is taken, and nothing of a query is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestration.clock import Clock, SystemClock
from orchestration.cursors.store import CursorStore
from orchestration.runtime.event_time import closes_something
from orchestration.runtime.inputs import Backlogs, Inputs
from orchestration.runtime.session import bound_stream
from orchestration.sources.delta_standing import newest_version, versions_behind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.cursors.records import BatchRecord, Generation
    from orchestration.runtime.query import StreamingQuery

__all__ = ["Look", "clock_time", "look", "number"]

#: Of a Delta table's and a server's offsets: no places, but what they are places of.
_UNCOUNTED = {"table", "snapshot", "tables", "relations", "chunk", "publication", "system"}


@dataclass(frozen=True, slots=True)
class Look:
    """What a tick found.

    Attributes:
        wanted: Whether a run has something to do.
        reason: One sentence, with numbers.
        counts: For the run's tags: new files and bytes, offsets from and to.
    """

    wanted: bool
    reason: str
    counts: Mapping[str, str] = field(default_factory=dict)


def look(query: StreamingQuery, *, clock: Clock | None = None) -> Look:
    """Compare what the source has with what the cursor store remembers.

    Raises:
        CursorStoreError: The cursor store cannot be read.
        SourceError: The source cannot be listed.
    """
    clock = clock or SystemClock()
    settings = query.settings
    with CursorStore.open(settings.cursors_url, clock=clock) as store:
        holder = store.leases.holder(query.name)
        if holder is not None:
            return Look(False, f"it is being run by {holder}")
        generation = store.queries.get(query.name)
        last = store.batches.last(generation, with_files=False) if generation else None
        unfinished = last if last is not None and last.committed_at is None else None
        if unfinished is not None and unfinished.blocked and not unfinished.skip:
            return Look(False, _blocked(query.name, unfinished))
        inputs = Inputs(store, generation, query.sources, clock=clock, settings=settings)
        waiting = inputs.poll()
    counts = _counts(waiting)
    backlog = waiting.merged
    if generation is not None and generation.status == "resetting":
        return Look(True, "a reset is to be finished", counts)
    if unfinished is not None:
        batch = unfinished.plan.batch_id
        return Look(True, f"batch {batch} was left unfinished", {**counts, "batch": str(batch)})
    noted = "; ".join(("", *backlog.notes))
    if not backlog.exists and backlog.empty and not backlog.must_record:
        return Look(False, f"{_place(query)} does not exist yet")
    standing = _standing(last, clock.now())
    if backlog.empty and _closes_something(query, generation, last, clock.now()):
        return Look(True, "nothing new, but the watermark closes what was open" + standing, counts)
    if backlog.empty and not backlog.must_record:
        of = f"0 new of {number(backlog.seen, 'file')}" if backlog.seen else "nothing new"
        newest = newest_version(backlog)
        of += "" if newest is None else f", version {newest} is the newest"
        return Look(False, of + standing + noted, counts)
    if backlog.empty:
        return Look(True, "what is there already is to be noted, and left out" + noted, counts)
    new = f"{len(backlog.files):,} new of {number(backlog.seen, 'file')}, {backlog.bytes:,} bytes"
    versions = versions_behind(backlog.start, backlog.end)
    new += "" if versions is None else f" in {number(versions, 'version')}"
    return Look(True, (new if backlog.files else "new rows") + standing + noted, counts)


def clock_time(moment: datetime, now: datetime) -> str:
    """``14:03`` on the same day, else with the date; always UTC."""
    moment = moment.astimezone(UTC)
    same_day = moment.date() == now.astimezone(UTC).date()
    return f"{moment:%H:%M}" if same_day else f"{moment:%Y-%m-%d %H:%M}"


def _closes_something(
    query: StreamingQuery, generation: Generation | None, last: BatchRecord | None, now: datetime
) -> bool:
    """Whether a batch without data is due."""
    if generation is None or query.is_plain or query.trigger.kind == "once":
        return False
    bound = bound_stream(query, generation.input_schema)
    return bound is not None and closes_something(query, bound[0].plan(), last, now)


def _counts(waiting: Backlogs) -> dict[str, str]:
    """Tags; offsets carry the source's name where there are several."""
    backlog = waiting.merged
    counts = {"new_files": str(len(backlog.files)), "new_bytes": str(backlog.bytes)}
    alone = len(waiting.parts) == 1
    for source, part in waiting.parts.items():
        for name in sorted({*part.start, *part.end} - _UNCOUNTED):
            title = name if alone else f"{source}.{name}"
            counts[f"{title}.from"] = str(part.start.get(name, 0))
            counts[f"{title}.to"] = str(part.end.get(name, 0))
    return counts


def _place(query: StreamingQuery) -> str:
    paths = [source.describe().get("path") for source in query.sources.values()]
    return f"the landing directory {paths[0]}" if len(paths) == 1 and paths[0] else query.reads


def _standing(last: BatchRecord | None, now: datetime) -> str:
    if last is None:
        return ""
    return f"; last batch {last.plan.batch_id} at {clock_time(last.plan.timestamp, now)}"


def _blocked(name: str, record: BatchRecord) -> str:
    return (
        f"batch {record.plan.batch_id} failed {record.failures} times the same way and is "
        f"blocked: {record.last_error}. Mend the cause and 'headwater retry {name}', or "
        f"'headwater skip {name} --to-quarantine' to set its files aside and go on"
    )


def number(count: int, noun: str) -> str:
    """``1 file``, ``1,204 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
