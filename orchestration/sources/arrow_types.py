"""The types of files, made into such as a Delta table keeps."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from orchestration.errors import SchemaError
from orchestration.streams.schema import duckdb_type

__all__ = ["kept_type", "wider_type"]

_TIMESTAMP = pa.timestamp("us", "UTC")


def kept_type(name: str, kind: Any) -> Any:
    """The type of a column of ours that holds an Arrow column's values.

    Raises:
        SchemaError: No table keeps it.
    """
    if pa.types.is_dictionary(kind):
        return kept_type(name, kind.value_type)
    if pa.types.is_timestamp(kind):
        return _TIMESTAMP
    if pa.types.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}.get(
            kind.bit_width, pa.decimal128(20, 0)
        )
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, kept_type(name, part.type)) for part in kind])
    if pa.types.is_map(kind):
        return pa.map_(pa.string(), kept_type(name, kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("item", kept_type(name, kind.value_type)))
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if str(kind) in {"string_view", "binary_view"}:
        return pa.string() if str(kind) == "string_view" else pa.binary()
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_null(kind):
        return pa.string()
    try:
        duckdb_type(kind)
    except SchemaError as error:
        raise SchemaError(
            f'column "{name}" of the files is {kind}: {error.args[0]}',
            remedy="declare the schema without it",
        ) from None
    return kind


def wider_type(name: str, one: Any, other: Any) -> Any:
    """A type that holds the values of both.

    Raises:
        SchemaError: There is none.
    """
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        return one if one.bit_width >= other.bit_width else other
    if pa.types.is_floating(one) and pa.types.is_floating(other):
        return pa.float64()
    raise SchemaError(
        f'column "{name}" is {one} in one file and {other} in another',
        remedy="declare the schema; files whose column does not fit are set aside",
    )
