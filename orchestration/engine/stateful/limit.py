"""``limit``: the first rows ever, or the first of a complete result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.relation import Relation
    from orchestration.streams.operators import Limit

__all__ = ["run_limit"]


def run_limit(execution: Execution, relation: Relation, operator: Limit) -> Relation:
    """Rows up to the limit; the number given so far is the state."""
    if execution.job.output_mode == "complete":
        # Where several rows come equally first, their values decide, or no two runs were alike.
        terms = [relation.order] if relation.order is not None else []
        order = ", ".join([*terms, *map(quote_identifier, relation.schema.names)])
        first = f"SELECT * FROM ({relation.sql}) ORDER BY {order} LIMIT {operator.count}"
        return replace(relation, sql=f"SELECT * FROM ({first})")
    kept = execution.kept(execution.ordered(relation))
    before = int(execution.before(operator.id).facts.get("given", 0))
    left = max(0, operator.count - before)
    table = execution.tables.create(f"SELECT * FROM ({kept.sql}) ORDER BY {SEQUENCE} LIMIT {left}")
    given = int(execution.tables.value(f"SELECT count(*) FROM {table}"))
    execution.finish(
        operator.id, "limit", [], rows=1, updated=given, facts={"given": before + given}
    )
    return replace(kept, sql=f"SELECT * FROM {table}")
