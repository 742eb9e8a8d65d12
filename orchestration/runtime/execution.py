"""Step 4 of the protocol: run the engine over one planned range and keep what it wrote."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.base import BatchJob, BatchOutput
from orchestration.errors import SinkUnavailable
from orchestration.objects import PlaceError
from orchestration.redaction import redact
from orchestration.runtime.set_aside import write_set_aside
from orchestration.sinks.actions import check_data_file
from orchestration.sinks.durability import sync_files
from orchestration.sources.base import FileFormat, FilesInput, InputFile, TableInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from orchestration.cursors.records import DataFile, Plan
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import SinkTable

__all__ = ["Written", "keep", "run_batch", "skip_batch"]

_UPLOADS = 4  # at once; more gains nothing on one connection pool of a laptop or a small VM


@dataclass(frozen=True, slots=True)
class Written:
    """What one attempt wrote, lying where its tables are."""

    sink: tuple[DataFile, ...]
    quarantine: tuple[DataFile, ...]
    rows_read: int
    rows_quarantined: int
    files_read: int
    bytes_read: int
    details: dict[str, object]


def run_batch(session: Session, plan: Plan, prefix: str, reach: Reach) -> Written:
    """Read exactly the planned range, compute it, and write the files of every table.

    Args:
        session: The opened query.
        plan: What to read.
        prefix: Start of every file name: batch and attempt.
        reach: Crash points.

    Raises:
        SourceError, BadRecords, ExpressionError: Nothing of this attempt is left.
    """
    (part,) = plan.slices
    source = session.source
    given = source.open(part, schema=session.data_schema, settings=session.settings)
    watched = _Watched(given, reach) if not isinstance(given, TableInput) else given
    if isinstance(given, TableInput):
        reach("during_write")
    with _directories(session, prefix) as (sink_dir, quarantine_dir):
        output = session.engine.run(
            BatchJob(
                input=watched,
                operators=session.stream.operators,
                output_schema=session.output_schema,
                sink_dir=sink_dir,
                quarantine_dir=quarantine_dir,
                file_prefix=prefix,
                batch_id=plan.batch_id,
                timestamp=plan.timestamp,
                partition_by=session.query.sink.partition_by,
                target_file_size=session.query.sink.target_file_size,
                on_bad_record=source.on_bad_record,
                max_bad_fraction=source.max_bad_fraction,
            )
        )
        quarantine = output.quarantine
        vanished = () if isinstance(given, TableInput) else tuple(given.missing)
        if vanished:
            quarantine += (
                write_set_aside(
                    quarantine_dir,
                    f"{prefix}-vanished.parquet",
                    [(name, None) for name in vanished],
                    reason="the file vanished between planning and reading",
                    batch_id=plan.batch_id,
                    timestamp=plan.timestamp,
                ),
            )
        keep(session.sink_table, sink_dir, output.sink)
        keep(session.quarantine_table, quarantine_dir, quarantine)
    return _written(output, quarantine, len(vanished))


def skip_batch(session: Session, plan: Plan, prefix: str, reason: str) -> Written:
    """Set the whole planned range aside instead of reading it (``skip --to-quarantine``)."""
    (part,) = plan.slices
    names: list[tuple[str, int | None]] = [
        (session.source.file_name(item), item.size) for item in part.files
    ]
    if not names:
        names = [(f"{part.source} {part.start} to {part.end}", None)]
    with _directories(session, prefix) as (_, quarantine_dir):
        quarantine = (
            write_set_aside(
                quarantine_dir,
                f"{prefix}-skipped.parquet",
                names,
                reason=reason,
                batch_id=plan.batch_id,
                timestamp=plan.timestamp,
            ),
        )
        keep(session.quarantine_table, quarantine_dir, quarantine)
    return Written((), quarantine, 0, len(names), len(part.files), 0, {})


def _written(output: BatchOutput, quarantine: tuple[DataFile, ...], vanished: int) -> Written:
    return Written(
        output.sink,
        quarantine,
        output.rows_read,
        output.rows_quarantined + vanished,
        output.files_read,
        output.bytes_read,
        dict(output.details),
    )


@contextmanager
def _directories(session: Session, prefix: str) -> Iterator[tuple[Path, Path]]:
    """Where the engine writes: the tables' own directories, or a stage to upload from."""
    stage = session.settings.spool_dir / f"stage-{session.query.name}-{prefix}"

    def directory(table: SinkTable, name: str) -> Path:
        place = table.place.local_path if table.place.is_local else stage / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    try:
        yield (
            directory(session.sink_table, "sink"),
            directory(session.quarantine_table, "quarantine"),
        )
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def keep(table: SinkTable, directory: Path, files: Sequence[DataFile]) -> None:
    """Flush or upload written files, so that a seal never names one that can be lost.

    Raises:
        SinkError: A file does not fit the table. Found after the seal, it would block for ever.
        SinkUnavailable: The table's place cannot be written to.
    """
    for item in files:
        check_data_file(item, table.schema, table.partition_by)
    if not files:
        return
    if table.place.is_local:
        sync_files(directory, [item.path for item in files])
        return
    with ThreadPoolExecutor(_UPLOADS) as pool:
        uploads = [
            pool.submit(table.place.upload, directory / item.path, item.path) for item in files
        ]
        try:
            for upload in uploads:
                upload.result()
        except PlaceError as error:
            raise SinkUnavailable(
                f"files cannot be written to {redact(table.uri)}: {error.args[0]}",
                remedy="check the store and its credentials; the next run writes them again",
            ) from error


class _Watched:
    """A files input that says when the first of its groups was read: the batch is mid-way."""

    def __init__(self, given: FilesInput, reach: Reach) -> None:
        self._given = given
        self._reach = reach

    @property
    def format(self) -> FileFormat:
        return self._given.format

    @property
    def schema(self) -> pa.Schema:
        return self._given.schema

    @property
    def partition_columns(self) -> tuple[str, ...]:
        return self._given.partition_columns

    @property
    def missing(self) -> Sequence[str]:
        return self._given.missing

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        for group in self._given.groups():
            yield self._group(group)

    @contextmanager
    def _group(
        self, group: AbstractContextManager[Sequence[InputFile]]
    ) -> Iterator[Sequence[InputFile]]:
        with group as files:
            yield files
            self._reach("during_write")
