"""``changes(...)``: the typed changes of one table, out of a change log."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import DeclarationError
from orchestration.sources.postgres.rows import CHANGE_SCHEMA
from orchestration.streams.quoting import quote_literal
from orchestration.streams.type_names import duckdb_type, is_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.sources.delta_source import DeltaSource
    from orchestration.streams.builder import Stream

__all__ = ["changes"]

_CHANGE = ("_op", "_sequence", "_source_time", "_transaction", "_table", "_unchanged")
_ROW = "_row"


def changes(log: DeltaSource | str, table: str, schema: Mapping[str, str] | pa.Schema) -> Stream:
    """The changes of one table, in the format that ``scd1_sink`` and ``scd2_sink`` understand.

    Example::

        customers = pipeline("customers",
                             changes(delta("shop_changes"), table="public.customers",
                                     schema={"id": "BIGINT", "name": "VARCHAR",
                                             "balance": "DECIMAL(12,2)"}),
                             sink=scd1_sink("customers", keys="id"))

    Args:
        log: The change log: ``delta(...)`` over the table that a pipeline over
            :func:`postgres` writes, or that table's name.
        table: ``schema.table`` as the log's ``_table`` says; ``public`` where there is no schema.
        schema: Columns that are wanted and their types. One that a row does not have, because it
            was added later or dropped, is null in it. ``timestamp`` without a zone is read as UTC.

    Returns:
        A stream of ``_op`` (``insert``, ``update``, ``delete``, ``truncate``; ``read`` for rows of
        the first copy), ``_sequence``, ``_source_time``, ``_transaction``, ``_table``,
        ``_unchanged``, and the columns: the row after the change, of a delete what is known of the
        row before it.

    Raises:
        DeclarationError: The schema or the table makes no sense. A value that its type cannot
            hold exactly (more digits than a DECIMAL has, ``infinity``) fails the batch.
    """
    from orchestration.streams.builder import stream
    from orchestration.streams.schema import parse_schema

    columns = schema if isinstance(schema, pa.Schema) else parse_schema(schema)
    taken = [name for name in columns.names if name in {*_CHANGE, _ROW}]
    if taken:
        raise DeclarationError(
            f"changes(...): {taken[0]!r} is a column of the change itself",
            remedy="leave it out of the schema: it is there already",
        )
    name = table if "." in table else f"public.{table}"
    shape = quote_literal(json.dumps(dict.fromkeys(columns.names, "VARCHAR"), ensure_ascii=False))
    row = f"json_transform(coalesce(after, before), {shape})"
    return (
        stream(_source(log))
        .where(f"_table = {quote_literal(name)} AND _op <> 'schema'")
        .select(*_CHANGE, **{_ROW: row})
        .select(*_CHANGE, **{item.name: _typed(item) for item in columns})
    )


def _source(log: DeltaSource | str) -> DeltaSource:
    from orchestration.sources.delta_declared import delta
    from orchestration.sources.delta_source import DeltaSource

    source = delta(log) if isinstance(log, str) else log
    if not isinstance(source, DeltaSource):
        raise DeclarationError(
            f"changes({log!r}): expected the change log's table",
            remedy='write for instance changes(delta("shop_changes"), table=…, schema=…)',
        )
    if source.change_feed:
        raise DeclarationError(
            "changes(...): the rows of a change log are changes already",
            remedy="leave change_feed out of delta(...)",
        )
    # Known without looking: the log need not exist when what reads it is declared.
    return replace(source, data_schema=CHANGE_SCHEMA)


def _typed(field: pa.Field[Any]) -> str:
    """PostgreSQL's text as a value; an error where that would not be the same value."""
    text = f"struct_extract({_ROW}, {quote_literal(field.name)})"
    kind: Any = field.type
    name = "JSON" if is_json(field) else duckdb_type(kind)
    if is_json(field) or pa.types.is_string(kind):
        return text
    if pa.types.is_binary(kind):
        return f"unhex(substr({text}, 3))"  # \x…
    if pa.types.is_list(kind):
        return f"CAST({_list(text, kind)} AS {name})"
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return f"CAST(CAST({text} AS JSON) AS {name})"
    cast = f"CAST({text} AS {name})"
    if pa.types.is_integer(kind):
        return _unless(f"contains({text}, '.') AND {_digits_after(text, 0)}", text, field, cast)
    if pa.types.is_decimal(kind):
        return _unless(_digits_after(text, int(kind.scale)), text, field, cast)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _unless(f"{text} IN ('infinity', '-infinity')", text, field, cast)
    return cast


def _digits_after(text: str, scale: int) -> str:
    """Whether a number has a digit other than 0 behind so many of its fraction."""
    return f"regexp_matches({text}, '[.][0-9]{{{scale}}}[0-9]*[1-9]')"


def _unless(wrong: str, text: str, field: pa.Field[Any], cast: str) -> str:
    said = quote_literal(f"column {field.name} is {duckdb_type(field.type)} and cannot hold ")
    return f"CASE WHEN {wrong} THEN error({said} || {text}) ELSE {cast} END"


def _list(text: str, kind: Any) -> str:
    """``{1,2}`` as ``[1,2]``; braces of inner lists too, where no text can hold any."""
    depth, inner = 0, kind
    while str(inner).startswith("list"):
        depth, inner = depth + 1, inner.value_type
    if depth > 1 and str(inner) != "string":
        return f"translate({text}, '{{}}', '[]')"
    return f"'[' || substr({text}, 2, length({text}) - 2) || ']'"
