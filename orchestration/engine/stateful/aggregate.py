"""Windowed and plain aggregations: a batch's groups, merged with those of the batches before."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    if job.full is None and closing:
        made, late = _made_in_one_pass(execution, relation, operator, sql, lag)
    else:
        kept = execution.kept(relation, columns_kept(execution, operator))
        rows, late = sql.expanded(f"({kept.sql})"), 0
        if closing:
            expanded = tables.create(rows)
            told = _told(kept, sql)
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


def _made_in_one_pass(
    execution: Execution, relation: Relation, operator: Aggregate, sql: AggregationSql, lag: int
) -> tuple[str, int]:
    """A table of the groups of a batch's rows that are in time, and how many rows are not.

    A row is late with its whole group, so rows need not be kept to be looked at again: late groups
    are made with the others, each with the texts of its rows, and taken out.
    """
    tables, watermark = execution.tables, execution.late_us(lag)
    names = {name.lower() for name in columns_of(operator)}
    columns = [quote_identifier(x.name) for x in relation.schema if x.name.lower() in names]
    text = f"CASE WHEN {END} <= {watermark} THEN {row_text(_told(relation, sql))} END AS {_LATE}"
    listed = ", ".join([*columns, END, *relation.hidden, text])
    rows = f"SELECT {listed} FROM ({sql.expanded(f'({relation.sql})')})"
    also = [f"list({_LATE}) FILTER (WHERE {_LATE} IS NOT NULL) AS {_LATE}"]
    also += [f"max({name}) AS {name}" for name in relation.measured]
    groups = tables.create(sql.made(rows, closing=True, also=also))
    execution.measure(groups, relation.measured)
    late = f"SELECT unnest({_LATE}) AS {_LATE}, {END} FROM {groups} WHERE {END} <= {watermark}"
    count = execution.late.take(f"({late})", operator.id, _LATE, END, watermark)
    if not count:
        return groups, 0
    return tables.create(f"SELECT * FROM {groups} WHERE {END} > {watermark}"), count


def _told(relation: Relation, sql: AggregationSql) -> list[str]:
    """The columns that tell a late row; where it may be in several windows, its window too."""
    repeats = sql.window is not None and sql.window.slide_us < sql.window.length_us
    return [*relation.schema.names, *([END] if repeats else [])]


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


def _columns(sql: AggregationSql) -> str:
    return ", ".join([*sql.state_columns, EXPIRY, HASH])
