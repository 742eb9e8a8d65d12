"""A Delta table opened by delta-rs: what it is, and the files of one version of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import pyarrow as pa

from orchestration.errors import SchemaError, SourceUnavailable, TableLogGone, TableUnsupported
from orchestration.objects import PlaceError, storage_options
from orchestration.redaction import redact
from orchestration.sources.arrow_types import kept_type
from orchestration.sources.delta_commit import LoggedFile
from orchestration.sources.listing import unavailable
from orchestration.streams.schema import RESERVED, schema_to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from deltalake import DeltaTable

__all__ = [
    "OpenedTable",
    "check_readable",
    "columns_of",
    "feed_is_on",
    "log_retention",
    "open_table",
]

# What a reader has to understand, and this one does, or need not because it refuses the files.
_UNDERSTOOD = {
    "columnMapping",  # by name; by id it is refused, by the table's properties
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "variantType",  # delta-rs names it where no column is of it; one that is has no type here
    "vacuumProtocolCheck",
}
_INTERVAL = re.compile(r"(?:interval\s+)?(\d+)\s+(second|minute|hour|day|week)s?", re.IGNORECASE)
_DEFAULT_RETENTION = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """A table at one version.

    Attributes:
        handle: delta-rs's own.
        version: The version.
        table_id: Its id.
        partitions: Columns that stand in the log instead of the files.
        configuration: Its properties.
    """

    handle: DeltaTable
    version: int
    table_id: str
    partitions: tuple[str, ...]
    configuration: Mapping[str, str]

    def columns(self, timezone: str | None) -> dict[str, str]:
        """Column to DuckDB type, without those whose names are ours."""
        return columns_of(self.handle.schema().to_json(), timezone)

    def arrow(self) -> pa.Schema:
        """Its columns as Arrow has them.

        Raises:
            SchemaError: One has a type that nothing here reads.
        """
        from deltalake import Schema

        return pa.schema(list(_readable(self.handle.schema().to_json(), Schema)))

    def files(self) -> list[LoggedFile]:
        """Its files, the oldest first, in an order that is always the same."""
        actions: Any = pa.table(cast("Any", self.handle.get_add_actions(flatten=False)))
        names = ["path", "size_bytes", "modification_time", "num_records"]
        columns = [actions.column(name).to_pylist() for name in names]
        values = (
            actions.column("partition").to_pylist()
            if "partition" in actions.column_names
            else [{}] * actions.num_rows
        )
        vectors = self.vectors({unquote(path) for path in columns[0]})
        files = [
            LoggedFile(
                unquote(path),
                int(size),
                int(modified) * 1000,
                None if rows is None else int(rows),
                {name: _text(value) for name, value in (partition or {}).items()},
                vector=unquote(path) in vectors,
            )
            for path, size, modified, rows, partition in zip(*columns, values, strict=True)
        ]
        return sorted(files, key=lambda item: (item.modified_us, item.path))

    def vectors(self, wanted: Collection[str]) -> dict[str, Any]:
        """Of these files those with rows that are marked as deleted, and which are still there.

        Args:
            wanted: Paths as :meth:`files` gives them.

        Returns:
            Path to a truth value for each row; rows after the last one are there.
        """
        if "deletionVectors" not in (self.handle.protocol().reader_features or ()):
            return {}
        found: dict[str, Any] = {}
        for batch in pa.RecordBatchReader.from_stream(cast("Any", self.handle.deletion_vectors())):
            for uri, rows in zip(batch.column(0).to_pylist(), batch.column(1), strict=True):
                path = _below(str(uri), wanted)
                if path is not None:
                    found[path] = rows.values
        return found


def open_table(uri: str, version: int | None = None) -> OpenedTable | None:
    """Open a table; ``None`` where there is none.

    Args:
        uri: Absolute path or ``s3://`` URI.
        version: Which one; ``None`` for the newest.

    Raises:
        SourceUnavailable: It does not answer.
        TableLogGone: That version cannot be put together any more.
        TableUnsupported: It needs what we cannot do.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    place = redact(uri)
    if "%" in uri:
        # delta-rs decodes the path of a table in one place and not in another.
        raise SourceUnavailable(
            f"{place} cannot be read: delta-rs reads '%' as an escape",
            remedy="give the table a path without '%'",
        )
    try:
        handle = DeltaTable(uri, version=version, storage_options=storage_options(uri))
    except TableNotFoundError:
        return None
    except PlaceError as error:
        raise unavailable(error) from error
    except (DeltaError, OSError, ValueError) as error:
        text = redact(str(error).split("\n", maxsplit=1)[0])
        low = text.lower()
        if version is not None and ("version" in low or "not found" in low):
            raise TableLogGone(
                f"version {version} of {place} cannot be put together any more: {text}",
                remedy="'headwater reset' starts anew from the table as it is now; keep the log "
                "longer (delta.logRetentionDuration), or read more often",
            ) from error
        if "feature" in low or "unsupported" in low:
            raise TableUnsupported(
                f"{place} needs what this reader cannot do: {text}",
                remedy="drop the feature from the table, or copy the table",
            ) from error
        raise SourceUnavailable(
            f"Delta table {place} cannot be opened: {text}",
            remedy="check that the store is reachable and its credentials may read it",
        ) from error
    metadata, protocol = handle.metadata(), handle.protocol()
    configuration = dict(metadata.configuration)
    check_readable(place, int(handle.version()), protocol.reader_features or (), configuration)
    return OpenedTable(
        handle,
        int(handle.version()),
        str(metadata.id),
        tuple(metadata.partition_columns),
        configuration,
    )


def check_readable(
    place: str, version: int, features: Iterable[str], configuration: Mapping[str, str]
) -> None:
    """Refuse what would be read wrongly.

    Raises:
        TableUnsupported: The table maps its columns by numbers, or has a feature that we do not
            know.
    """
    mode = configuration.get("delta.columnMapping.mode", "none")
    if mode not in {"none", "name"}:
        raise TableUnsupported(
            f"{place} maps its columns to those of its files by {mode} (column mapping, "
            f"version {version})",
            remedy="read it whole with static(...), or copy it into a table without column mapping",
        )
    strange = sorted(set(features) - _UNDERSTOOD)
    if strange:
        raise TableUnsupported(
            f"version {version} of {place} needs readers that know {', '.join(strange)}",
            remedy="drop the feature from the table, or copy the table without it",
        )


def columns_of(schema: str, timezone: str | None) -> dict[str, str]:
    """Column to DuckDB type of a schema in Delta's JSON; without names that are ours.

    Raises:
        SchemaError: A column has a type that expressions cannot use, or timestamps without a
            zone where none was declared.
    """
    from deltalake import Schema

    fields: list[pa.Field[Any]] = []
    for item in _readable(schema, Schema):
        if item.name.lower() in RESERVED:
            continue
        if pa.types.is_timestamp(item.type) and item.type.tz is None and timezone is None:
            raise SchemaError(
                f'the timestamps of column "{item.name}" name no time zone (TIMESTAMP_NTZ)',
                remedy='say what they mean: delta(..., timezone="UTC"); or declare a schema '
                "without the column",
            )
        fields.append(pa.field(item.name, kept_type(item.name, item.type)))
    return schema_to_json(pa.schema(fields))


def _readable(schema: str, parser: Any) -> Iterator[pa.Field[Any]]:
    try:
        yield from pa.schema(cast("Any", parser.from_json(schema).to_arrow()))
    except (ValueError, TypeError) as error:
        kinds = sorted({str(item.get("type")) for item in json.loads(schema)["fields"]})
        raise SchemaError(
            f"the table's columns cannot be read: {error} (types: {', '.join(kinds)})",
            remedy="declare a schema without the column",
        ) from error


def log_retention(configuration: Mapping[str, str]) -> timedelta:
    """How long the table keeps its log."""
    text = configuration.get("delta.logRetentionDuration", "")
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        return _DEFAULT_RETENTION
    return timedelta(**{f"{match[2].lower()}s": int(match[1])})


def feed_is_on(configuration: Mapping[str, str]) -> bool:
    """Whether the table keeps a change data feed."""
    return configuration.get("delta.enableChangeDataFeed", "").lower() == "true"


def _text(value: Any) -> str | None:
    """A partition's value as Delta's log has it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)


def _below(uri: str, wanted: Collection[str]) -> str | None:
    """The wanted path that a URI ends with."""
    parts = unquote(uri).split("/")
    for begin in range(len(parts) - 1, -1, -1):
        path = "/".join(parts[begin:])
        if path in wanted:
            return path
    return None
