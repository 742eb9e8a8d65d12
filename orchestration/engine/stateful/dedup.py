"""Deduplication: the first row of a key passes, and its key is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.stateful.keyed import EXPIRY, HASH, key_hash
from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.engine.stateful.relation import Relation
from orchestration.state.manifest import NEVER
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.streams.operators import DropDuplicates

__all__ = ["run_drop_duplicates"]


def run_drop_duplicates(
    execution: Execution, relation: Relation, operator: DropDuplicates, lag: int
) -> Relation:
    """The rows whose key is new, in this batch and in the state.

    A key leaves the state when the watermark reaches its event time, where that is part of the
    key; within a watermark, when it reaches the first row's event time and the delay; never
    otherwise.
    """
    job, tables = execution.job, execution.tables
    kept = execution.kept(execution.ordered(relation))
    table, late = f"({kept.sql})", 0
    dead, due = execution.late_us(lag), execution.closing_us(lag)
    time = "NULL"
    if operator.event_column is not None:
        time = f"epoch_us({quote_identifier(operator.event_column)})"
        in_time, late = execution.late.split(
            table, operator.id, kept.schema.names, time, execution.late_us(lag)
        )
        table = f"({in_time})"
    else:
        dead = due = -(2**63) + 1
    names = [quote_identifier(name) for name in operator.keys]
    keys = [f"headwater_k{number}" for number in range(len(names))]
    expiry = str(NEVER) if operator.within_us is not None else _expiry(operator, time)
    values = [f"{name} AS {key}" for name, key in zip(names, keys, strict=True)]
    # The first of each key by its number, and only keys and numbers: rows are not copied.
    first = tables.create(
        f"SELECT {', '.join(values)}, min({SEQUENCE}) AS {SEQUENCE}, "
        f"CAST({expiry} AS BIGINT) AS {EXPIRY}, {key_hash(names)} AS {HASH} "
        f"FROM {table} GROUP BY {', '.join(names)}"
    )
    if operator.within_us is not None:
        # The first row's time counts, whatever its duplicates have.
        first = tables.create(
            f"SELECT f.* EXCLUDE ({EXPIRY}), CAST({_expiry(operator, time)} AS BIGINT) AS {EXPIRY} "
            f"FROM {first} AS f JOIN {table} USING ({SEQUENCE})"
        )
    if job.full is not None:
        return _rows(kept, table, first)
    by_expiry = operator.event_in_keys and operator.within_us is None
    state = execution.keyed(operator.id, keys, keys, by_expiry=by_expiry)
    fresh = first
    found = state.matching(first, dead)
    if found is not None:
        same = " AND ".join(f"n.{key} IS NOT DISTINCT FROM o.{key}" for key in keys)
        seen = tables.create(f"SELECT o.* FROM ({found}) AS o SEMI JOIN {first} AS n ON {same}")
        fresh = tables.create(f"SELECT n.* FROM {first} AS n ANTI JOIN {seen} AS o ON {same}")
    count = int(tables.value(f"SELECT count(*) FROM {fresh}"))
    removed = state.count(dead, due)
    removed += int(tables.value(f"SELECT count(*) FROM {fresh} WHERE {EXPIRY} <= {due}"))
    listed = ", ".join([*keys, EXPIRY, HASH])
    state.add(tables.create(f"SELECT {listed} FROM {fresh} WHERE {EXPIRY} > {due}"))
    state.merge(due, lambda rows: rows)
    execution.finish(
        operator.id,
        "drop_duplicates",
        [state],
        rows=execution.before(operator.id).rows + count - removed,
        updated=count,
        removed=removed,
        late=late,
        next_close_us=state.earliest(due),
    )
    return _rows(kept, table, fresh)


def _rows(kept: Relation, table: str, first: str) -> Relation:
    """The rows that were the first of their key."""
    sql = f"SELECT {kept.listed()} FROM {table} SEMI JOIN {first} USING ({SEQUENCE})"
    return Relation(sql, kept.schema, kept.hidden)


def _expiry(operator: DropDuplicates, time: str) -> str:
    if operator.within_us is not None:
        return f"coalesce({time} + {operator.within_us}, {NEVER})"
    if operator.event_in_keys:
        return f"coalesce({time}, {NEVER})"
    return str(NEVER)
