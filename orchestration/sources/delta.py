"""Delta tables as static tables, at one version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from orchestration.errors import FileChanged, FileMissing, SchemaError, SourceUnavailable
from orchestration.objects import storage_options
from orchestration.redaction import redact
from orchestration.sources.static_batches import declared_batch, kept_schema, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deltalake import DeltaTable

    from orchestration.config import Settings
    from orchestration.cursors.records import JsonDict
    from orchestration.streams.static import StaticTable

__all__ = ["DeltaRows", "delta_schema", "delta_version"]


def delta_version(table: StaticTable, settings: Settings) -> JsonDict:
    """The newest version.

    Raises:
        SourceUnavailable: There is no Delta table, or the place does not answer.
    """
    found = _open(table, settings)
    return {"version": int(found.version()), "table_id": str(found.metadata().id)}


def delta_schema(table: StaticTable, settings: Settings) -> pa.Schema:
    """Columns of the newest version.

    Raises:
        SchemaError: One has a type that expressions cannot use.
        SourceUnavailable: There is no Delta table, or the place does not answer.
    """
    return kept_schema(table, _columns(_open(table, settings)))


@dataclass(frozen=True, slots=True)
class DeltaRows:
    """A Delta table at one version.

    Attributes:
        table: The table.
        schema: Its columns.
        version: Its number and the table's id.
        settings: What relative locations are relative to.
    """

    table: StaticTable
    schema: pa.Schema
    version: JsonDict
    settings: Settings

    def reader(self) -> pa.RecordBatchReader:
        """Its rows, streamed by delta-rs: deleted rows left out, partition columns filled in."""
        found = _open(self.table, self.settings, self.version["version"])
        place = redact(self.settings.resolve_input(self.table.location))
        if str(found.metadata().id) != self.version["table_id"]:
            raise FileChanged(
                f"{named(self.table)}: {place} is another table than the one that the batch was "
                f"planned with: its id is {found.metadata().id}, and was "
                f"{self.version['table_id']}",
                remedy="put the table back and run 'headwater retry', or set the batch aside with "
                "'headwater skip --to-quarantine'",
            )
        names = _matching(_columns(found).names, self.schema.names)
        if not names:
            raise SchemaError(
                f"{named(self.table)}: {place} has none of the declared columns "
                f"{self.schema.names}; it has {_columns(found).names}",
                remedy="correct the schema of static(...)",
            )
        return pa.RecordBatchReader.from_batches(self.schema, self._batches(found, names, place))

    def _batches(self, found: DeltaTable, names: list[str], place: str) -> Iterator[pa.RecordBatch]:
        number = self.version["version"]
        try:
            for batch in pa.RecordBatchReader.from_stream(found.scan(columns=names)):
                yield declared_batch(
                    self.table, self.schema, batch, file=f"{place} version {number}"
                )
        except (pa.ArrowException, OSError) as error:
            text = redact(str(error).split("\n", maxsplit=1)[0])
            if "NoSuchKey" in text or "not found" in text.lower() or "No such file" in text:
                raise FileMissing(
                    f"{named(self.table)}: files of version {number} of {place} are gone: {text}",
                    remedy="keep files longer than batches wait: a vacuum took them. 'headwater "
                    "skip --to-quarantine' sets the batch aside",
                ) from error
            raise SourceUnavailable(
                f"{named(self.table)}: {place} cannot be read: {text}",
                remedy="check that the store is reachable and its credentials may read it",
            ) from error


def _open(table: StaticTable, settings: Settings, version: int | None = None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    uri = settings.resolve_input(table.location).rstrip("/")
    place = redact(uri)
    if "%" in uri:
        # delta-rs decodes the path of a table in one place and not in another.
        raise SourceUnavailable(
            f"{named(table)}: {place} cannot be read: delta-rs reads '%' as an escape",
            remedy="give the table a path without '%'",
        )
    try:
        return DeltaTable(uri, version=version, storage_options=storage_options(uri))
    except TableNotFoundError as error:
        raise SourceUnavailable(
            f"{named(table)}: there is no Delta table at {place}",
            remedy='write it, correct the location, or declare format="parquet"',
        ) from error
    except (DeltaError, OSError, ValueError) as error:
        text = redact(str(error).split("\n", maxsplit=1)[0])
        if version is not None and "version" in text:
            raise FileMissing(
                f"{named(table)}: version {version} of {place} is not there any more: {text}",
                remedy="keep its log longer (delta.logRetentionDuration); 'headwater skip "
                "--to-quarantine' sets the batch aside",
            ) from error
        raise SourceUnavailable(
            f"{named(table)}: Delta table {place} cannot be opened: {text}",
            remedy="check that the store is reachable and its credentials may read it",
        ) from error


def _columns(found: DeltaTable) -> pa.Schema:
    return pa.schema(cast("Any", found.schema().to_arrow()))


def _matching(there: list[str], wanted: list[str]) -> list[str]:
    low = {name.lower() for name in wanted}
    return [name for name in there if name.lower() in low]
