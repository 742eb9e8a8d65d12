"""What a query's committed batches did, as far as a full reprocess has to know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.state.watermarks import EventTimePlan
from orchestration.streams.change_resolving import CHANGES_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestration.cursors.records import BatchRecord, JsonDict
    from orchestration.runtime.session import Session

__all__ = ["Past", "committed", "last_committed", "past_of"]


@dataclass(frozen=True, slots=True)
class Past:
    """The committed batches, summed up.

    Attributes:
        late_rows: Rows that were dropped as late.
        late_kept: Those of them that went to the late table.
        statics: Static table to the version that the last batch with any input read.
        statics_changed: Those that not all of them read at one version.
        ranges_skipped: Whether a range that is not made of files was set aside by hand.
        sources_gone: Sources they read that the query has no more.
        forgotten: Memory of changes that had come to the end of its retention.
    """

    late_rows: int = 0
    late_kept: int = 0
    statics: Mapping[str, JsonDict] = field(default_factory=dict)
    statics_changed: tuple[str, ...] = ()
    ranges_skipped: bool = False
    sources_gone: tuple[str, ...] = ()
    forgotten: int = 0


def last_committed(session: Session) -> BatchRecord | None:
    """The newest committed batch of the generation in force, without its lists of files."""
    generation = session.store.queries.get(session.query.name)
    if generation is None:
        return None
    last = session.store.batches.last(generation, with_files=False)
    if last is None or last.committed_at is not None:
        return last
    if last.plan.batch_id == 0:
        return None
    return session.store.batches.get(generation, last.plan.batch_id - 1, with_files=False)


def committed(session: Session, through: int, *, with_files: bool) -> Iterator[BatchRecord]:
    """The batches up to and with ``through``, the first one first; one at a time in memory."""
    for batch_id in range(through + 1):
        record = session.store.batches.get(session.generation, batch_id, with_files=with_files)
        if record is None:
            raise RuntimeError(f"batch {batch_id} is not in the batch log, and later ones are")
        yield record


def past_of(session: Session, through: int) -> Past:
    """Look through the batches up to and with ``through``."""
    late = kept = 0
    statics: dict[str, JsonDict] = {}
    changed: set[str] = set()
    ranges_skipped = False
    gone: set[str] = set()
    forgotten = 0
    for record in committed(session, through, with_files=False):
        operators = record.progress.get("state_operators", ())
        forgotten += sum(
            int(item.get("rows_removed", 0)) for item in operators if item["id"] == CHANGES_ID
        )
        late += sum(int(item.get("rows_dropped_by_watermark", 0)) for item in operators)
        changes = record.seal.tables.get("late") if record.seal is not None else None
        kept += sum(item.rows for item in changes.adds) if changes is not None else 0
        read = [part for part in record.plan.slices if part.start != part.end]
        gone |= {part.source for part in read if part.source not in session.sources}
        if record.skip:
            ranges_skipped = ranges_skipped or any("files" not in part.end for part in read)
        elif read:  # a batch without input asks nothing of a static table
            versions = EventTimePlan.from_json(record.plan.event_time).statics
            changed |= {
                name for name in versions if statics.get(name, versions[name]) != versions[name]
            }
            statics |= versions
    return Past(
        late,
        kept,
        statics,
        tuple(sorted(changed)),
        ranges_skipped,
        tuple(sorted(gone)),
        forgotten,
    )
