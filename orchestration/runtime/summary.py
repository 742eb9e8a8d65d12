"""What one run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.runtime.progress import BatchProgress
    from orchestration.sources.base import Backlog

__all__ = ["RunSummary"]


@dataclass(slots=True)
class RunSummary:
    """What one run did.

    Attributes:
        run_id: The run.
        batches: Progress of each batch it finished, in order.
        seen_files: Files in the ledger after it, where the source has any.
        backlog: What was left when it ended.
        notes: Named oddities: rewritten or missing files, files still being written.
        waiting: Why nothing could run at all, where that is so.
    """

    run_id: str
    batches: list[BatchProgress] = field(default_factory=list)
    seen_files: int = 0
    backlog: Backlog | None = None
    notes: tuple[str, ...] = ()
    waiting: str | None = None
