"""The data files of a slice of a Delta table, with the columns that stand in its log."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import FileMissing
from orchestration.sources.delta_offsets import Marks
from orchestration.sources.fetched_files import FetchedFiles
from orchestration.sources.inputs import FileFormat, InputFile
from orchestration.sources.local_files import LocalFiles

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry
    from orchestration.objects import Place
    from orchestration.sources.delta_names import Named
    from orchestration.sources.planned import PlannedFiles

__all__ = ["delta_files", "partition_texts"]

_ZONELESS = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?")

Values = dict[str, dict[str, str | None]]


def delta_files(
    place: Place,
    files: tuple[FileEntry, ...],
    format: FileFormat,  # noqa: A002 - as everywhere
    schema: pa.Schema,
    settings: Settings,
    names: Mapping[str, Named] | None = None,
) -> PlannedFiles:
    """What an engine reads for these files of the ledger.

    Args:
        place: The table's root.
        files: With their marks.
        format: Parquet.
        schema: Columns to read; those that the log names are taken from it.
        settings: Where fetched files may lie.
        names: Name in the files to the table's column, where they are others.
    """
    given = [_named(Marks.of(entry).partitions, names or {}) for entry in files]
    logged = {name.lower() for item in given for name in item}
    columns = tuple(name for name in schema.names if name.lower() in logged)
    values = {
        entry.path: partition_texts(item, schema, columns)
        for entry, item in zip(files, given, strict=True)
    }
    plain = tuple(replace(entry, etag=None) for entry in files)
    common: tuple[Any, ...] = (
        place,
        plain,
        format,
        schema,
        columns,
        "fail",
        lambda entry: place.full_name(entry.path),
    )
    if place.is_local:
        return _Local(*common, values=values)
    return _Fetched(
        *common,
        values=values,
        spool_dir=settings.spool_dir,
        spool_bytes=settings.spool_bytes,
    )


def partition_texts(
    given: dict[str, str | None], schema: pa.Schema, columns: tuple[str, ...]
) -> dict[str, str | None]:
    """The log's texts as a reader of files takes them: an empty one is null, times are UTC."""
    low = {name.lower(): text for name, text in given.items()}
    found: dict[str, str | None] = {}
    for name in columns:
        text = low.get(name.lower()) or None
        zoned = pa.types.is_timestamp(schema.field(name).type)
        if text is not None and zoned and _ZONELESS.fullmatch(text):
            text = f"{text.replace(' ', 'T')}Z"
        found[name] = text
    return found


def _named(given: dict[str, str | None], names: Mapping[str, Named]) -> dict[str, str | None]:
    """By the table's names: the log has those of the files."""
    return {names[name].name if name in names else name: text for name, text in given.items()}


def _gone(name: str, entry: FileEntry) -> FileMissing:
    return FileMissing(
        f"{name} was planned ({entry.size} bytes) and is not there any more: a vacuum took it, "
        "because a later version of the table does not need it",
        remedy="choose: bring it back and run 'headwater retry'; set the batch aside with "
        "'headwater skip --to-quarantine', whose rows are then missing; or 'headwater reset', "
        "which reads the table as it is now. Keep removed files longer "
        "(delta.deletedFileRetentionDuration) than batches wait",
    )


@dataclass(slots=True)
class _Local(LocalFiles):
    values: Values = field(kw_only=True)

    def input_file(self, entry: FileEntry, local: Path) -> InputFile:
        return InputFile(
            local, self.file_name(entry), entry.size, entry.modified, self.values[entry.path]
        )

    def vanished(self, entry: FileEntry) -> None:
        raise _gone(self.file_name(entry), entry)

    def _compare(self, entry: FileEntry, status: os.stat_result) -> None:
        # A file of a table never changes, and a copied table has other times.
        if not stat.S_ISREG(status.st_mode):
            raise self.changed(entry, "it is not a regular file any more")
        if entry.size and status.st_size != entry.size:
            raise self.changed(entry, f"{status.st_size} bytes")


@dataclass(slots=True)
class _Fetched(FetchedFiles):
    values: Values = field(kw_only=True)

    def input_file(self, entry: FileEntry, local: Path) -> InputFile:
        return InputFile(
            local, self.file_name(entry), entry.size, entry.modified, self.values[entry.path]
        )

    def vanished(self, entry: FileEntry) -> None:
        raise _gone(self.file_name(entry), entry)
