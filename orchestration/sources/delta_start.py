"""The first look at a Delta table: where a stream of it begins, and with which columns."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import SchemaError, TableLogGone, TableUnsupported
from orchestration.redaction import redact
from orchestration.sources.arrow_values import Impossible, converted
from orchestration.sources.delta_offsets import Position
from orchestration.sources.delta_table import feed_is_on
from orchestration.streams.schema import RESERVED, duckdb_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.sources.delta_log import DeltaLog
    from orchestration.sources.delta_source import DeltaSource
    from orchestration.sources.delta_table import OpenedTable

__all__ = ["Columns", "Start", "first_columns", "where_to_start"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The table's columns.

    Attributes:
        found: Column to DuckDB type; empty where one that nobody asked for has a type that is
            not known here.
        notes: What of them is not read.
    """

    found: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins.

    Attributes:
        position: The first thing to read; ``None`` while it is not there yet.
        note: What it waits for then.
    """

    position: Position | None
    note: str = ""


def first_columns(source: DeltaSource, table: OpenedTable, place: str) -> Columns:
    """The columns of a table, and whether the declared ones can be read from it.

    Raises:
        SchemaError: A declared column is not there in this way, or a column has a type that
            expressions cannot use.
        TableUnsupported: Changes are wanted, and the table keeps none.
    """
    if source.change_feed and not feed_is_on(table.configuration):
        raise TableUnsupported(
            f"{place} keeps no change data feed",
            remedy="set its property delta.enableChangeDataFeed to true: changes are kept from "
            "then on; or read its appended rows, without change_feed=True",
        )
    _check_partitions(source, table, place)
    if source.data_schema is None:
        reserved = [name for name in table.arrow().names if name.lower() in RESERVED]
        notes = [f"not read, because the names are reserved: {', '.join(reserved)}"]
        return Columns(table.columns(source.timezone), tuple(notes) if reserved else ())
    try:
        found = table.arrow()
    except SchemaError:
        return Columns({})
    notes = list(_unfit(source, source.data_schema, found, place))
    try:
        return Columns(table.columns(source.timezone or "UTC"), tuple(notes))
    except SchemaError:
        return Columns({}, tuple(notes))


def _check_partitions(source: DeltaSource, table: OpenedTable, place: str) -> None:
    """Refuse partitions by times whose zone is not UTC: the log has them as texts without one."""
    if source.timezone in {None, "UTC"} or not table.partitions:
        return
    found = table.arrow()
    for name in table.partitions:
        kind = found.field(name).type
        if pa.types.is_timestamp(kind) and kind.tz is None:
            raise SchemaError(
                f'{place} is partitioned by "{name}", a time without a zone, and '
                f"timezone={source.timezone!r} says what it means",
                remedy='only timezone="UTC" is known for partitions; or copy the table',
            )


def _unfit(source: DeltaSource, declared: pa.Schema, found: pa.Schema, place: str) -> Iterator[str]:
    """Declared columns that the table does not have yet, as notes."""
    low = {name.lower(): name for name in found.names}
    lacking = [name for name in declared.names if name not in found.names]
    for name in lacking:
        if name.lower() in low:
            raise SchemaError(
                f'{place} has the column "{low[name.lower()]}", and the schema of '
                f'delta(..., name={source.name!r}) calls it "{name}"',
                remedy="write it as the table does; rename it in a select",
            )
    if len(lacking) == len(declared):
        raise SchemaError(
            f"{place} has none of the declared columns {declared.names}; it has {found.names}",
            remedy="correct the schema of delta(...), or leave it out",
        )
    for item in declared:
        if item.name in lacking:
            continue
        kind = found.field(item.name).type
        try:
            converted(pa.array([], kind), item.type, source.timezone)
        except (Impossible, ValueError, pa.ArrowException) as error:
            raise SchemaError(
                f'{place}: the column "{item.name}" is {kind} and was declared '
                f"{duckdb_type(item.type)}: {error}",
                remedy="correct the schema of delta(...); cast it in a select. Timestamps without "
                "a zone want delta(..., timezone=...)",
            ) from error
    if lacking:
        yield f"the table has no {', '.join(lacking)} yet: null"


def where_to_start(
    source: DeltaSource, table: OpenedTable, log: DeltaLog, listing: dict[str, Any]
) -> Start:
    """Where a stream that has planned nothing begins.

    Raises:
        TableLogGone: The log does not go back that far.
    """
    if source.starting_timestamp is not None:
        return _since(source.starting_timestamp, table, log)
    wanted = source.starting_version
    if wanted is None:
        return Start(Position(table.version, 0, snapshot=True))
    if wanted == "latest":
        wanted = int(listing.get("start", table.version + 1))
    if wanted > table.version + 1:
        return Start(None, f"it begins at version {wanted}, and the table is at {table.version}")
    return Start(Position(wanted))


def _since(moment: datetime, table: OpenedTable, log: DeltaLog) -> Start:
    """The first version that was committed at a time or later."""
    versions = log.versions()
    times: dict[int, datetime] = {}

    def at(version: int) -> datetime:
        if version not in times:
            commit = log.get(version)
            micros = 0 if commit is None else commit.time_us
            times[version] = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
        return times[version]

    place = bisect_left(versions, moment, key=at)
    if place == len(versions):
        return Start(
            None,
            f"it begins with what is committed at {moment.isoformat()} or later, and version "
            f"{table.version} is older",
        )
    first = versions[place]
    if place == 0 and first > 0 and at(first) > moment:
        raise TableLogGone(
            f"the log of {redact(table.handle.table_uri)} begins at version {first}, committed at "
            f"{at(first).isoformat()}: what was committed between {moment.isoformat()} and then "
            "is not in it any more",
            remedy="begin later, or without starting_timestamp with the table as it is",
        )
    return Start(Position(first))
