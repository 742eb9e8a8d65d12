"""Joins: what two inputs give in a batch, a static table or another stream on the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.stateful.join_sides import matching_condition, output_of, sides_of
from orchestration.engine.stateful.join_state import StreamJoin
from orchestration.engine.stateful.keyed import EXPIRY
from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.engine.stateful.relation import Relation
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.join_sides import Side
    from orchestration.streams.plan import JoinRoot

__all__ = ["run_join"]

_PER_SOURCE_BITS = 48  # below them a number tells the row, above them the source (see Inputs)


def run_join(execution: Execution, root: JoinRoot, left: Relation, right: Relation) -> Relation:
    """What a join gives in this batch.

    With a static side, the other's rows meet all its rows and nothing is remembered. Two streams
    remember their rows for each other, see :class:`StreamJoin`.

    Args:
        execution: The batch.
        root: The join.
        left, right: What the sides give in this batch.
    """
    schema = execution.describer.root(root)
    static = root.left.chain.is_static or root.right.chain.is_static
    sides = sides_of(execution, root, left, right)
    if static:
        return _with_static(execution, root, sides, schema)
    if execution.job.full is not None:
        return _whole(execution, root, sides, schema)
    join = StreamJoin(execution, root, sides)
    return Relation(join.run(), schema, streamed=True)


def _with_static(
    execution: Execution, root: JoinRoot, sides: tuple[Side, Side], schema: pa.Schema
) -> Relation:
    """One SELECT; a stream's event time is measured before, whatever the join leaves of it."""
    selects = []
    numbered = None
    for side, outer in zip(sides, ("left", "right"), strict=True):
        relation = side.relation
        if any(name != SEQUENCE for name in relation.hidden):
            relation = execution.kept(relation)
        # Every row of the result has one of a side whose rows all come through, or just its own.
        if relation.numbered and root.how in {"inner", "semi", "anti", outer}:
            numbered = f"{side.alias}.{SEQUENCE}"
        listed = ", ".join([relation.listed(), *side.computed_columns])
        selects.append(f"(SELECT {listed} FROM ({relation.sql})) AS {side.alias}")
    left, right = selects
    condition = matching_condition(execution, root, sides)
    output = output_of(root)
    hidden: tuple[str, ...] = ()
    if numbered is not None:
        output, hidden = f"{output}, {numbered} AS {SEQUENCE}", (SEQUENCE,)
    sql = f"SELECT {output} FROM {left} {root.how.upper()} JOIN {right} ON {condition}"
    if numbered is not None and root.how not in {"semi", "anti"}:
        sql = _renumbered(sql, schema)
    return Relation(sql, schema, hidden, streamed=True)


def _renumbered(sql: str, schema: pa.Schema) -> str:
    """With numbers that no two rows have, though one row may have met several."""
    names = ", ".join(map(quote_identifier, schema.names))
    source = f"{SEQUENCE} >> {_PER_SOURCE_BITS}"
    number = (
        f"(({source}) << {_PER_SOURCE_BITS}) + row_number() OVER "
        f"(PARTITION BY {source} ORDER BY {SEQUENCE}, {names}) - 1"
    )
    return f"SELECT {names}, CAST({number} AS BIGINT) AS {SEQUENCE} FROM ({sql})"


def _whole(
    execution: Execution, root: JoinRoot, sides: tuple[Side, Side], schema: pa.Schema
) -> Relation:
    """The join of all rows of both streams.

    Rows without a match are given as far as the incremental query has given them: up to the
    watermark.
    """
    due = execution.closing_us(sides[0].lag)
    selects = []
    for side in sides:
        rows = f"SELECT {side.listed}, true AS headwater_met FROM ({side.relation.sql})"
        if execution.late.leaves_out(side.late_id):
            table = execution.tables.create(rows)
            rows, _ = execution.late.split(
                table, side.late_id, side.schema.names, side.late_us, execution.late_us(side.lag)
            )
        selects.append(f"({rows}) AS {side.alias}")
    left, right = selects
    condition = matching_condition(execution, root, sides)
    alone = []
    if root.how in {"left", "full"}:
        alone.append(f"(r.headwater_met OR l.{EXPIRY} <= {due})")
    if root.how in {"right", "full"}:
        alone.append(f"(l.headwater_met OR r.{EXPIRY} <= {due})")
    if root.how == "anti":
        alone.append(f"l.{EXPIRY} <= {due}")
    where = f" WHERE {' AND '.join(alone)}" if alone else ""
    sql = (
        f"SELECT {output_of(root)} FROM {left} {root.how.upper()} JOIN {right} "
        f"ON {condition}{where}"
    )
    return Relation(sql, schema, streamed=True)
