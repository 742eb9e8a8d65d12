"""Schemas as users write them: column name to DuckDB type.

::

    {"event_id": "VARCHAR", "ts": "TIMESTAMPTZ", "amount": "DECIMAL(10,2)",
     "device": "STRUCT(os VARCHAR, version INTEGER)", "tags": "VARCHAR[]", "extra": "JSON"}

Every column may be null. Names are compared without regard to capitals, as DuckDB and Delta do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from orchestration.errors import SchemaError
from orchestration.streams.quoting import quote_identifier, quote_literal
from orchestration.streams.type_names import (
    duckdb_type,
    field_type,
    is_json,
    parse_field,
    parse_type,
)

__all__ = [
    "RESERVED",
    "check_names",
    "duckdb_type",
    "field_type",
    "is_json",
    "parse_schema",
    "parse_type",
    "quote_identifier",
    "quote_literal",
    "schema_to_json",
]

RESERVED = {
    "_rescued": "fields that the schema does not name are kept there with rescue=True",
    "_file": "where a row comes from stands there with metadata=True",
}


def parse_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a declaration.

    >>> parse_schema({"page": "VARCHAR", "amount": "DECIMAL(10,2)"}).names
    ['page', 'amount']

    Args:
        columns: Column name to DuckDB type, in the order that the table shall have.

    Raises:
        SchemaError: A type cannot be kept, or a name is empty, double or reserved.
    """
    declared: object = columns
    if not isinstance(declared, Mapping) or not columns:
        raise SchemaError(
            f"a schema is a mapping of column name to type, with at least one column, "
            f"not {columns!r}",
            remedy='write {"event_id": "VARCHAR", "ts": "TIMESTAMPTZ"}',
        )
    check_names(columns)
    for name in columns:
        if name.lower() in RESERVED:
            raise SchemaError(
                f'column "{name}": the name is reserved: {RESERVED[name.lower()]}',
                remedy="rename the column",
            )
    return pa.schema([parse_field(name, text) for name, text in columns.items()])


def check_names(names: Iterable[object]) -> None:
    """Refuse names that cannot stand side by side in one table.

    Raises:
        SchemaError: A name is not text, is empty, or is there twice but for capitals.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise SchemaError(f"{name!r} is not a column name", remedy="name it with a text")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise SchemaError(f"{name!r} is not valid unicode", remedy="rename it") from None
        quote_identifier(name)
        if name.lower() in seen:
            raise SchemaError(
                f'column "{name}" is there twice ("{seen[name.lower()]}"); capitals do not count',
                remedy="rename one of them",
            )
        seen[name.lower()] = name


def schema_to_json(schema: pa.Schema) -> dict[str, str]:
    """Column name to DuckDB type: what :func:`parse_schema` reads.

    >>> schema_to_json(parse_schema({"tags": "varchar[]", "extra": "json"}))
    {'tags': 'VARCHAR[]', 'extra': 'JSON'}

    Raises:
        SchemaError: A type has no name here, see :func:`duckdb_type`.
    """
    return {field.name: field_type(field) for field in schema}
