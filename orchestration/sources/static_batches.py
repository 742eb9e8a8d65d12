"""Rows of a static table brought into its declared columns, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import SchemaError
from orchestration.sources.arrow_types import kept_type
from orchestration.sources.arrow_values import Impossible, converted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.streams.static import StaticTable

__all__ = ["declared_batch", "kept_schema", "named"]

_CURE = (
    "declare a type that holds it: static(..., schema={...}), or leave the column out of the schema"
)


def named(table: StaticTable) -> str:
    """What messages call a table."""
    return f'static table "{table.name}"'


def declared_batch(
    table: StaticTable,
    schema: pa.Schema,
    batch: pa.RecordBatch,
    *,
    file: str,
    partitions: Mapping[str, str | None] | None = None,
) -> pa.RecordBatch:
    """Some rows with the table's columns; a column that they lack is null.

    Args:
        table: The table.
        schema: Its columns.
        batch: Rows as the file has them; capitals of names do not count.
        file: What the user calls the file.
        partitions: Columns that the path names, and their texts.

    Raises:
        SchemaError: A value does not fit without loss.
    """
    given = partitions or {}
    columns: list[Any] = []
    for item in schema:
        place = _place(batch.schema, item.name)
        try:
            if item.name in given:
                columns.append(_constant(given[item.name], item.type, batch.num_rows))
            elif place is None:
                columns.append(pa.nulls(batch.num_rows, item.type))
            else:
                columns.append(converted(batch.column(place), item.type, None))
        except (Impossible, ValueError, pa.ArrowException) as error:
            raise SchemaError(
                f'{named(table)}, {file}: column "{item.name}" does not fit '
                f"{item.type}: {_reason(error)}",
                remedy=_CURE,
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def kept_schema(table: StaticTable, found: pa.Schema) -> pa.Schema:
    """What is found in a table's files, in types that expressions can use.

    Raises:
        SchemaError: A column has a type that none holds, or timestamps without a zone.
    """
    fields: list[pa.Field[Any]] = []
    for item in found:
        if pa.types.is_timestamp(item.type) and item.type.tz is None:
            raise SchemaError(
                f'{named(table)}: the timestamps of column "{item.name}" name no time zone',
                remedy="write them in UTC, or declare a schema without the column",
            )
        fields.append(pa.field(item.name, kept_type(item.name, item.type)))
    return pa.schema(fields)


def _place(schema: pa.Schema, name: str) -> int | None:
    exact = schema.get_field_index(name)
    if exact >= 0:
        return int(exact)
    found = [n for n, other in enumerate(schema.names) if other.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def _constant(text: str | None, kind: Any, rows: int) -> Any:
    if text is None:
        return pa.nulls(rows, kind)
    value: Any = pa.array([text]).cast(kind)[0]
    return pa.repeat(value, rows)


def _reason(error: Exception) -> str:
    text = str(error).split("\n", maxsplit=1)[0]
    if "no time zone" in text:
        return "its timestamps name no time zone; write them in UTC"
    return text
