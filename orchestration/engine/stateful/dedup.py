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
        rows = tables.create(kept.sql)
        in_time, late = execution.late.split(
            rows, operator.id, kept.schema.names, time, execution.late_us(lag)
        )
        table = f"({in_time})"
    else:
        dead = due = -(2**63) + 1
    names = [quote_identifier(name) for name in operator.keys]
    keys = [f"headwater_k{number}" for number in range(len(names))]
    expiry = _expiry(operator, time)
    values = [f"{name} AS {key}" for name, key in zip(names, keys, strict=True)]
    # The first of each key, by the number of its row: no sort of whole rows.
    firsts = f"SELECT min({SEQUENCE}) AS {SEQUENCE} FROM {table} GROUP BY {', '.join(names)}"
    first = tables.create(
        f"SELECT *, {', '.join(values)}, CAST({expiry} AS BIGINT) AS {EXPIRY}, "
        f"{key_hash(names)} AS {HASH} FROM {table} SEMI JOIN ({firsts}) USING ({SEQUENCE})"
    )
    if job.full is not None:
        return Relation(f"SELECT {kept.listed()} FROM {first}", kept.schema, kept.hidden)
    state = execution.keyed(operator.id, keys, keys)
    fresh = first
    found = state.matching(first, dead)
    if found is not None:
        same = " AND ".join(f"n.{key} IS NOT DISTINCT FROM o.{key}" for key in keys)
        seen = tables.create(f"SELECT o.* FROM ({found}) AS o SEMI JOIN {first} AS n ON {same}")
        fresh = tables.create(f"SELECT n.* FROM {first} AS n ANTI JOIN {seen} AS o ON {same}")
    count = int(tables.value(f"SELECT count(*) FROM {fresh}"))
    leaving = state.live(dead, due)
    removed = int(tables.value(f"SELECT count(*) FROM ({leaving})")) if leaving else 0
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
    return Relation(f"SELECT {kept.listed()} FROM {fresh}", kept.schema, kept.hidden)


def _expiry(operator: DropDuplicates, time: str) -> str:
    if operator.within_us is not None:
        return f"coalesce({time} + {operator.within_us}, {NEVER})"
    if operator.event_in_keys:
        return f"coalesce({time}, {NEVER})"
    return str(NEVER)
