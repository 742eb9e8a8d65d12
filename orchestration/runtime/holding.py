"""Which batch, and which files, brought the row that the watermark stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.state.watermarks import EventTimePlan, EventTimeSeal

if TYPE_CHECKING:
    from orchestration.runtime.session import Session
    from orchestration.runtime.watermark_report import WatermarkInput

__all__ = ["HeldBy", "held_by"]

# Looked at one by one, newest first: the newest row is rarely older than this.
_BATCHES = 200


@dataclass(frozen=True, slots=True)
class HeldBy:
    """Where an input's newest row came from.

    Attributes:
        batch_id: The batch that read it.
        files: The files that this batch read of the input's sources; the row is in one of them.
    """

    batch_id: int
    files: tuple[str, ...]

    def __str__(self) -> str:
        if not self.files:
            return f"batch {self.batch_id}"
        if len(self.files) == 1:
            return f"{self.files[0]} (batch {self.batch_id})"
        return (
            f"one of {len(self.files):,} files of batch {self.batch_id}, {self.files[-1]} the last"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"batch_id": self.batch_id, "files": list(self.files)}


def held_by(session: Session, item: WatermarkInput) -> HeldBy | None:
    """Find the batch that raised an input's maximum to where it is.

    Returns:
        ``None`` before the first row, or where it lies further back than is looked for.
    """
    store = session.store
    generation = store.queries.get(session.query.name)
    last = store.batches.last(generation, with_files=False) if generation else None
    if generation is None or last is None or item.maximum_us is None:
        return None
    first = max(0, last.plan.batch_id - _BATCHES)
    for number in range(last.plan.batch_id, first - 1, -1):
        record = store.batches.get(generation, number, with_files=False)
        if record is None or record.seal is None:
            continue
        after = EventTimeSeal.from_json(record.seal.event_time).maxima_us.get(item.id)
        before = EventTimePlan.from_json(record.plan.event_time).maxima_us.get(item.id)
        if after == item.maximum_us and before != after:
            whole = store.batches.get(generation, number) or record
            return HeldBy(
                number,
                tuple(
                    session.sources[part.source].file_name(entry)
                    for part in whole.plan.slices
                    if part.source in item.sources and part.source in session.sources
                    for entry in part.files
                ),
            )
    return None
