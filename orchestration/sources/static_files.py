"""Static tables that are Parquet or CSV files: a directory of them, or one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.cursors.records import FileEntry
from orchestration.errors import FileChanged, SchemaError, SourceUnavailable
from orchestration.objects import Place, PlaceError
from orchestration.redaction import redact
from orchestration.sources.arrow_types import wider_type
from orchestration.sources.hive import partition_values
from orchestration.sources.inputs import FileFormat
from orchestration.sources.listing import Walk, unavailable
from orchestration.sources.static_batches import declared_batch, kept_schema, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.config import Settings
    from orchestration.cursors.records import JsonDict
    from orchestration.sources.inputs import InputFile
    from orchestration.sources.planned import OnMissing, PlannedFiles
    from orchestration.streams.static import StaticTable

__all__ = ["StaticFiles", "files_schema", "files_version", "open_files"]

_LISTED = 100  # files named one by one in every plan; of more there is a digest
_SAMPLED = 100  # files whose columns are looked at
_BATCH_ROWS = 65_536
_BLOCK = 16 * 1024 * 1024  # bytes of CSV at once: the longest row that can be read


def files_version(table: StaticTable, settings: Settings) -> JsonDict:
    """The files that are there now.

    Raises:
        SourceUnavailable: Nothing is there, or the place does not answer.
        SchemaError: It is a Delta table.
    """
    _, entries = _look(table, settings)
    if len(entries) <= _LISTED:
        return {"files": [entry.to_json() for entry in entries]}
    return {
        "count": len(entries),
        "digest": _digest(entries),
        "modified_us": max(entry.modified_us for entry in entries),
    }


def open_files(
    table: StaticTable, schema: pa.Schema, version: JsonDict, settings: Settings
) -> StaticFiles:
    """The files of a version.

    Raises:
        FileChanged: They are others now, of so many that they were not named one by one.
        SourceUnavailable: The place does not answer.
    """
    if "files" in version:
        place, _ = _place(table, settings)
        entries = tuple(FileEntry.from_json(item) for item in version["files"])
        return StaticFiles(table, schema, place, entries, settings)
    place, found = _look(table, settings)
    entries = tuple(entry for entry in found if entry.modified_us <= version["modified_us"])
    if len(entries) != version["count"] or _digest(entries) != version["digest"]:
        raise FileChanged(
            f"the files of {named(table)} in {redact(table.location)} are not those that the batch "
            f"was planned with ({version['count']:,} then, {len(entries):,} of that age now)",
            remedy="put them back and run 'headwater retry', or set the batch aside with "
            "'headwater skip --to-quarantine'; a Delta table keeps its versions",
        )
    return StaticFiles(table, schema, place, entries, settings)


def files_schema(table: StaticTable, settings: Settings) -> pa.Schema:
    """Columns of the files; those that directories such as ``country=de`` name are VARCHAR.

    Raises:
        SchemaError: There is no Parquet file, or columns do not go together.
        SourceUnavailable: Nothing is there, or the place does not answer.
    """
    from orchestration.sources.parquet_rows import parquet_footer

    place, entries = _look(table, settings)
    found: dict[str, pa.Field[Any]] = {}
    for entry in entries[:_SAMPLED]:
        footer = parquet_footer(place, entry.path)
        if footer is None:
            continue
        for item in kept_schema(table, footer.schema.to_arrow_schema()):
            before = found.setdefault(item.name, item)
            if before.type != item.type:
                kind = wider_type(item.name, before.type, item.type)
                found[item.name] = pa.field(item.name, kind)
        for name in _path_names(entry.path):
            found[name] = pa.field(name, pa.string())
    if not found:
        raise SchemaError(
            f"{named(table)}: {redact(table.location)} holds no Parquet file to take columns from",
            remedy='declare them: static(..., schema={"page": "VARCHAR"})',
        )
    return pa.schema(list(found.values()))


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """Files in the versions that were planned.

    Attributes:
        table: The table.
        schema: Its columns.
        place: Where they lie.
        entries: The files.
        settings: Where fetched ones are spooled.
    """

    table: StaticTable
    schema: pa.Schema
    place: Place
    entries: tuple[FileEntry, ...]
    settings: Settings

    def reader(self) -> pa.RecordBatchReader:
        """Their rows, one file after the other."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        paths = {self._name(entry): entry.path for entry in self.entries}
        for group in self._planned().groups():
            with group as files:
                for file in files:
                    values = partition_values(paths[file.name], self.schema.names)
                    for batch in self._rows(file, set(values)):
                        yield declared_batch(
                            self.table, self.schema, batch, file=file.name, partitions=values
                        )

    def _rows(self, file: InputFile, from_path: set[str]) -> Iterator[pa.RecordBatch]:
        try:
            if self.table.format == "csv":
                yield from self._csv(file, from_path)
            else:
                yield from self._parquet(file)
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            raise SchemaError(
                f"{named(self.table)}, {file.name}: {reason}",
                remedy="a static table is taken whole or not at all: mend the file, or declare "
                "columns that it has, in types that hold its values",
            ) from error

    def _parquet(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        wanted = {name.lower() for name in self.schema.names}
        with pq.ParquetFile(file.local) as opened:
            names = [name for name in opened.schema_arrow.names if name.lower() in wanted]
            if names:
                yield from opened.iter_batches(_BATCH_ROWS, columns=names)
                return
            for first in range(0, opened.metadata.num_rows, _BATCH_ROWS):
                rows = min(_BATCH_ROWS, opened.metadata.num_rows - first)
                yield pa.RecordBatch.from_arrays([pa.nulls(rows)], names=["headwater_none"])

    def _csv(self, file: InputFile, from_path: set[str]) -> Iterator[pa.RecordBatch]:
        from pyarrow import csv

        fields = [item for item in self.schema if item.name not in from_path]
        names = [item.name for item in fields]
        if file.size == 0:
            return
        with csv.open_csv(
            file.local,
            csv.ReadOptions(block_size=_BLOCK, column_names=None if self.table.header else names),
            csv.ParseOptions(delimiter=self.table.delimiter, newlines_in_values=True),
            csv.ConvertOptions(
                column_types={item.name: item.type for item in fields},
                include_columns=names,
                null_values=[""],
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ) as opened:
            yield from opened

    def _planned(self) -> PlannedFiles:
        on_missing: OnMissing = "fail"
        common = (
            self.place,
            self.entries,
            FileFormat("csv" if self.table.format == "csv" else "parquet"),
            self.schema,
            (),
            on_missing,
            self._name,
        )
        if self.place.is_local:
            from orchestration.sources.local_files import LocalFiles

            return LocalFiles(*common)
        from orchestration.sources.fetched_files import FetchedFiles

        return FetchedFiles(
            *common, spool_dir=self.settings.spool_dir, spool_bytes=self.settings.spool_bytes
        )

    def _name(self, entry: FileEntry) -> str:
        return redact(self.place.full_name(entry.path))


def _look(table: StaticTable, settings: Settings) -> tuple[Place, tuple[FileEntry, ...]]:
    """Where a table lies, and its files in the order of their paths."""
    place, only = _place(table, settings)
    walk = Walk(place, None, recursive=only is None)
    entries = [FileEntry(*item) for item in walk.files()]
    if only is not None:
        entries = [entry for entry in entries if entry.path == only]
    elif _is_delta(place):
        raise SchemaError(
            f"{named(table)}: {redact(table.location)} is a Delta table, whose files also hold "
            "rows that were removed",
            remedy='declare it as one: static(..., format="delta")',
        )
    if not entries and (only is not None or not place.is_local or not walk.exists):
        raise SourceUnavailable(
            f"{named(table)}: nothing is at {redact(settings.resolve_input(table.location))}",
            remedy="put the files there, or correct the location",
        )
    return place, tuple(sorted(entries, key=lambda entry: entry.path))


def _place(table: StaticTable, settings: Settings) -> tuple[Place, str | None]:
    """The directory, and the name of the file in it where the location is a file's."""
    uri = settings.resolve_input(table.location).rstrip("/")
    place = Place.open(uri)
    above, _, name = uri.rpartition("/")
    if place.is_local:
        if not place.local_path.is_file():
            return place, None
    elif not name.endswith((f".{table.format}", ".gz", ".zst")) or above in {"s3:/", "s3:"}:
        return place, None
    return Place.open(above or "/"), name


def _is_delta(place: Place) -> bool:
    if place.is_local:
        return (place.local_path / "_delta_log").is_dir()
    try:
        return next(iter(place.list("_delta_log")), None) is not None
    except PlaceError as error:
        raise unavailable(error) from error


def _path_names(path: str) -> list[str]:
    return [part.partition("=")[0] for part in path.split("/")[:-1] if "=" in part]


def _digest(entries: tuple[FileEntry, ...]) -> str:
    text = json.dumps([entry.to_json() for entry in entries], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
