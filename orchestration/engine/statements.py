"""The SQL of a stream: what was read, then one SELECT around another for every operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.json_transform import transform_spec, transformed
from orchestration.streams.batch_time import bind_batch_timestamp
from orchestration.streams.operators import Select, StatelessOperator, Where
from orchestration.streams.schema import duckdb_type, quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

__all__ = ["INPUT", "applied", "cast_to", "json_source", "plain_source"]

#: Name under which Arrow streams are registered.
INPUT = "headwater_input"


def json_source(
    columns: pa.Schema,
    others: Sequence[str],
    order: Sequence[str],
    *,
    barrier: bool,
    relation: str = INPUT,
    cut: Mapping[str, str] | None = None,
) -> str:
    """A SELECT that makes typed columns of lines.

    Args:
        columns: What the lines hold.
        others: Columns that stand in the relation already.
        order: Names of all columns in their order.
        barrier: Conditions follow. They must not be moved below the parsing, where a line would
            be parsed once for the condition and once more for the row; DuckDB moves none below
            what depends on a random number, even where every number gives the same.
        relation: Where the lines are.
        cut: SQL of the columns that the relation has already where its line is null, by name;
            the others are null there.
    """
    found = {
        item.name: transformed(
            f"struct_extract(headwater_record, {quote_literal(item.name)})", item
        )
        for item in columns
    }
    if cut is not None:
        for item in columns:
            ready = cut.get(item.name, f"CAST(NULL AS {duckdb_type(item.type)})")
            found[item.name] = (
                f"CASE WHEN headwater_line IS NULL THEN {ready} ELSE {found[item.name]} END"
            )
    found |= {name: quote_identifier(name) for name in others}
    listed = ", ".join(f"{found[name]} AS {quote_identifier(name)}" for name in order)
    spec = quote_literal(transform_spec(columns))
    line = "CASE WHEN random() < 2 THEN headwater_line END" if barrier else "headwater_line"
    record = f"json_transform({line}, {spec})"
    if cut is not None:
        # Without the condition every null would still be spread over all columns.
        record = f"CASE WHEN headwater_line IS NOT NULL THEN {record} END"
    return f"SELECT {listed} FROM (SELECT *, {record} AS headwater_record FROM {relation})"


def plain_source(order: Sequence[str], relation: str = INPUT) -> str:
    """A SELECT of a relation's columns."""
    return f"SELECT {', '.join(quote_identifier(name) for name in order)} FROM {relation}"


def applied(source: str, operators: Iterable[StatelessOperator], timestamp: datetime) -> str:
    """The operators around a SELECT; ``now()`` is the batch's timestamp."""
    for operator in operators:
        if isinstance(operator, Where):
            condition = bind_batch_timestamp(operator.expression, timestamp)
            # The line break ends a comment that the user's text may end with.
            source = f"SELECT * FROM ({source}) WHERE (\n{condition}\n)"
        elif isinstance(operator, Select):
            columns = ", ".join(
                f"(\n{bind_batch_timestamp(text, timestamp)}\n) AS {quote_identifier(name)}"
                for name, text in operator.columns
            )
            source = f"SELECT {columns} FROM ({source})"
        else:
            raise TypeError(f"{type(operator).__name__} is not SQL")
    return source


def cast_to(source: str, schema: pa.Schema, texts: Iterable[str] = ()) -> str:
    """A SELECT of exactly the columns and types of ``schema``.

    Args:
        source: A SELECT that has them.
        schema: What to write.
        texts: Columns to give as the text that Delta names partitions by.
    """
    wanted = set(texts)
    columns: list[str] = []
    for item in schema:
        name = quote_identifier(item.name)
        value = f"CAST({name} AS {duckdb_type(item.type)})"
        if item.name in wanted:
            value = _partition_text(value, item.type)
        columns.append(f"{value} AS {name}")
    return f"SELECT {', '.join(columns)} FROM ({source})"


def _partition_text(value: str, kind: Any) -> str:
    """A value as Delta writes it in ``partitionValues``; an empty text is null there."""
    if pa.types.is_timestamp(kind):
        return f"strftime({value} AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%f')"
    if pa.types.is_string(kind):
        return f"nullif({value}, '')"
    return f"CAST({value} AS VARCHAR)"
