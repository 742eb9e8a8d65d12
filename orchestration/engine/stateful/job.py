"""What the engine is given for a stateful batch, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa

    from orchestration.cursors.records import DataFile
    from orchestration.engine.feed import Counts
    from orchestration.engine.rewrite import OldFiles
    from orchestration.sources.inputs import FilesInput, TableInput
    from orchestration.state.files import StateFiles
    from orchestration.state.manifest import StateVersion
    from orchestration.streams.plan import Chain

__all__ = [
    "REMOVED",
    "ChangedFiles",
    "LateRows",
    "SourceInput",
    "StatefulJob",
    "StatefulOutput",
    "StaticInput",
]

#: Which of the state files of applied changes names rows that a batch took out and did not
#: replace: an upsert that has to be made anew needs them.
REMOVED = "removed"


class StaticInput(Protocol):
    """A static table at one version."""

    def reader(self) -> pa.RecordBatchReader:
        """Its rows, all of them, as often as asked; columns of its :class:`StaticRoot`."""


@dataclass(frozen=True, slots=True)
class SourceInput:
    """What one source gives a batch.

    Attributes:
        data: Its rows.
        on_bad_record: ``fail`` raises at the first bad record.
        max_bad_fraction: More bad records than this part of all fail the batch.
    """

    data: FilesInput | TableInput
    on_bad_record: Literal["quarantine", "fail"] = "quarantine"
    max_bad_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class LateRows:
    """Rows that a full reprocess must leave out, because the incremental query had dropped them.

    Attributes:
        files: Local Parquet files of the late table: columns of ``LATE_SCHEMA``.
        through_batch: Rows of later batches do not count.
    """

    files: Sequence[str] = ()
    through_batch: int = -1


@dataclass(frozen=True, slots=True)
class StatefulJob:
    """One stateful batch.

    Attributes:
        plan: What to compute.
        inputs: Source to its rows; a source without any is left out.
        statics: Static table to its rows.
        output_mode: Which groups are given.
        output_schema: Columns of the result, as ``Engine.describe_plan`` gave them.
        watermark_ms, late_ms: This batch's and the one before's, milliseconds.
        state: The version of the batch before; ``None`` at the start.
        files: Where state lies.
        sink_dir, quarantine_dir, late_dir: Local directories that stand for the tables' roots.
        file_prefix: Start of every file name: batch and attempt.
        batch_id, timestamp: The batch's; ``now()`` is the timestamp.
        partition_by, target_file_size: Of the sink.
        on_late: Whether late rows are kept.
        full: A full reprocess: nothing is late and no state is kept; these rows are left out.
        target: The sink's files before the batch, where its rows are changes of them; ``None``
            where they are not, or there is no table yet.
    """

    plan: Chain
    inputs: Mapping[str, SourceInput]
    output_mode: Literal["append", "update", "complete"]
    output_schema: pa.Schema
    watermark_ms: int
    late_ms: int
    state: StateVersion | None
    files: StateFiles
    sink_dir: Path
    quarantine_dir: Path
    late_dir: Path
    file_prefix: str
    batch_id: int
    timestamp: datetime
    statics: Mapping[str, StaticInput] = field(default_factory=dict)
    partition_by: tuple[str, ...] = ()
    target_file_size: int = 128 * 1024 * 1024
    on_late: Literal["table", "drop"] = "table"
    full: LateRows | None = None
    target: OldFiles | None = None


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """What a batch of changes does to the sink's table, besides the rows it adds.

    Attributes:
        written: Files with rows that are carried over.
        removed: Numbers of the files that these and the added ones take the place of.
    """

    written: tuple[DataFile, ...] = ()
    removed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StatefulOutput:
    """What a stateful batch made.

    Attributes:
        sink, quarantine, late: Files written, paths relative to the job's directories.
        rows_read, rows_quarantined, files_read, bytes_read: Over all sources.
        sources: The same for each.
        maxima_us: Watermark id to the greatest event time among this batch's rows.
        state: The new version, its files written to ``files.directory`` and not persisted yet;
            ``None`` for a full reprocess.
        new_state: Names of the files that are new in it.
        operators: One entry per stateful operator, for progress (semantics §8).
        details: Anything else worth showing.
        changed: What else happens to the sink's table, where the rows were changes.
    """

    sink: tuple[DataFile, ...]
    quarantine: tuple[DataFile, ...]
    late: tuple[DataFile, ...]
    rows_read: int
    rows_quarantined: int
    files_read: int
    bytes_read: int
    sources: Mapping[str, Counts]
    maxima_us: Mapping[str, int]
    state: StateVersion | None
    new_state: tuple[str, ...]
    operators: tuple[dict[str, Any], ...]
    details: dict[str, object] = field(default_factory=dict)
    changed: ChangedFiles = field(default_factory=ChangedFiles)

    @property
    def rows_written(self) -> int:
        """Rows given to the sink."""
        return sum(item.rows for item in self.sink)
