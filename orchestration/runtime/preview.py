"""What the next batches would read, with nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.runtime.inputs import Inputs

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord, Generation, Slice
    from orchestration.runtime.session import Session
    from orchestration.runtime.triggers import Trigger
    from orchestration.sources.base import Backlog

__all__ = ["Preview", "preview"]

_SHOWN = 100  # slices are planned one by one; a preview of more is of use to nobody


@dataclass(frozen=True, slots=True)
class Preview:
    """The next batches of a query, as a run would plan them now.

    Attributes:
        next_batch_id: Id of the first of them.
        unfinished: A batch that a crash left, which comes first.
        batches: Slices of each batch, one per source; cut at a hundred batches.
        backlog: Everything that is new, of all sources.
        left: What is new beyond ``batches``.
        generation: ``None`` before the first run.
        schema: The output columns, where they are known.
    """

    next_batch_id: int
    unfinished: BatchRecord | None
    batches: tuple[tuple[Slice, ...], ...]
    backlog: Backlog
    left: Backlog
    generation: Generation | None
    schema: dict[str, str] | None

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The slices that read something, in the order of batches."""
        return tuple(part for batch in self.batches for part in batch if part.start != part.end)

    def to_json(self) -> dict[str, Any]:
        """The preview as JSON; a batch of several sources is the list of their slices."""
        return {
            "next_batch_id": self.next_batch_id,
            "unfinished_batch": self.unfinished.plan.batch_id if self.unfinished else None,
            "blocked": bool(self.unfinished and self.unfinished.blocked),
            "batches": [
                batch[0].to_json() if len(batch) == 1 else [part.to_json() for part in batch]
                for batch in self.batches
            ],
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
    inputs = Inputs.of(session, generation)
    waiting = inputs.poll()
    trigger = trigger or session.query.trigger
    batches: list[tuple[Slice, ...]] = []
    rest = waiting
    while not rest.empty and len(batches) < _SHOWN:
        taken, rest = inputs.take(rest, trigger)
        batches.append(taken)
    return Preview(
        next_batch_id=last.plan.batch_id + 1 if last else 0,
        unfinished=last if last and last.committed_at is None else None,
        batches=tuple(batches),
        backlog=waiting.merged,
        left=rest.merged,
        generation=generation,
        schema=schema_to_json(session.output_schema) if session.bound else None,
    )
