"""Which columns of its input a chain needs: the others are not made of the bytes at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.engine.spared import Spared
from orchestration.engine.stateful.aggregation import columns_of
from orchestration.engine.stateful.partials import ORDERED
from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import (
    Aggregate,
    ApplyChanges,
    ApplyWithState,
    DropDuplicates,
    ExpressionKey,
    Limit,
    Select,
    Where,
    WindowKey,
    WithWatermark,
)
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.streams.plan import Chain

__all__ = ["needed_columns", "needs_order", "spared_columns"]


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


def spared_columns(chain: Chain, schema: pa.Schema, late_us: int) -> Spared | None:
    """Columns that only rows need which come too late for a grouping by event time.

    Args:
        chain: Operators over the input.
        schema: The columns that are read.
        late_us: What is not after this moment is late.
    """
    used: set[str] = set()
    for operator in chain.operators:
        if isinstance(operator, Where):
            used |= _lower(columns_used(operator.expression))
        elif isinstance(operator, WithWatermark) and operator.max_future_us is None:
            used.add(operator.column.lower())
        elif isinstance(operator, Aggregate) and operator.watermarked:
            time = _time_of(operator, schema)
            used |= _lower(columns_of(operator))
            names = frozenset(name for name in schema.names if name.lower() not in used)
            return Spared(names, time, late_us) if time is not None and names else None
        else:
            return None
    return None


def _time_of(operator: Aggregate, schema: pa.Schema) -> str | None:
    """The column whose value a group's end never comes before."""
    for key in operator.keys:
        if isinstance(key, WindowKey) or (
            isinstance(key, ExpressionKey) and key.name == operator.event_key
        ):
            for item in schema:
                plain = key.expression in {item.name, quote_identifier(item.name)}
                if plain and item.type == pa.timestamp("us", "UTC"):
                    return item.name
    return None


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
