"""What columns a stream's operators make, asked of DuckDB before any row is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.result_types import result_field
from orchestration.engine.statements import INPUT, applied, plain_source
from orchestration.errors import ExpressionError, SchemaError
from orchestration.streams.operators import MapBatches, Select, StatelessOperator, Where
from orchestration.streams.schema import is_json

if TYPE_CHECKING:
    import duckdb

    from orchestration.engine.connection import Limits

__all__ = ["describe", "describe_one", "refused"]

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def describe(
    limits: Limits, schema: pa.Schema, operators: tuple[StatelessOperator, ...]
) -> pa.Schema:
    """Columns and types that ``operators`` make of rows of ``schema``.

    Raises:
        ExpressionError: An expression does not bind; names the expression and the reason.
        SchemaError: A result has a type that no Delta table keeps.
    """
    connection = limits.connect()
    try:
        for operator in operators:
            schema = describe_one(connection, schema, operator)
        return schema
    finally:
        connection.close()


def describe_one(
    connection: duckdb.DuckDBPyConnection, schema: pa.Schema, operator: StatelessOperator
) -> pa.Schema:
    """Columns and types after one stateless operator; raises as :func:`describe`."""
    if isinstance(operator, MapBatches):
        return operator.schema
    connection.register(INPUT, schema.empty_table())
    try:
        kinds = _types(connection, schema, operator)
    finally:
        connection.unregister(INPUT)
    if isinstance(operator, Where):
        return schema
    json = {item.name for item in schema if is_json(item)}
    fields: list[pa.Field[Any]] = []
    for (name, text), kind in zip(operator.columns, kinds, strict=True):
        plain = text.strip().strip('"')
        try:
            fields.append(result_field(name, kind, json=plain in json and str(kind) == "VARCHAR"))
        except SchemaError as error:
            raise ExpressionError(
                f"{name} = {text}: {error.args[0]}", remedy=error.remedy
            ) from None
    return pa.schema(fields)


def _types(
    connection: duckdb.DuckDBPyConnection, schema: pa.Schema, operator: Where | Select
) -> list[Any]:
    import duckdb

    source = plain_source(schema.names)
    try:
        return list(connection.sql(applied(source, [operator], _ANY_TIME)).types)
    except duckdb.Error as whole:
        parts: list[tuple[str, StatelessOperator]] = (
            [(operator.expression, operator)]
            if isinstance(operator, Where)
            else [(text, Select(((name, text),))) for name, text in operator.columns]
        )
        for text, part in parts:
            try:
                connection.sql(applied(source, [part], _ANY_TIME))
            except duckdb.Error as error:
                raise refused(text, error) from None
        raise refused(", ".join(text for text, _ in parts), whole) from None


def refused(text: str, error: Exception) -> ExpressionError:
    """The error for an expression that DuckDB does not take."""
    reason = str(error).split("\n", maxsplit=1)[0]
    return ExpressionError(
        f"expression {text!r} cannot be computed: {reason}",
        remedy="columns and functions are DuckDB's; mend the expression",
    )
