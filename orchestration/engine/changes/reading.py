"""A batch's changes: the specification's SQL evaluated, what cannot be applied told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.changes.base import (
    AT,
    DELETE,
    HIGHEST,
    MISSING,
    OP,
    TRUNCATE,
    UPSERT,
    Changes,
)
from orchestration.engine.changes.shapes import sequence_field
from orchestration.engine.changes.sql import Step, listed
from orchestration.streams.quoting import quote_identifier, quote_literal
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    import duckdb

    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["invalid_sql", "read_changes"]


def invalid_sql(spec: ChangeSpec, changes: str) -> str:
    """A SELECT of the changes that cannot be applied, with the column ``__reason`` after theirs.

    Args:
        spec: What they mean.
        changes: Name of a relation.
    """
    truncate = _truth(spec.truncate_when)
    cases = [
        f"WHEN {quote_identifier(name)} IS NULL AND NOT {truncate} THEN "
        + quote_literal(f"the key column {name} is null")
        for name in spec.keys
    ]
    cases.append(
        f"WHEN ({spec.sequence}) IS NULL THEN "
        + quote_literal(f"the sequence ({spec.sequence}) is null")
    )
    return (
        f"SELECT * FROM (SELECT *, CASE {' '.join(cases)} END AS __reason FROM {changes}) "
        "WHERE __reason IS NOT NULL"
    )


def read_changes(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, *, changes: str, prefix: str
) -> Changes:
    """Evaluate a batch's changes.

    Args:
        connection: Where the relation is.
        spec: What they mean.
        changes: Name of a relation with the stream's columns; none of them invalid. It is read
            several times, until the end.
        prefix: Start of the names of what is made; it goes with :meth:`Applied.drop`.
    """
    step = Step(connection, prefix)
    try:
        return _read(step, spec, changes)
    except BaseException:
        step.undo()
        raise


def _read(step: Step, spec: ChangeSpec, changes: str) -> Changes:
    kind = duckdb_type(sequence_field(step.connection, spec, changes, AT).type)
    op = (
        f"CASE WHEN {_truth(spec.truncate_when)} THEN {TRUNCATE} "
        f"WHEN {_truth(spec.delete_when)} THEN {DELETE} ELSE {UPSERT} END"
    )
    rows = (
        f"SELECT {listed(spec.columns)}, CAST(({spec.sequence}) AS {kind}) AS {AT}, "
        f"CAST({op} AS TINYINT) AS {OP}"
    )
    gaps = f"count({_missing(spec)})" if spec.partial else "0"
    total, truncates, missed = step.row(
        f"SELECT count(*), count(*) FILTER (({op}) = {TRUNCATE}), {gaps} FROM {changes}"
    )
    if missed:
        table = step.table(
            "changes", _given(spec, f"{rows}, {_missing(spec)} AS {MISSING}", changes)
        )
    else:
        missing = f", CAST(NULL AS VARCHAR[]) AS {MISSING}" if spec.partial else ""
        table = step.view("changes", f"{rows}{missing} FROM {changes}")
    keys = listed(spec.keys)
    found = (
        f"SELECT {keys}, max({AT}) AS {HIGHEST} FROM {table} WHERE {OP} <> {TRUNCATE} "
        f"GROUP BY {keys}"
    )
    distinct = step.table("keys", found)
    count = int(step.value(f"SELECT count(*) FROM {distinct}"))
    if spec.truncate_when is not None:
        step.connection.execute(f"INSERT INTO {distinct} ({listed(spec.keys[:1])}) VALUES (NULL)")
    return Changes(table, distinct, bool(truncates), int(total), count, bool(missed))


def _given(spec: ChangeSpec, rows: str, changes: str) -> str:
    """Changes without what stands in the place of cells that they do not give."""
    given = ", ".join(
        f"CASE WHEN {MISSING} IS NULL OR NOT list_contains({MISSING}, {quote_literal(name)}) "
        f"THEN {quote_identifier(name)} END AS {quote_identifier(name)}"
        for name in spec.values
    )
    return f"SELECT * REPLACE ({given}) FROM ({rows} FROM {changes})"


def _truth(condition: str | None) -> str:
    return "false" if condition is None else f"coalesce(({condition}), false)"


def _missing(spec: ChangeSpec) -> str:
    """The names of the columns that a change does not give, in order; null where it gives all."""
    parts, tests = [], []
    if spec.unchanged is not None:
        column = quote_identifier(spec.unchanged)
        values = ", ".join(map(quote_literal, spec.values)) or "NULL"
        parts.append(f"list_filter(coalesce({column}, []), lambda name: name IN ({values}))")
        tests.append(f"coalesce(len({column}), 0) > 0")
    for name in spec.ignore_null_updates:
        column = quote_identifier(name)
        parts.append(f"CASE WHEN {column} IS NULL THEN [{quote_literal(name)}] ELSE [] END")
        tests.append(f"{column} IS NULL")
    names = f"list_sort(list_distinct({' || '.join(parts)}))"
    upsert = f"NOT {_truth(spec.truncate_when)} AND NOT {_truth(spec.delete_when)}"
    return (
        f"CASE WHEN ({' OR '.join(tests)}) AND {upsert} THEN "
        f"nullif({names}, CAST([] AS VARCHAR[])) END"
    )
