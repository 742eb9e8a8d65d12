"""Windowed and plain aggregations: a batch's groups, merged with those of the batches before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.stateful.aggregation import END, AggregationSql, columns_of
from orchestration.engine.stateful.keyed import EXPIRY, HASH
from orchestration.engine.stateful.late import row_text
from orchestration.engine.stateful.relation import Relation
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.keyed import KeyedState
    from orchestration.streams.operators import Aggregate

__all__ = ["aggregation_of", "closes", "columns_kept", "run_aggregate"]

_LATE = "headwater_late"  # a late row as text


def aggregation_of(execution: Execution, relation: Relation, operator: Aggregate) -> AggregationSql:
    """The SQL of an aggregation over a relation's columns."""
    return AggregationSql(
        operator,
        execution.describer.argument_types(relation.schema, operator),
        batch_id=execution.job.batch_id,
        timestamp=execution.job.timestamp,
    )


def run_aggregate(
    execution: Execution, relation: Relation, operator: Aggregate, lag: int
) -> Relation:
    """Aggregate a batch's rows, and give the groups that the output mode wants.

    ``append`` gives a group once, when the watermark has reached its end; ``update`` gives those
    that changed; ``complete`` gives all, and closes none.
    """
    job, tables = execution.job, execution.tables
    sql = aggregation_of(execution, relation, operator)
    closing = closes(execution, sql)
    schema = execution.describer.after(relation.schema, operator)
    relation = execution.ordered(relation)
    if job.full is not None and not execution.late.leaves_out(operator.id):
        groups = sql.made(sql.expanded(f"({relation.sql})"), closing=closing)
        return Relation(sql.result(_due(execution, groups, lag, closing=closing)), schema)
    if closing and job.full is None:
        rows, late = _in_time(execution, relation, operator, sql, lag)
    else:
        kept = execution.kept(relation, columns_kept(execution, operator))
        rows, late = sql.expanded(f"({kept.sql})"), 0
        if closing:
            expanded = tables.create(rows)
            told = [*kept.schema.names, *([END] if _repeats(sql) else [])]
            rows, late = execution.late.split(
                expanded, operator.id, told, END, execution.late_us(lag)
            )
    groups = sql.made(rows, closing=closing)
    if job.full is not None:
        return Relation(sql.result(_due(execution, groups, lag, closing=closing)), schema)
    made = tables.create(groups)
    state = execution.keyed(operator.id, sql.state_columns, sql.group_columns, by_expiry=closing)
    return Relation(
        _carried_over(execution, operator, sql, state, made, lag, closing, late), schema
    )


def _in_time(
    execution: Execution, relation: Relation, operator: Aggregate, sql: AggregationSql, lag: int
) -> tuple[str, int]:
    """A SELECT of a batch's rows with their windows, without the late ones, and how many these are.

    Only what the aggregation needs is put into a table, once, with the windows; all the columns
    of a row are put together where it is late, and nowhere else.
    """
    watermark = execution.late_us(lag)
    names = {name.lower() for name in columns_of(operator)}
    listed = [item.name for item in relation.schema if item.name.lower() in names]
    told = [*relation.schema.names, *([END] if _repeats(sql) else [])]
    text = f"CASE WHEN {END} <= {watermark} THEN {row_text(told)} END AS {_LATE}"
    columns = ", ".join([*map(quote_identifier, listed), END, *relation.hidden])
    expanded = sql.expanded(f"({relation.sql})")
    fields: list[pa.Field[Any]] = [pa.field(name, pa.null()) for name in (*listed, END, _LATE)]
    kept = execution.kept(
        Relation(f"SELECT {columns}, {text} FROM ({expanded})", pa.schema(fields), relation.hidden)
    )
    return execution.late.split(f"({kept.sql})", operator.id, (), END, watermark, text=_LATE)


def _carried_over(
    execution: Execution,
    operator: Aggregate,
    sql: AggregationSql,
    state: KeyedState,
    made: str,
    lag: int,
    closing: bool,
    late: int,
) -> str:
    """Bring a batch's groups into the state; the SELECT of what is given."""
    tables, mode = execution.tables, execution.job.output_mode
    dead, due = execution.late_us(lag), execution.closing_us(lag)
    if not closing:
        dead = due = -(2**63) + 1  # nothing ever leaves
    count = int(tables.value(f"SELECT count(*) FROM {made}"))
    known = _known(execution, sql, state, made, dead) if count else None
    old = int(tables.value(f"SELECT count(*) FROM {known}")) if known else 0
    leaving = _leaving(execution, sql, state, made, dead, due) if closing else None
    removed = int(tables.value(f"SELECT count(*) FROM {leaving}")) if leaving else 0
    if mode == "append":
        given = f"SELECT * FROM {leaving}" if leaving else f"SELECT * FROM {made} WHERE false"
    elif mode == "update":
        changed = f"SELECT {_columns(sql)} FROM {made}"
        if known:
            changed = sql.merged(f"{changed} UNION ALL SELECT {_columns(sql)} FROM {known}")
        given = f"SELECT * FROM {tables.create(changed)}"
    else:
        before = state.live(dead)
        everything = f"SELECT {_columns(sql)} FROM {made}"
        if before:
            everything = sql.merged(f"{everything} UNION ALL {before}")
        given = f"SELECT * FROM {tables.create(everything)}"
    stored = made
    if closing and removed:
        stored = tables.create(f"SELECT * FROM {made} WHERE {EXPIRY} > {due}")
    state.add(stored)
    state.merge(due, sql.merged)
    execution.finish(
        operator.id,
        "aggregate",
        [state],
        rows=execution.before(operator.id).rows + count - old - removed,
        updated=count,
        removed=removed,
        late=late,
        next_close_us=state.earliest(due) if closing else None,
    )
    return sql.result(given)


def _known(
    execution: Execution, sql: AggregationSql, state: KeyedState, made: str, dead: int
) -> str | None:
    """A table of the batch's groups as the state had them, merged; ``None`` for none."""
    found = state.matching(made, dead)
    if found is None:
        return None
    same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM m.{name}" for name in sql.group_columns)
    if execution.job.output_mode != "update":
        # Only their number is wanted: the aggregates' states need not be read.
        names = ", ".join(f"s.{name}" for name in sql.group_columns) or "1 AS one"
        distinct = (
            f"SELECT DISTINCT {names} FROM ({found}) AS s SEMI JOIN {made} AS m ON {same or 'true'}"
        )
        return execution.tables.create(distinct)
    rows = f"SELECT s.* FROM ({found}) AS s SEMI JOIN {made} AS m ON {same or 'true'}"
    return execution.tables.create(sql.merged(rows))


def _leaving(
    execution: Execution,
    sql: AggregationSql,
    state: KeyedState,
    made: str,
    dead: int,
    due: int,
) -> str | None:
    """A table of the groups that close now, merged; ``None`` where none can."""
    now = f"SELECT {_columns(sql)} FROM {made} WHERE {EXPIRY} <= {due}"
    before = state.live(dead, due)
    if before is not None:
        return execution.tables.create(sql.merged(f"{now} UNION ALL {before}"))
    table = execution.tables.create(now)
    return table if execution.tables.value(f"SELECT count(*) FROM {table}") else None


def _due(execution: Execution, groups: str, lag: int, *, closing: bool) -> str:
    """Of a full reprocess's groups those that the incremental query has given."""
    if not closing or execution.job.output_mode != "append":
        return groups
    return f"SELECT * FROM ({groups}) WHERE {EXPIRY} <= {execution.closing_us(lag)}"


def columns_kept(execution: Execution, operator: Aggregate) -> list[str] | None:
    """Columns of the input that are kept for the batch; ``None`` for all.

    A row that turns out late goes to the late table with everything it has.
    """
    if operator.watermarked and execution.late.keeps:
        return None
    return columns_of(operator)


def closes(execution: Execution, sql: AggregationSql) -> bool:
    """Whether groups leave when the watermark reaches their end; in complete mode none does."""
    return sql.operator.watermarked and execution.job.output_mode != "complete"


def _repeats(sql: AggregationSql) -> bool:
    """Whether a row may be in several windows, so that its window tells it too."""
    return sql.window is not None and sql.window.slide_us < sql.window.length_us


def _columns(sql: AggregationSql) -> str:
    return ", ".join([*sql.state_columns, EXPIRY, HASH])
