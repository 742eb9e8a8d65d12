"""How many rows changes inserted, updated and deleted, and how many did nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestration.runtime.progress import BatchProgress

__all__ = ["ChangeCounts"]


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """What one batch of changes, or several, did to the sink's table.

    Attributes:
        inserted: Keys that got a row; of history, rows that are new.
        updated: Rows that were replaced.
        deleted: Keys that have no row any more, or none that holds.
        ignored: Changes that did nothing: the table knew a newer one, or the same.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    ignored: int = 0

    @classmethod
    def of(cls, batches: Iterable[BatchProgress]) -> Self | None:
        """The sums over batches; ``None`` where none of them applied changes."""
        found = [cls(**item.details["changes"]) for item in batches if "changes" in item.details]
        if not found:
            return None
        return cls(
            sum(item.inserted for item in found),
            sum(item.updated for item in found),
            sum(item.deleted for item in found),
            sum(item.ignored for item in found),
        )

    @property
    def sentence(self) -> str:
        """``3 inserted, 2 updated, 1 deleted, 4 ignored as older``."""
        return (
            f"{self.inserted:,} inserted, {self.updated:,} updated, {self.deleted:,} deleted, "
            f"{self.ignored:,} ignored as older"
        )

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)
