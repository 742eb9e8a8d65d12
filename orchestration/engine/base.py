"""What an engine is given and what it gives back.

An engine turns the input of one batch into Parquet files on a local disk and says what it
wrote. It knows nothing of offsets, leases or Delta: a batch that is run twice writes the same
rows twice, into files of different names, and only one attempt is ever committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

from orchestration.sources.inputs import FileFormat, FilesInput, InputFile, TableInput

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from orchestration.cursors.records import DataFile
    from orchestration.engine.compare import Comparison, TableFile
    from orchestration.engine.matching import Matched, MatchJob
    from orchestration.engine.newest import Newest
    from orchestration.engine.packing import Packing
    from orchestration.engine.rewrite import Rewrite, Rewritten
    from orchestration.engine.stateful.job import StatefulJob, StatefulOutput
    from orchestration.streams.operators import StatelessOperator
    from orchestration.streams.plan import Chain

__all__ = [
    "LATE_SCHEMA",
    "QUARANTINE_SCHEMA",
    "BatchJob",
    "BatchOutput",
    "Engine",
    "FileFormat",
    "FilesInput",
    "InputFile",
    "TableInput",
]

_QUARANTINE_FIELDS: list[pa.Field[Any]] = [
    pa.field("file", pa.string()),  # as the user named it: path or s3:// URI, decoded
    pa.field("line", pa.int64()),  # 1-based; null where the whole file is set aside
    pa.field("reason", pa.string()),  # e.g. "amount: 5.7 is not a BIGINT"
    pa.field("raw", pa.string()),  # the text; for an over-long line its head
    pa.field("raw_base64", pa.string()),  # only where the bytes are not valid UTF-8
    pa.field("size_bytes", pa.int64()),  # of the whole record
    pa.field("sha256", pa.string()),  # of the whole record, hex; null for a whole file
    pa.field("batch_id", pa.int64()),
    pa.field("quarantined_at", pa.timestamp("us", "UTC")),  # the batch's timestamp
]
#: Columns of every quarantine table.
QUARANTINE_SCHEMA = pa.schema(_QUARANTINE_FIELDS)

_LATE_FIELDS: list[pa.Field[Any]] = [
    pa.field("operator", pa.string()),  # id of the operator that dropped it
    # End of the window or session, or the raw time, that was not after the watermark.
    pa.field("event_time", pa.timestamp("us", "UTC")),
    pa.field("watermark", pa.timestamp("us", "UTC")),  # the late one: of the batch before
    pa.field("row", pa.string()),  # JSON of the operator's input columns
    pa.field("batch_id", pa.int64()),
    pa.field("late_at", pa.timestamp("us", "UTC")),  # the batch's timestamp
]
#: Columns of every late table: one row for each window that a row came too late for.
LATE_SCHEMA = pa.schema(_LATE_FIELDS)


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One batch for an engine to compute.

    Attributes:
        input: What to read.
        operators: What to compute, in order.
        output_schema: Columns and types of the result (as ``Engine.describe`` gave them).
        sink_dir: Local directory that stands for the sink table's root.
        quarantine_dir: The same for the quarantine table.
        file_prefix: Start of every file name written: batch and attempt.
        batch_id: For the quarantine's ``batch_id`` column.
        timestamp: What ``now()`` means; aware UTC.
        partition_by: Columns of the output that become directories of the sink.
        target_file_size: Bytes at which a new Parquet file is begun.
        on_bad_record: ``fail`` raises :class:`BadRecords` at the first bad record.
        max_bad_fraction: More bad records than this part of all raises :class:`BadRecords`.
    """

    input: FilesInput | TableInput
    operators: tuple[StatelessOperator, ...]
    output_schema: pa.Schema
    sink_dir: Path
    quarantine_dir: Path
    file_prefix: str
    batch_id: int
    timestamp: datetime
    partition_by: tuple[str, ...] = ()
    target_file_size: int = 128 * 1024 * 1024
    on_bad_record: Literal["quarantine", "fail"] = "quarantine"
    max_bad_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """What an engine wrote for one batch.

    Attributes:
        sink, quarantine: Files written, paths relative to the job's directories.
        rows_read: Records read, bad ones included.
        rows_written: Rows in the sink's files.
        rows_quarantined: Records set aside (a file set aside whole counts as one).
        files_read, bytes_read: Input, as stored (compressed).
        details: Anything else worth showing in progress, JSON.
    """

    sink: tuple[DataFile, ...]
    quarantine: tuple[DataFile, ...]
    rows_read: int
    rows_written: int
    rows_quarantined: int
    files_read: int
    bytes_read: int
    details: dict[str, object] = field(default_factory=dict)


class Engine(Protocol):
    """Computes batches. One instance serves one runner; not thread-safe."""

    def describe(self, schema: pa.Schema, operators: tuple[StatelessOperator, ...]) -> pa.Schema:
        """Columns and types that ``operators`` make of rows of ``schema``.

        Raises:
            ExpressionError: An expression does not bind; names the expression and the reason.
        """

    def infer(self, files: FilesInput, *, max_files: int, max_bytes: int) -> pa.Schema:
        """A schema that reads every record of a bounded sample without loss."""

    def run(self, job: BatchJob) -> BatchOutput:
        """Read, compute and write one batch; on any error no file of it is left behind."""

    def describe_plan(self, plan: Chain) -> pa.Schema:
        """Columns and types of a logical plan's result; raises as :meth:`describe`."""

    def run_stateful(self, job: StatefulJob) -> StatefulOutput:
        """Compute and write one batch of a plan that needs more than its own rows.

        On any error no file of it is left behind.
        """

    def compare(
        self,
        left: Sequence[TableFile],
        right: Sequence[TableFile],
        columns: pa.Schema,
        *,
        samples: int,
        close: Collection[str] = (),
    ) -> Comparison:
        """Hold two tables' files against each other as multisets of rows."""

    def newest(self, job: Newest) -> tuple[DataFile, ...]:
        """Write of the rows that batches gave one after another the last of each key."""

    def read(
        self, files: Sequence[TableFile], columns: pa.Schema, *, limit: int | None = None
    ) -> pa.Table:
        """Rows of a table's files, for a preview."""

    def match(self, job: MatchJob) -> Matched:
        """Hold a copy of a table against its source, key range by key range."""

    def rewrite(self, job: Rewrite) -> Rewritten:
        """Write files of a table anew without the rows that a batch replaces.

        On any error nothing that it wrote is left behind.
        """

    def pack(self, job: Packing) -> tuple[DataFile, ...]:
        """Write small files of a table as few, row for row.

        On any error nothing that it wrote is left behind.
        """

    def close(self) -> None:
        """Let go of memory and spilled data."""
