"""Session windows: a key that a batch touches is written anew, with all its open sessions.

What an older run says of such a key no longer counts. A replaced session never outlives the one
that replaced it, so runs may lose their dead rows without bringing older ones back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.stateful.aggregate import aggregation_of, closes, columns_kept
from orchestration.engine.stateful.aggregation import END
from orchestration.engine.stateful.keyed import EXPIRY, HASH, key_hash
from orchestration.engine.stateful.partials import BATCH
from orchestration.engine.stateful.relation import Relation
from orchestration.engine.stateful.sessions import newest, sessions_of, united

if TYPE_CHECKING:
    from orchestration.engine.stateful.aggregation import AggregationSql
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.keyed import KeyedState
    from orchestration.streams.operators import Aggregate

__all__ = ["run_sessions"]


def run_sessions(
    execution: Execution, relation: Relation, operator: Aggregate, lag: int
) -> Relation:
    """Aggregate a batch's rows by session, and give those that the output mode wants."""
    job, tables = execution.job, execution.tables
    sql = aggregation_of(execution, relation, operator)
    closing = closes(execution, sql)
    schema = execution.describer.after(relation.schema, operator)
    kept = execution.kept(execution.ordered(relation), columns_kept(execution, operator))
    expanded = tables.create(sql.expanded(f"({kept.sql})"))
    rows, late = f"SELECT * FROM {expanded}", 0
    if operator.watermarked:  # late rows are dropped in complete mode too
        rows, late = execution.late.split(
            expanded, operator.id, kept.schema.names, END, execution.late_us(lag)
        )
    made = tables.create(sessions_of(sql, rows, closing=closing))
    if job.full is not None:
        given = f"SELECT * FROM {made}"
        if closing:
            given += f" WHERE {EXPIRY} <= {execution.closing_us(lag)}"
        return Relation(sql.result(given), schema)
    state = execution.keyed(operator.id, sql.state_columns, sql.group_columns)
    given = _carried_over(execution, operator, sql, state, made, lag, closing, late)
    return Relation(sql.result(given), schema)


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
    """Bring a batch's sessions into the state; the SELECT of what is given."""
    tables = execution.tables
    dead, due = execution.late_us(lag), execution.closing_us(lag)
    if not closing:
        dead = due = -(2**63) + 1
    updated = int(tables.value(f"SELECT count(*) FROM {made}"))
    now, old = _touched(execution, sql, state, made, dead, closing) if updated else (made, 0)
    count = int(tables.value(f"SELECT count(*) FROM {now}"))
    listed = _columns(sql)
    if closing:
        given = f"SELECT {listed} FROM {now} WHERE {EXPIRY} <= {due}"
        before = _untouched(sql, state, execution, now, dead, due)
        if before is not None:
            given = f"{given} UNION ALL {before}"
        given = tables.create(given)
        removed = int(tables.value(f"SELECT count(*) FROM {given}"))
        state.add(tables.create(f"SELECT * FROM {now} WHERE {EXPIRY} > {due}"))
    else:
        removed = 0
        state.add(now)
        everything = state.live(dead) or f"SELECT {listed} FROM {now}"
        given = tables.create(newest(sql, everything))
    state.merge(due, lambda sessions: newest(sql, sessions))
    execution.finish(
        operator.id,
        "session",
        [state],
        rows=execution.before(operator.id).rows + count - old - removed,
        updated=updated,
        removed=removed,
        late=late,
        next_close_us=state.earliest(due) if closing else None,
    )
    return f"SELECT * FROM {given}"


def _touched(
    execution: Execution,
    sql: AggregationSql,
    state: KeyedState,
    made: str,
    dead: int,
    closing: bool,
) -> tuple[str, int]:
    """All sessions of the batch's keys, and how many of them the state had."""
    keys = execution.tables.create(
        f"SELECT DISTINCT {', '.join(sql.key_columns)}, "
        f"{key_hash(sql.key_columns)} AS {HASH} FROM {made}"
    )
    found = state.matching(keys, dead)
    if found is None:
        return made, 0
    same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM k.{name}" for name in sql.key_columns)
    before = execution.tables.create(
        newest(sql, f"SELECT s.* FROM ({found}) AS s SEMI JOIN {keys} AS k ON {same}")
    )
    old = int(execution.tables.value(f"SELECT count(*) FROM {before}"))
    listed = _columns(sql)
    both = f"SELECT {listed} FROM {made} UNION ALL SELECT {listed} FROM {before}"
    return execution.tables.create(united(sql, both, closing=closing)), old


def _untouched(
    sql: AggregationSql, state: KeyedState, execution: Execution, now: str, dead: int, due: int
) -> str | None:
    """Sessions of other keys that close now, without those that a newer run has replaced."""
    found = state.live(dead, due)
    if found is None:
        return None
    same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM k.{name}" for name in sql.key_columns)
    closing = execution.tables.create(
        f"SELECT s.* FROM ({found}) AS s ANTI JOIN {now} AS k ON {same}"
    )
    versions = state.matching(closing, dead)
    if versions is None:
        return f"SELECT {_columns(sql)} FROM {closing}"
    keys = ", ".join(sql.key_columns)
    last = execution.tables.create(
        f"SELECT {keys}, max({BATCH}) AS headwater_newest FROM ({versions}) GROUP BY {keys}"
    )
    listed = ", ".join(f"s.{name}" for name in (*sql.state_columns, EXPIRY, HASH))
    return (
        f"SELECT {listed} FROM {closing} AS s JOIN {last} AS k ON {same} "
        f"WHERE s.{BATCH} = k.headwater_newest"
    )


def _columns(sql: AggregationSql) -> str:
    return ", ".join([*sql.state_columns, EXPIRY, HASH])
