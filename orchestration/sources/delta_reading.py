"""The files of a slice for an engine: as they lie, or written anew where that is not enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.errors import FileMissing, TableLogGone
from orchestration.objects import Place
from orchestration.redaction import redact
from orchestration.sources.delta_offsets import Marks
from orchestration.sources.delta_table import open_table
from orchestration.sources.inputs import FileFormat

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry
    from orchestration.sources.delta_names import Named
    from orchestration.sources.delta_source import DeltaSource
    from orchestration.sources.inputs import FilesInput

__all__ = ["open_files", "vectors_of"]


def open_files(
    source: DeltaSource, files: tuple[FileEntry, ...], schema: pa.Schema, settings: Settings
) -> FilesInput:
    """What an engine reads for these files of the ledger.

    Raises:
        FileMissing: Which of their rows are deleted is not to be found any more.
    """
    uri = source.table_uri(settings)
    common = (
        Place.open(uri),
        files,
        FileFormat("parquet", timezone=source.timezone),
        schema,
        settings,
    )
    vectors, names = vectors_of(uri, files), _names_of(uri, files)
    if source.change_feed:
        from orchestration.sources.delta_feed import FeedFiles

        return FeedFiles(
            *common, vectors, names, preimages=source.preimages, table=redact(source.table)
        )
    if vectors or names:
        from orchestration.sources.delta_rewritten import VectorFiles

        return VectorFiles(*common, vectors, names)
    from orchestration.sources.delta_files import delta_files

    return delta_files(*common)


def vectors_of(uri: str, files: tuple[FileEntry, ...]) -> dict[str, Any]:
    """Of the files that were there at the start, which rows are not marked as deleted.

    Raises:
        FileMissing: The log does not tell any more.
    """
    wanted = {entry.path: marks for entry in files if (marks := Marks.of(entry)).vector}
    if not wanted:
        return {}
    cause: TableLogGone | None = None
    version = next(iter(wanted.values())).position.version
    try:
        table = open_table(uri, version)
    except TableLogGone as error:
        table, cause = None, error
    found = {} if table is None else table.vectors(wanted)
    if len(found) < len(wanted):
        raise FileMissing(
            f"which rows of {len(wanted)} files of version {version} of {redact(uri)} are deleted "
            "is not to be found any more",
            remedy="'headwater reset' reads the table as it is now, or set the batch aside with "
            "'headwater skip --to-quarantine'",
        ) from cause
    return found


def _names_of(uri: str, files: tuple[FileEntry, ...]) -> dict[str, Named]:
    """Name in the files to the table's column, where they are others."""
    marks = [item for item in map(Marks.of, files) if item.mapped]
    if not marks:
        return {}
    from orchestration.sources.delta_names import names_of

    try:
        # As of then: a column that was dropped and added again has another name in the files.
        table = open_table(uri, max(item.position.version for item in marks))
    except TableLogGone:
        table = open_table(uri)
    return {} if table is None else names_of(table.handle.schema().to_json())
