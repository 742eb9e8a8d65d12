"""Step 4 of the protocol: run the engine over one planned range and keep what it wrote."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.cursors.records import TableChanges
from orchestration.engine.base import BatchJob, BatchOutput
from orchestration.errors import SinkUnavailable
from orchestration.objects import PlaceError
from orchestration.redaction import redact
from orchestration.runtime.set_aside import write_set_aside
from orchestration.sinks.actions import check_data_file
from orchestration.sinks.durability import sync_files
from orchestration.sources.base import FileFormat, FilesInput, InputFile, TableInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from orchestration.cursors.records import DataFile, JsonDict, Plan
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import SinkTable

__all__ = [
    "Written",
    "directories",
    "keep",
    "run_batch",
    "set_range_aside",
    "set_vanished_aside",
    "skip_batch",
    "watch",
]

_UPLOADS = 4  # at once; more gains nothing on one connection pool of a laptop or a small VM


@dataclass(frozen=True, slots=True)
class Written:
    """What one attempt wrote, lying where its tables are.

    Attributes:
        tables: Role to what the batch does to that table, as the seal will say.
        rows_read, rows_quarantined, files_read, bytes_read: Over all sources.
        details: Anything else worth showing.
        sources: Source to its rows and bytes, where there are several.
        event_time, state: For the seal; see :class:`~orchestration.cursors.records.Seal`.
        operators: Progress of each stateful operator.
        seen_us: Watermark id to the greatest event time among the batch's rows.
    """

    tables: dict[str, TableChanges]
    rows_read: int
    rows_quarantined: int
    files_read: int
    bytes_read: int
    details: dict[str, object]
    sources: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    event_time: JsonDict = field(default_factory=dict)
    state: str | None = None
    operators: tuple[JsonDict, ...] = ()
    seen_us: Mapping[str, int] = field(default_factory=dict)

    @property
    def given(self) -> tuple[DataFile, ...]:
        """Files with the rows that the batch gives to the sink."""
        return self.tables["sink"].given

    def of_source(self, name: str) -> tuple[int, int]:
        """Rows and bytes read from one source."""
        return self.sources.get(name, (0, 0)) if self.sources else (self.rows_read, self.bytes_read)


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
    watched = watch(given, reach)
    if isinstance(given, TableInput):
        reach("during_write")
    with directories(session, prefix) as places:
        sink_dir, quarantine_dir = places["sink"], places["quarantine"]
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
        vanished = set_vanished_aside([given], plan, prefix, quarantine_dir)
        quarantine += vanished
        keep(session.sink_table, sink_dir, output.sink)
        keep(session.quarantine_table, quarantine_dir, quarantine)
    return _written(output, quarantine, sum(item.rows for item in vanished))


def skip_batch(session: Session, plan: Plan, prefix: str, reason: str) -> Written:
    """Set the whole planned range aside instead of reading it (``skip --to-quarantine``)."""
    with directories(session, prefix) as places:
        quarantine = set_range_aside(session, plan, prefix, places["quarantine"], reason)
        keep(session.quarantine_table, places["quarantine"], quarantine)
    rows = sum(item.rows for item in quarantine)
    files = sum(len(part.files) for part in plan.slices)
    tables = {"quarantine": TableChanges(quarantine), "sink": TableChanges()}
    return Written(tables, 0, rows, files, 0, {})


def set_range_aside(
    session: Session, plan: Plan, prefix: str, directory: Path, reason: str
) -> tuple[DataFile, ...]:
    """Write a quarantine row for every planned file, or for each range without files."""
    names: list[tuple[str, int | None]] = []
    for part in plan.slices:
        source = session.sources.get(part.source)
        if part.files:
            names += [
                (source.file_name(item) if source else item.path, item.size) for item in part.files
            ]
        elif part.start != part.end or len(plan.slices) == 1:
            names.append((f"{part.source} {part.start} to {part.end}", None))
    if not names:
        return ()
    return (
        write_set_aside(
            directory,
            f"{prefix}-skipped.parquet",
            names,
            reason=reason,
            batch_id=plan.batch_id,
            timestamp=plan.timestamp,
        ),
    )


def set_vanished_aside(
    given: Iterable[FilesInput | TableInput], plan: Plan, prefix: str, directory: Path
) -> tuple[DataFile, ...]:
    """Write a quarantine row for every file that was planned and then was not there."""
    names = [name for item in given if not isinstance(item, TableInput) for name in item.missing]
    if not names:
        return ()
    return (
        write_set_aside(
            directory,
            f"{prefix}-vanished.parquet",
            [(name, None) for name in names],
            reason="the file vanished between planning and reading",
            batch_id=plan.batch_id,
            timestamp=plan.timestamp,
        ),
    )


def _written(output: BatchOutput, quarantine: tuple[DataFile, ...], vanished: int) -> Written:
    return Written(
        {"quarantine": TableChanges(quarantine), "sink": TableChanges(output.sink)},
        output.rows_read,
        output.rows_quarantined + vanished,
        output.files_read,
        output.bytes_read,
        dict(output.details),
    )


@contextmanager
def directories(session: Session, prefix: str) -> Iterator[dict[str, Path]]:
    """By role, where the engine writes: the tables' own directories, or a stage to upload from."""
    stage = session.settings.spool_dir / f"stage-{session.query.name}-{prefix}"

    def directory(table: SinkTable, name: str) -> Path:
        place = table.place.local_path if table.place.is_local else stage / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    try:
        yield {role: directory(table, role) for role, table in session.tables.items()}
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


def watch(given: FilesInput | TableInput, reach: Reach) -> FilesInput | TableInput:
    """The same input, which says when the first of its groups was read: the batch is mid-way."""
    return given if isinstance(given, TableInput) else _Watched(given, reach)


class _Watched:
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
