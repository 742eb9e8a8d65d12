"""``debezium(files(...))`` and its like: files of changes as a source of one format.

What is written here is declared; the reading is in ``engine/cdc``. The files are found, planned,
limited and set aside as those of any file source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import DeclarationError, SchemaError
from orchestration.redaction import redact
from orchestration.sources.cdc_format import CHANGE_FIELDS, CHANGE_NAMES, ChangeFormat, TimeUnit
from orchestration.sources.file_source import FileSource
from orchestration.sources.options import check_one_of, check_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ChangeFiles", "canal", "debezium", "dms", "maxwell"]

_Decimals = Literal["precise", "string"]
_Binary = Literal["base64", "hex"]
_Snapshots = Literal["first", "placed"]


@dataclass(frozen=True, slots=True)
class ChangeFiles(FileSource):
    """Files of changes; made by :func:`debezium`, :func:`maxwell`, :func:`canal`, :func:`dms`."""

    @property
    def changes(self) -> ChangeFormat:
        """How their records are read."""
        found = self.format.changes
        if found is None:
            raise TypeError("a source of changes without a format of changes")
        return found

    @property
    def description(self) -> str:
        """Tool, format and place, without secrets."""
        pattern = f" ({self.glob})" if self.glob else ""
        return f"{self.changes.shape} {self.format.name} files in {redact(self.path)}{pattern}"

    def describe(self) -> dict[str, Any]:
        """What is read and how, as JSON; the tool is part of which data it is."""
        changes = self.changes
        kind = {"kind": f"{changes.shape} files", "changes": changes.describe()}
        return {**FileSource.describe(self), **kind}


def debezium(
    source: FileSource,
    schema: Mapping[str, str],
    *,
    table: str | None = None,
    keys: Sequence[str] = (),
    unwrapped: bool = False,
    decimals: _Decimals | None = None,
    timestamps: TimeUnit | Mapping[str, TimeUnit] | None = None,
    binary: _Binary = "base64",
    unavailable: str = "__debezium_unavailable_value",
    snapshots: _Snapshots = "first",
) -> ChangeFiles:
    """Debezium's change events in files of JSON lines, with or without their schemas.

    PostgreSQL, MySQL and MariaDB. Tombstones, transaction boundaries, heartbeats, ``m`` events
    and schema changes are no changes of rows and are passed over; what is no event of Debezium's
    goes to the quarantine.

    Args:
        source: ``files(...)`` of format json, without a schema.
        schema: Columns of the table and their DuckDB types.
        table: Only changes of this ``schema.table``; the others are passed over.
        keys: Columns that name a row. Debezium itself writes a change of the primary key as a
            delete and an insert; needed only where updates may change a key of your own choice.
        unwrapped: The records are rows (``ExtractNewRecordState``) with ``__op``, ``__lsn`` or
            ``__file`` and ``__pos``, ``__table``, ``__source_ts_ms``, ``__deleted`` added.
        decimals: What strings in DECIMAL columns are, for records without a schema: ``precise``
            (the connector's default: base64 of the unscaled number, with the declared scale) or
            ``string``. Numbers are always taken.
        timestamps: Unit of integers in TIMESTAMPTZ columns, for records without a schema; also by
            column. Such integers are times without a zone: ``files(timezone=…)`` says theirs.
        binary: How bytes are written: ``base64`` or ``hex``.
        unavailable: The connector's ``unavailable.value.placeholder``.
        snapshots: PostgreSQL: ``first`` puts the rows of an initial snapshot before every change
            that is streamed, which is right also where transactions were open while it was taken.
            ``placed`` puts them at their LSN: for a connector that was made to take another one.

    Raises:
        DeclarationError: An option makes no sense.
        SchemaError: The schema does not.
    """
    if decimals is not None:
        check_one_of("decimals", decimals, _Decimals)
    check_one_of("binary", binary, _Binary)
    check_one_of("snapshots", snapshots, _Snapshots)
    if not unavailable:
        raise DeclarationError(
            "unavailable='': an empty text would stand for every empty value",
            remedy="leave it out, or give the connector's unavailable.value.placeholder",
        )
    return _changes(
        "debezium",
        source,
        schema,
        ChangeFormat(
            shape="debezium",
            table=table,
            keys=tuple(keys),
            unwrapped=unwrapped,
            decimals=decimals,
            timestamps=_units(timestamps),
            binary=binary,
            unavailable=unavailable,
            snapshots=snapshots,
        ),
    )


def maxwell(
    source: FileSource,
    schema: Mapping[str, str],
    *,
    keys: Sequence[str],
    table: str | None = None,
) -> ChangeFiles:
    """Maxwell's records in files of JSON lines.

    ``bootstrap-insert`` is a row of a snapshot. Records of tables created and altered, and the
    start and end of a bootstrap, are passed over; a table or database that is dropped goes to the
    quarantine, for its rows have no deletes. Run Maxwell with ``output_binlog_position=true``:
    without it the order is by second, transaction and place in it.

    Args:
        source: ``files(...)`` of format json, without a schema. Dates and times of MySQL name no
            zone: ``timezone=…`` there says theirs.
        schema: Columns of the table and their DuckDB types.
        keys: Columns of the primary key: an update that changes one is a delete and an insert.
        table: Only changes of this ``database.table``; the others are passed over.

    Raises:
        DeclarationError: An option makes no sense.
        SchemaError: The schema does not.
    """
    if not keys:
        raise DeclarationError(
            "maxwell(keys=()): an update that changes the key could not be told from any other",
            remedy="name the columns of the primary key",
        )
    return _changes("maxwell", source, schema, ChangeFormat("maxwell", table, tuple(keys)))


def canal(
    source: FileSource,
    schema: Mapping[str, str],
    *,
    table: str | None = None,
    keys: Sequence[str] = (),
) -> ChangeFiles:
    """Canal's flat messages in files of JSON lines; one may hold several rows.

    Values are texts, as Canal writes them. TRUNCATE is a truncate; other DDL is passed over, but
    for dropped tables, which go to the quarantine.

    Args:
        source: ``files(...)`` of format json, without a schema; ``timezone=…`` there says the
            zone of dates and times.
        schema: Columns of the table and their DuckDB types.
        table: Only changes of this ``database.table``; the others are passed over.
        keys: Columns of the primary key, where the messages have no ``pkNames``.

    Raises:
        DeclarationError: An option makes no sense.
        SchemaError: The schema does not.
    """
    return _changes("canal", source, schema, ChangeFormat("canal", table, tuple(keys)))


def dms(
    source: FileSource,
    schema: Mapping[str, str],
    *,
    table: str | None = None,
    keys: Sequence[str] = (),
    op_column: str = "Op",
    sequence_column: str | None = None,
    time_column: str | None = None,
) -> ChangeFiles:
    """What AWS DMS writes to S3 (CSV, Parquet), or to Kinesis and Kafka (JSON).

    Files ``LOAD….csv`` of a full load are snapshots, with or without the column of operations;
    all others are named by their time, and sorted by it. A file with another name goes to the
    quarantine whole.

    Args:
        source: ``files(...)`` of any format, without a schema. CSV: ``header=False`` unless the
            endpoint has ``AddColumnName``; columns are then those of the schema in this order.
        schema: Columns of the table and their DuckDB types.
        table: ``schema.table``. JSON: only changes of this table. CSV and Parquet: what
            ``_table`` is to say; without it the last two directories of the path.
        keys: JSON with ``before-image``: columns of the primary key, so that an update that
            changes one is a delete and an insert. Without before images, and in CSV and Parquet,
            DMS does not say what the key was.
        op_column: CSV with a header, Parquet: name of the column of operations.
        sequence_column: A column that orders the changes instead of file and row, such as
            ``AR_H_CHANGE_SEQ``; for CSV without a header the last but for ``time_column``.
        time_column: The endpoint's ``TimestampColumnName``; for CSV without a header the last.

    Raises:
        DeclarationError: An option makes no sense.
        SchemaError: The schema does not.
    """
    changes = ChangeFormat(
        "dms",
        table,
        tuple(keys),
        op_column=op_column,
        sequence_column=sequence_column,
        time_column=time_column,
    )
    extra = [name for name in (op_column, sequence_column, time_column) if name is not None]
    declared: object = schema
    names = declared if isinstance(declared, Mapping) else {}
    taken = {str(name).lower() for name in names}
    twice = [name for name in extra if name.lower() in taken]
    if twice:
        raise SchemaError(
            f"{', '.join(twice)}: a column of the schema, and one that DMS adds",
            remedy="leave it out of the schema; _op, _sequence and _source_time are made of these",
        )
    return _changes("dms", source, schema, changes, ("json", "csv", "parquet"))


def _changes(
    function: str,
    source: object,
    schema: Mapping[str, str],
    changes: ChangeFormat,
    formats: tuple[str, ...] = ("json",),
) -> ChangeFiles:
    if not isinstance(source, FileSource) or isinstance(source, ChangeFiles):
        raise DeclarationError(
            f"{function}({type(source).__name__}): expected files(...)",
            remedy=f"write {function}(files('landing/orders/'), schema={{…}})",
        )
    if source.data_schema is not None:
        raise DeclarationError(
            f"{function}: files(schema=…) names fields of the records, which are known",
            remedy=f"give the table's columns to {function}(…, schema=…) and leave that one out",
        )
    if source.format.name not in formats:
        raise DeclarationError(
            f"{function}: format={source.format.name!r}; expected {' or '.join(formats)}",
            remedy="declare the format that the files have",
        )
    if source.format.rescue:
        raise DeclarationError(
            f"{function}: rescue=True keeps unknown fields of a record, not of a changed row",
            remedy="leave it out, and declare the columns that are wanted",
        )
    declared = check_schema(schema, source.partitions)
    if declared is None:
        raise SchemaError(
            f"{function}: the columns of the changed table are not inferred",
            remedy="write schema={'id': 'BIGINT', …}",
        )
    taken = [name for name in declared.names if name.lower() in CHANGE_NAMES]
    if taken:
        raise SchemaError(
            f"{', '.join(taken)}: the name of a column that says what a change is",
            remedy="rename the column at the source, or leave it out of the schema",
        )
    for name in (*changes.keys, *(name for name, _ in changes.timestamps if name != "*")):
        if name not in declared.names:
            raise DeclarationError(
                f"{function}: {name!r} is no column of the schema ({', '.join(declared.names)})",
                remedy="write it as the schema does",
            )
    values = {name: getattr(source, name) for name in FileSource.__dataclass_fields__}
    values["format"] = replace(source.format, changes=changes)
    values["data_schema"] = pa.schema([*CHANGE_FIELDS, *declared])
    return ChangeFiles(**values)


def _units(
    given: TimeUnit | Mapping[str, TimeUnit] | None,
) -> tuple[tuple[str, TimeUnit], ...]:
    if given is None:
        return ()
    units: Mapping[str, TimeUnit] = {"*": given} if isinstance(given, str) else given
    for unit in units.values():
        check_one_of("timestamps", unit, TimeUnit)
    return tuple(sorted(units.items()))
