"""Files as a source: JSON, CSV or Parquet in a local directory or an object store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import SchemaError
from orchestration.objects import Place
from orchestration.redaction import redact
from orchestration.sources.discovery import Discovery, same_version
from orchestration.sources.hive import partition_values
from orchestration.sources.limits import take_files
from orchestration.sources.listing import Walk
from orchestration.sources.notes import about_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry, Slice
    from orchestration.sources.base import Backlog, Limits, SourceHistory
    from orchestration.sources.inputs import FileFormat
    from orchestration.sources.planned import OnMissing, PlannedFiles

__all__ = ["FILE_FIELD", "RESCUED_FIELD", "FileSource"]

RESCUED_FIELD = pa.field("_rescued", pa.string())
FILE_FIELD = pa.field(
    "_file",
    pa.struct(
        [
            ("path", pa.string()),
            ("size", pa.int64()),
            ("modified", pa.timestamp("us", "UTC")),
            ("row", pa.int64()),
        ]
    ),
)
_SYSTEM_NAMES = (RESCUED_FIELD.name, FILE_FIELD.name)


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files that only come; made by :func:`orchestration.sources.files.files`.

    Offsets are ``{"files": n}``: how many entries of the ledger are planned. The ledger keeps
    them in the order they were planned, so a range of offsets is always the same files.

    Attributes:
        path: As declared: absolute, relative to the project, or ``s3://``.
        format: How the bytes are read.
        data_schema: Columns inside the files; ``None`` to infer them.
        partitions: Columns from the path.
        name: Unique within the query.
        glob, recursive: Which files of the directory.
        discovery: How new ones are found.
        on_missing: What becomes of a planned file that vanished.
        limits: How much a batch reads.
        on_bad_record, max_bad_fraction: What becomes of records that cannot be read.
    """

    path: str
    format: FileFormat
    data_schema: pa.Schema | None
    partitions: pa.Schema
    name: str
    glob: str | None
    recursive: bool
    discovery: Discovery
    on_missing: OnMissing
    limits: Limits
    on_bad_record: Literal["quarantine", "fail"]
    max_bad_fraction: float | None

    @property
    def schema(self) -> pa.Schema | None:
        """Columns a stream starts with; ``None`` while they are to be inferred."""
        return None if self.data_schema is None else self.complete_schema(self.data_schema)

    @property
    def description(self) -> str:
        """Format and place, without secrets."""
        pattern = f" ({self.glob})" if self.glob else ""
        return f"{self.format.name} files in {redact(self.path)}{pattern}"

    def describe(self) -> dict[str, Any]:
        """What is read and how, as JSON; ``kind``, ``path`` and ``format`` say which data."""
        from orchestration.streams.schema import schema_to_json

        schema = self.schema
        return {
            "kind": "files",
            "name": self.name,
            "path": redact(self.path),
            "format": self.format.name,
            "schema": None if schema is None else schema_to_json(schema),
            "partitions": list(self.partitions.names),
            "glob": self.glob,
            "recursive": self.recursive,
            "timezone": self.format.timezone,
        }

    def complete_schema(self, data: pa.Schema) -> pa.Schema:
        """Columns of the data, then those of the path, then ``_rescued`` and ``_file``.

        A column of the data that the path names too is the path's.
        """
        fields = [item for item in data if item.name not in self.partitions.names]
        fields += list(self.partitions)
        fields += [RESCUED_FIELD] if self.format.rescue else []
        fields += [FILE_FIELD] if self.format.metadata else []
        return pa.schema(fields)

    def poll(self, history: SourceHistory, *, clock: Clock, settings: Settings) -> Backlog:
        """List the place and compare it with the ledger."""
        walk = Walk(self._place(settings), self.glob, self.recursive)
        backlog = self.discovery.poll(walk, history, clock.now())
        notes = tuple(self._unpartitioned(backlog.files))
        return replace(backlog, notes=backlog.notes + notes) if notes else backlog

    def take(
        self, backlog: Backlog, limits: Limits, *, settings: Settings
    ) -> tuple[Slice, Backlog]:
        """Cut the next batch from the front."""
        place = self._place(settings)

        def rows(entry: FileEntry) -> int:
            from orchestration.sources.parquet_rows import count_parquet_rows

            return count_parquet_rows(place, entry.path)

        if self.format.name != "parquet":  # a trigger's limit: only Parquet knows its rows
            limits = replace(limits, max_rows=None)
        return take_files(self.name, backlog, limits, rows)

    def open(self, part: Slice, *, schema: pa.Schema | None, settings: Settings) -> PlannedFiles:
        """The slice's files, each in the version that was planned."""
        fields = self.partitions if schema is None else schema
        columns = pa.schema([item for item in fields if item.name not in _SYSTEM_NAMES])
        lacking = [name for name in self.partitions.names if name not in columns.names]
        if lacking:
            raise SchemaError(
                f"the schema to read lacks the partition columns {lacking}",
                remedy="complete an inferred schema with complete_schema()",
            )
        place = self._place(settings)
        common = (
            place,
            part.files,
            self.format,
            columns,
            tuple(self.partitions.names),
            self.on_missing,
            self.file_name,
        )
        if place.is_local:
            from orchestration.sources.local_files import LocalFiles

            return LocalFiles(*common)
        from orchestration.sources.fetched_files import FetchedFiles

        return FetchedFiles(*common, spool_dir=settings.spool_dir, spool_bytes=settings.spool_bytes)

    def whole(
        self, wanted: tuple[FileEntry, ...], *, clock: Clock, settings: Settings
    ) -> tuple[tuple[FileEntry, ...], tuple[str, ...]]:
        """Those of the wanted files that lie there as they were planned, and notes on the rest."""
        del clock
        # Without the glob: what was planned once is wanted, whatever the declaration says now.
        walk = Walk(self._place(settings), None, recursive=True)
        listed = {item[0]: item for item in walk.files()}
        present = []
        gone, rewritten = [], []
        for entry in wanted:
            found = listed.get(entry.path)
            if found is None:
                gone.append(entry.path)
            elif same_version(entry, found):
                present.append(entry)
            else:
                rewritten.append(entry.path)
        notes = []
        if gone:
            notes.append(about_files(gone, "is gone since", "are gone since"))
        if rewritten:
            notes.append(about_files(rewritten, "was rewritten since", "were rewritten since"))
        return tuple(present), tuple(notes)

    def lasting(self, listing: dict[str, Any]) -> dict[str, Any]:
        """The files that ``include_existing=False`` left out.

        Looked for anew, every file that came since would be left out with them.
        """
        return {"existing": listing["existing"]} if "existing" in listing else {}

    def file_name(self, entry: FileEntry) -> str:
        """The declared path and the file's own below it."""
        return f"{self.path}/{entry.path}"

    def acknowledge(self, part: Slice) -> None:
        """Nothing to do: files stay where they are."""

    def _place(self, settings: Settings) -> Place:
        return Place.open(settings.resolve_input(self.path))

    def _unpartitioned(self, entries: tuple[FileEntry, ...]) -> Iterator[str]:
        names = self.partitions.names
        if not names:
            return
        for name in names:
            paths = [
                item.path for item in entries if name not in partition_values(item.path, names)
            ]
            if paths:
                text = f"no directory {name}=… on the path, so {name} is null"
                yield about_files(paths, f"has {text}", f"have {text}")
