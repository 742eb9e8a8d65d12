"""Batches as they go by: a line for each, and on a terminal a bar over the backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from orchestration.cli.words import count, duration, size
from orchestration.runtime.change_counts import ChangeCounts

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from orchestration.cursors.records import Plan
    from orchestration.runtime.progress import BatchProgress
    from orchestration.sources.base import Backlog

__all__ = ["BatchBar"]


class BatchBar:
    """Shows a run's batches; give its methods to ``StreamingQuery.execute``.

    Args:
        console: Where to; without a terminal there is no bar, only a line per batch.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[files]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._done_bytes = 0
        self._done_files = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def planned(self, plan: Plan, left: Backlog) -> None:
        """A batch is about to run; ``left`` is what comes after it."""
        files = sum(len(part.files) for part in plan.slices)
        volume = sum(part.bytes for part in plan.slices)
        total = self._done_bytes + volume + left.bytes
        every = self._done_files + files + len(left.files)
        text = f"batch {plan.batch_id}"
        shown = f"{self._done_files:,}/{every:,} files"
        if self._task is None:
            self._task = self._progress.add_task(text, total=total, files=shown)
        self._progress.update(
            self._task, description=text, total=total, completed=self._done_bytes, files=shown
        )
        self._done_bytes += volume
        self._done_files += files

    def finished(self, batch: BatchProgress) -> None:
        """A batch is committed."""
        if self._task is not None:
            self._progress.update(self._task, completed=self._done_bytes)
        seconds = max(batch.batch_duration_ms, 1) / 1000
        if batch.details.get("no_data"):
            closed = f"{count(batch.num_output_rows, 'row')} that the watermark closed"
            parts = ["no new data", closed, duration(seconds)]
        else:
            parts = [
                count(batch.files, "file"),
                size(batch.bytes),
                _given(batch),
                duration(seconds),
                f"{batch.num_input_rows / seconds:,.0f} rows/s",
            ]
        late = int(batch.details.get("late_rows", 0))
        if late:
            parts.append(count(late, "late row"))
        if batch.quarantined_rows:
            parts.append(count(batch.quarantined_rows, "bad record"))
        if batch.replayed:
            parts.append("finished after a crash")
        if batch.skipped:
            parts.append("skipped to quarantine")
        self._progress.console.print(f"  batch {batch.batch_id:<5} " + " · ".join(parts))


def _given(batch: BatchProgress) -> str:
    """What the batch gave to the sink, in a word."""
    changes = ChangeCounts.of([batch])
    return count(batch.num_output_rows, "row") if changes is None else changes.sentence
