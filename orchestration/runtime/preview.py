"""What the next batches would read, with nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.runtime.history import StoredHistory
from orchestration.sources.base import Backlog, Limits

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord, Generation, Slice
    from orchestration.runtime.session import Session
    from orchestration.runtime.triggers import Trigger

__all__ = ["Preview", "preview"]

_SHOWN = 100  # slices are planned one by one; a preview of more is of use to nobody


@dataclass(frozen=True, slots=True)
class Preview:
    """The next batches of a query, as a run would plan them now.

    Attributes:
        next_batch_id: Id of the first of them.
        unfinished: A batch that a crash left, which comes first.
        slices: One per batch; cut at a hundred.
        backlog: Everything that is new.
        left: What is new beyond ``slices``.
        generation: ``None`` before the first run.
        schema: The output columns, where they are known.
    """

    next_batch_id: int
    unfinished: BatchRecord | None
    slices: tuple[Slice, ...]
    backlog: Backlog
    left: Backlog
    generation: Generation | None
    schema: dict[str, str] | None

    def to_json(self) -> dict[str, Any]:
        """The preview as JSON."""
        return {
            "next_batch_id": self.next_batch_id,
            "unfinished_batch": self.unfinished.plan.batch_id if self.unfinished else None,
            "blocked": bool(self.unfinished and self.unfinished.blocked),
            "batches": [part.to_json() for part in self.slices],
            "new_files": len(self.backlog.files),
            "new_bytes": self.backlog.bytes,
            "seen_files": self.backlog.seen,
            "landing_exists": self.backlog.exists,
            "notes": list(self.backlog.notes),
            "schema": self.schema,
        }


def preview(session: Session, trigger: Trigger | None = None) -> Preview:
    """Plan the next batches without a lease and without writing anything."""
    from orchestration.streams.schema import schema_to_json

    generation = session.store.queries.get(session.query.name)
    session.bind(generation.input_schema if generation else None)
    last = session.store.batches.last(generation) if generation else None
    history = StoredHistory(session.store, generation, session.source.name)
    backlog = session.source.poll(history, clock=session.clock, settings=session.settings)
    trigger = trigger or session.query.trigger
    limits = Limits() if trigger.kind == "once" else session.source.limits.tightened(trigger)
    slices: list[Slice] = []
    rest = backlog
    while not rest.empty and len(slices) < _SHOWN:
        part, rest = session.source.take(rest, limits, settings=session.settings)
        slices.append(part)
    return Preview(
        next_batch_id=last.plan.batch_id + 1 if last else 0,
        unfinished=last if last and last.committed_at is None else None,
        slices=tuple(slices),
        backlog=backlog,
        left=rest,
        generation=generation,
        schema=schema_to_json(session.output_schema) if session.bound else None,
    )
