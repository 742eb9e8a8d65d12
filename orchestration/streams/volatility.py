"""What of a stream depends on when its batches ran, so that no reprocess can repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.expressions import columns_used, uses_batch_timestamp
from orchestration.streams.grouping import AggregateStep
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    ExpressionKey,
    MapBatches,
    Select,
    SessionKey,
    Where,
)
from orchestration.streams.steps import SelectStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestration.streams.operators import Operator
    from orchestration.streams.steps import Step

__all__ = ["volatile"]


def volatile(
    steps: Iterable[Step | Operator], columns: Mapping[str, str] | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Volatile columns at the end, and conditions and keys that are volatile.

    Args:
        steps: Operators, or steps as they were written where those are not known yet.
        columns: Volatile columns at the start: lower case to their name.
    """
    now = dict(columns or {})
    filters: list[str] = []
    for step in steps:
        if isinstance(step, Where):
            if _depends(step.expression, now):
                filters.append(step.expression)
        elif isinstance(step, MapBatches):
            now = {n.lower(): n for n in step.schema.names} if now else {}
        elif isinstance(step, ApplyWithState):
            now = {n.lower(): n for n in step.output_schema.names} if now else {}
        elif isinstance(step, Select):
            now = {n.lower(): n for n, text in step.columns if _depends(text, now)}
        elif isinstance(step, SelectStep):  # a star not spelled out yet passes on what it gets
            now |= {n.lower(): n for n, text in step.named if _depends(text, now)}
        elif isinstance(step, Aggregate):
            now, keys = _aggregated(step, now)
            filters += keys
        elif isinstance(step, DropDuplicates):
            filters += [key for key in step.keys if key.lower() in now]
        elif isinstance(step, AggregateStep):
            now = {n.lower(): n for n, text in step.columns if _aggregate_depends(text, now)}
    return now, tuple(filters)


def _aggregated(step: Aggregate, now: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """After an aggregation: which rows are in which group may not depend on when it ran."""
    keys: list[str] = []
    names: dict[str, str] = {}
    for key in step.keys:
        texts = [key.expression, *([key.gap] if isinstance(key, SessionKey) else [])]
        if not any(_depends(text, now) for text in texts):
            continue
        keys.append(key.expression)
        made = [key.name] if isinstance(key, ExpressionKey) else ["window_start", "window_end"]
        names |= {name.lower(): name for name in made}
    names |= {name.lower(): name for name, text in step.columns if _aggregate_depends(text, now)}
    return names, keys


def _aggregate_depends(text: str, now: Mapping[str, str]) -> bool:
    if uses_batch_timestamp(text):
        return True
    return any(
        _depends(inner, now)
        for call in parse_aggregate(text).calls
        for inner in (*call.arguments, *([call.filter] if call.filter else []))
    )


def _depends(expression: str, columns: Mapping[str, str]) -> bool:
    return uses_batch_timestamp(expression) or any(
        name.lower() in columns for name in columns_used(expression)
    )
