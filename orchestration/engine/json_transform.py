"""What DuckDB is asked to make of a line: the structure for ``json_transform``, and SQL around it.

It reads every number that is no integer as a double first. That is exact for decimals of up to
fifteen digits; wider ones are asked for as text and cast from there. JSON columns come as texts
and maps as lists of their entries, which is how the normal form of a line writes them.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from orchestration.streams.schema import duckdb_type, is_json, quote_identifier, quote_literal

__all__ = ["EXACT_DIGITS", "transform_spec", "transformed"]

#: Decimal digits that a double keeps.
EXACT_DIGITS = 15


def transform_spec(schema: pa.Schema) -> str:
    """The structure for ``json_transform``: exact types where it is exact, else text."""
    return json.dumps({item.name: _spec(item) for item in schema}, ensure_ascii=False)


def _spec(field: pa.Field[Any]) -> Any:
    kind: Any = field.type
    if is_json(field):
        return "VARCHAR"
    if pa.types.is_struct(kind):
        return {part.name: _spec(part) for part in kind}
    if pa.types.is_list(kind):
        return [_spec(kind.value_field)]
    if pa.types.is_map(kind):
        return [{"k": "VARCHAR", "v": _spec(kind.item_field)}]
    if pa.types.is_decimal(kind) and kind.precision > EXACT_DIGITS:
        return "VARCHAR"
    return duckdb_type(kind)


def transformed(expression: str, field: pa.Field[Any]) -> str:
    """SQL that makes the column of what :func:`transform_spec` asked for."""
    if not _converts(field.type):
        return expression
    return _convert(expression, field.type, 0)


def _converts(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(_converts(part.type) for part in kind)
    if pa.types.is_list(kind):
        return _converts(kind.value_type)
    return pa.types.is_map(kind) or (pa.types.is_decimal(kind) and kind.precision > EXACT_DIGITS)


def _convert(expression: str, kind: Any, depth: int) -> str:
    if not _converts(kind):
        return expression
    name = f"headwater_{depth}"
    if pa.types.is_struct(kind):
        parts = ", ".join(
            f"{quote_identifier(part.name)} := "
            + _convert(
                f"struct_extract({expression}, {quote_literal(part.name)})", part.type, depth
            )
            for part in kind
        )
        return f"CASE WHEN {expression} IS NULL THEN NULL ELSE struct_pack({parts}) END"
    if pa.types.is_list(kind):
        inner = _convert(name, kind.value_type, depth + 1)
        return f"list_transform({expression}, lambda {name}: {inner})"
    if pa.types.is_map(kind):
        inner = _convert(f"struct_extract({name}, 'v')", kind.item_type, depth + 1)
        entry = f"struct_pack(k := struct_extract({name}, 'k'), v := {inner})"
        return f"map_from_entries(list_transform({expression}, lambda {name}: {entry}))"
    return f"CAST({expression} AS {duckdb_type(kind)})"
