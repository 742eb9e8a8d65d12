"""Which columns of its input a chain needs: the others are not made of the bytes at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.engine.stateful.aggregation import columns_of
from orchestration.engine.stateful.partials import ORDERED
from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import (
    Aggregate,
    ApplyChanges,
    ApplyWithState,
    DropDuplicates,
    Limit,
    Select,
    Where,
    WithWatermark,
)

if TYPE_CHECKING:
    from orchestration.streams.plan import Chain

__all__ = ["needed_columns", "needs_order"]


def needed_columns(chain: Chain, schema: pa.Schema, *, late_kept: bool) -> pa.Schema:
    """Those of the columns that a chain starts with which anything in it names.

    Args:
        chain: Operators over the input; what stands above the chain sees only its result.
        schema: The input's columns.
        late_kept: Rows may go to the late table, whole.
    """
    used: set[str] = set()
    for operator in chain.operators:
        if isinstance(operator, Where):
            used |= _lower(columns_used(operator.expression))
        elif isinstance(operator, WithWatermark):
            used.add(operator.column.lower())
        elif isinstance(operator, Select):
            for _, text in operator.columns:
                used |= _lower(columns_used(text))
            return _only(schema, used)
        elif isinstance(operator, Aggregate) and not (operator.watermarked and late_kept):
            return _only(schema, used | _lower(columns_of(operator)))
        elif isinstance(operator, ApplyChanges):
            return _only(schema, used | _of_changes(operator))
        else:
            return schema
    return schema


def needs_order(chain: Chain) -> bool:
    """Whether anything in a plan depends on the order in which rows arrived."""
    return any(
        isinstance(operator, DropDuplicates | Limit | ApplyWithState)
        or (isinstance(operator, Aggregate) and _is_ordered(operator))
        for part in chain.walk()
        for operator in part.operators
    )


def _is_ordered(operator: Aggregate) -> bool:
    return any(
        call.function in ORDERED
        for _, text in operator.columns
        for call in parse_aggregate(text).calls
    )


def _of_changes(operator: ApplyChanges) -> set[str]:
    spec = operator.spec
    texts = (spec.sequence, spec.delete_when, spec.truncate_when, operator.left_out)
    used = {*spec.columns, *([spec.unchanged] if spec.unchanged else [])}
    for text in texts:
        if text is not None:
            used |= set(columns_used(text))
    return _lower(list(used))


def _only(schema: pa.Schema, names: set[str]) -> pa.Schema:
    found = [item for item in schema if item.name.lower() in names]
    # A plain count(*) names no column, and a table needs one.
    return pa.schema(found or list(schema)[:1])


def _lower(names: tuple[str, ...] | list[str]) -> set[str]:
    return {name.lower() for name in names}
