"""The types of a stream's result: DuckDB's, made into such as a Delta table keeps."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from orchestration.errors import SchemaError
from orchestration.streams.schema import parse_type

__all__ = ["result_field"]

_JSON = {b"headwater": b"json"}

# What no Delta table has, and the next type that holds every value of it.
_WIDENED: dict[str, pa.DataType] = {
    "utinyint": pa.int16(),
    "usmallint": pa.int32(),
    "uinteger": pa.int64(),
    "ubigint": pa.decimal128(20, 0),
    "hugeint": pa.decimal128(38, 0),
    "uhugeint": pa.decimal128(38, 0),
    "uuid": pa.string(),
    "enum": pa.string(),
    "varchar": pa.string(),
}


def result_field(name: str, kind: Any, *, json: bool = False) -> pa.Field[Any]:
    """The field of a result column.

    Args:
        name: Its name.
        kind: Its DuckDB type, as a relation's ``types`` give it.
        json: The column is the text of a JSON value.

    Raises:
        SchemaError: Nothing in Delta holds it; says what to write instead.
    """
    text = str(kind)
    metadata = _JSON if json or text == "JSON" else None
    return pa.field(name, pa.string() if metadata else _type(kind, name), metadata=metadata)


def _type(kind: Any, place: str) -> pa.DataType:
    text = str(kind)
    name = str(kind.id).lower()
    if name in _WIDENED and text != "JSON":
        return _WIDENED[name]
    if name == "struct":
        return pa.struct([_inner(part, of, f"{place}.{part}") for part, of in kind.children])
    if name in {"list", "array"}:
        return pa.list_(_inner("item", kind.children[0][1], f"{place}[]"))
    if name == "map":
        (_, key), (_, value) = kind.children[0], kind.children[1]
        if str(key.id).lower() != "varchar":
            raise SchemaError(
                f'column "{place}": the keys of {text} are not VARCHAR',
                remedy="make them text: map_from_entries(list_transform(map_entries(m), "
                "lambda e: {'k': e.key::VARCHAR, 'v': e.value}))",
            )
        of_value: Any = _inner("value", value, f"{place}[]")
        return pa.map_(pa.string(), of_value)
    if text.strip('"').upper() in {"NULL", "SQLNULL"}:
        raise SchemaError(
            f'column "{place}": NULL has no type', remedy=f"write CAST(NULL AS VARCHAR) AS {place}"
        )
    if text == "TIMESTAMP WITH TIME ZONE":
        text = "TIMESTAMPTZ"
    try:
        return parse_type(text)
    except SchemaError as error:
        message = str(error.args[0]).replace('column "value"', f'column "{place}"')
        raise SchemaError(message, remedy=error.remedy) from None


def _inner(name: str, kind: Any, place: str) -> pa.Field[Any]:
    if str(kind) == "JSON":
        return pa.field(name, pa.string(), metadata=_JSON)
    return pa.field(name, _type(kind, place))
