"""Rows as Python writes them, made into an Arrow table without losing anything on the way."""

from __future__ import annotations

import difflib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["rows_to_table"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_to_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of dicts.

    Timestamps may be ISO strings, datetimes, or seconds since the epoch; dates ISO strings or
    dates; decimals numbers or strings. A column that a row lacks is null.

    Raises:
        SchemaError: A row has an unknown column, or a value that its column cannot hold.
    """
    given = list(rows)
    known = set(schema.names)
    for row in given:
        unknown = next((name for name in row if name not in known), None)
        if unknown is not None:
            near = difflib.get_close_matches(str(unknown), schema.names, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise SchemaError(
                f"a row has the column {unknown!r}, which is not in the schema{guess}",
                remedy=f"use the columns {', '.join(schema.names)}",
            )
    columns = []
    for item in schema:
        values = [_convert(row.get(item.name), item.type, item.name) for row in given]
        try:
            columns.append(pa.array(values, item.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise SchemaError(
                f"column {item.name!r} is {item.type} and cannot hold a value given: {error}",
                remedy="give values of that type, or change the schema",
            ) from None
    return pa.Table.from_arrays(columns, schema=schema)


def _convert(value: Any, kind: pa.DataType, column: str) -> Any:
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        return _timestamp(value, kind, column)
    if pa.types.is_date(kind) and isinstance(value, str):
        return date.fromisoformat(value)
    if pa.types.is_integer(kind):
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not whole or isinstance(value, bool):  # Arrow would cut 5.7 to 5
            raise SchemaError(
                f"column {column!r} is {kind} and cannot hold {value!r}",
                remedy="give whole numbers, or change the schema",
            )
        return int(value)
    if pa.types.is_decimal(kind):
        return Decimal(str(value))
    if isinstance(kind, pa.StructType):
        return {part.name: _convert(value.get(part.name), part.type, column) for part in kind}
    if isinstance(kind, pa.ListType):
        return [_convert(item, kind.value_type, column) for item in value]
    return value


def _timestamp(value: Any, kind: pa.TimestampType[Any, Any], column: str) -> datetime:
    has_zone = kind.tz is not None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise SchemaError(
                f"column {column!r}: {value!r} is not an ISO timestamp",
                remedy="write for instance '2026-01-31T12:00:00Z'",
            ) from None
    elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        # Through decimals: a float such as 24.999 means just that many milliseconds.
        micros = int(round(Decimal(str(value)), 6) * 10**6)
        moment = _EPOCH + timedelta(microseconds=micros)
        return moment if has_zone else moment.replace(tzinfo=None)
    if not isinstance(value, datetime):
        raise SchemaError(
            f"column {column!r}: {value!r} is not a timestamp",
            remedy="give an ISO string, a datetime, or seconds since the epoch",
        )
    if has_zone and value.tzinfo is None:
        raise SchemaError(
            f"column {column!r}: {value.isoformat()} has no time zone",
            remedy="write it with one, such as …Z, or datetime(…, tzinfo=UTC)",
        )
    if not has_zone:
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return value.astimezone(UTC)
