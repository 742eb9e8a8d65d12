"""Static tables: which version there is now, and the rows of a version, as often as asked.

A batch's plan says which version of each table it reads, as JSON, so that a batch that is run
again reads the same:

- Delta: the table's id and the version's number;
- files: path, size, modification time and etag of each; of many files their number, a digest of
  all that, and the last modification time, so that files that came later do not disturb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.config import Settings
    from orchestration.cursors.records import JsonDict
    from orchestration.streams.static import StaticTable

__all__ = ["StaticRows", "infer_static_schema", "open_static", "resolve"]


class StaticRows(Protocol):
    """A static table at one version."""

    def reader(self) -> pa.RecordBatchReader:
        """Its rows, streamed, as often as asked; columns of the declared types.

        While they are read:

        Raises:
            SchemaError: A value does not fit its column without loss; names file and column.
            FileChanged, FileMissing: What was planned is not there any more.
            SourceUnavailable: The place does not answer.
        """


def resolve(table: StaticTable, settings: Settings) -> JsonDict:
    """The version of a table as it is now; goes into a plan.

    Raises:
        SourceUnavailable: Nothing is there, or the place does not answer.
        SchemaError: What is there is of another format.
    """
    if table.format == "delta":
        from orchestration.sources.delta import delta_version

        return delta_version(table, settings)
    from orchestration.sources.static_files import files_version

    return files_version(table, settings)


def open_static(table: StaticTable, version: JsonDict, settings: Settings) -> StaticRows:
    """A table at a version that :func:`resolve` gave.

    Raises:
        FileChanged, FileMissing: That version is not there any more.
        SourceUnavailable: The place does not answer.
    """
    schema = infer_static_schema(table, settings)
    if table.format == "delta":
        from orchestration.sources.delta import DeltaRows

        return DeltaRows(table, schema, version, settings)
    from orchestration.sources.static_files import open_files

    return open_files(table, schema, version, settings)


def infer_static_schema(table: StaticTable, settings: Settings) -> pa.Schema:
    """Its columns: those that were declared, else those that it has now.

    Raises:
        SchemaError: There are none, or of types that no table keeps.
        SourceUnavailable: Nothing is there, or the place does not answer.
    """
    if table.schema is not None:
        return table.schema
    if table.format == "delta":
        from orchestration.sources.delta import delta_schema

        return delta_schema(table, settings)
    from orchestration.sources.static_files import files_schema

    return files_schema(table, settings)
