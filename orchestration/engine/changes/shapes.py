"""Columns of a table that changes make, and of the memory beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.result_types import result_field
from orchestration.streams.change_spec import END_AT, SEQUENCE, START_AT

if TYPE_CHECKING:
    import duckdb

    from orchestration.streams.change_spec import ChangeSpec

__all__ = [
    "CELLS",
    "DELETED",
    "FACT_AT",
    "FACT_KIND",
    "FACT_MISSING",
    "UPSERTED",
    "by_cell",
    "memory_keys",
    "memory_schema",
    "sequence_field",
    "table_schema",
]

#: Memory of a type 1 table: the sequence of the key's newest delete; that of its newest upsert,
#: where a flag of a delete has changed the row since; and that of each cell, where they differ
#: from the newest upsert's (null: not given yet).
DELETED, UPSERTED, CELLS = "__deleted", "__upserted", "__cells"

#: Memory of a type 2 table: changes that its rows do not show. Kind is that of a change; the
#: missing are the names of columns that an upsert did not give.
FACT_AT, FACT_KIND, FACT_MISSING = "__at", "__kind", "__missing"

_SCHEMA = "headwater_changes_schema"


def by_cell(spec: ChangeSpec) -> bool:
    """Whether the cells of a row of a type 1 table may be of different changes."""
    return spec.partial or spec.soft_delete is not None


def table_schema(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, schema: pa.Schema
) -> pa.Schema:
    """Columns of the table that changes with the columns of ``schema`` make."""
    fields: list[pa.Field[Any]] = [schema.field(name) for name in spec.columns]
    sequence = _sequence(connection, spec, schema)
    if spec.scd_type == 2:
        return pa.schema([*fields, sequence.with_name(START_AT), sequence.with_name(END_AT)])
    if spec.soft_delete is not None:
        fields.append(pa.field(spec.soft_delete, pa.bool_()))
    return pa.schema([*fields, sequence.with_name(SEQUENCE)])


def memory_schema(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, schema: pa.Schema
) -> pa.Schema:
    """Columns of the memory, where the changes have the columns of ``schema``."""
    fields: list[pa.Field[Any]] = [schema.field(name).with_nullable(True) for name in spec.keys]
    sequence = _sequence(connection, spec, schema)
    if spec.scd_type == 2:
        fields += [sequence.with_name(FACT_AT), pa.field(FACT_KIND, pa.int8())]
        fields += [schema.field(name).with_nullable(True) for name in spec.values]
        return pa.schema([*fields, pa.field(FACT_MISSING, pa.list_(pa.string()))])
    fields.append(sequence.with_name(DELETED))
    if spec.soft_delete is not None:
        fields.append(sequence.with_name(UPSERTED))
    if by_cell(spec) and spec.values:
        cells = pa.struct([sequence.with_name(name) for name in spec.values])
        fields.append(pa.field(CELLS, cells))
    return pa.schema(fields)


def memory_keys(spec: ChangeSpec) -> tuple[str, ...]:
    """Columns that name one row of the memory; the first of them are the specification's keys."""
    return spec.keys if spec.scd_type == 1 else (*spec.keys, FACT_AT)


def sequence_field(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, changes: str, name: str
) -> pa.Field[Any]:
    """The type of the sequence over the columns of a relation, under a name."""
    query = f"SELECT ({spec.sequence}) FROM {changes} LIMIT 0"
    return result_field(name, connection.sql(query).types[0])


def _sequence(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, schema: pa.Schema
) -> pa.Field[Any]:
    connection.register(_SCHEMA, schema.empty_table())
    try:
        return sequence_field(connection, spec, _SCHEMA, SEQUENCE)
    finally:
        connection.unregister(_SCHEMA)
