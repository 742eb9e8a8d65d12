"""What a query's state depends on: its stateful operators, one after another, as JSON.

::

    {"watermarks": [{"id": "watermark-0", "column": "ts", "delay": "10 minutes", "sources": [...]}],
     "operators": [{"id": "aggregate-0", "kind": "aggregate",
                    "keys": [{"window": "ts", "length": "5 minutes"}, ...],
                    "columns": {"views": "count(*)"}, "closes": true,
                    "input": {"page": "VARCHAR"}}, ...]}

Expressions are kept as they were written; layout, capitals and quotes do not count when two are
compared. ``input`` holds the columns that the state is made of, with the type where it is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    Limit,
    SessionKey,
    WithWatermark,
)
from orchestration.streams.plan import Chain, JoinRoot, SourceRoot
from orchestration.streams.schema import field_type, schema_to_json
from orchestration.streams.showing import duration_text, function_name, key_described
from orchestration.streams.steps import apply_step

if TYPE_CHECKING:
    from orchestration.streams.body import Body
    from orchestration.streams.operators import StatefulOperator

__all__ = ["state_print"]

_Seen = tuple[Columns | None, ...]


def state_print(body: Body, plan: Chain) -> dict[str, Any]:
    """The stateful operators and watermarks of a query.

    Args:
        body: The stream.
        plan: Its plan, with ids.
    """
    watermarks: list[dict[str, Any]] = []
    operators: list[dict[str, Any]] = []
    inputs = iter(_inputs(body))
    for part in plan.walk():
        if isinstance(part.root, JoinRoot) and not any(item.is_static for item in part.inputs):
            operators.append(_join(part.root, next(inputs)))
        for operator in part.operators:
            if isinstance(operator, WithWatermark):
                watermarks.append(_watermark(operator, part))
            elif isinstance(operator, Aggregate | DropDuplicates | Limit | ApplyWithState):
                operators.append(_operator(operator, next(inputs)[0]))
    return {"watermarks": watermarks, "operators": operators}


def _inputs(body: Body) -> list[_Seen]:
    """Columns before each stateful operator, in the plan's order; of a join both sides'."""
    found: list[_Seen] = []
    bodies = body.start.bodies
    for item in bodies:
        found += _inputs(item)
    if body.start.scope.stateful[-1:] == ("join",) and len(bodies) == 2:
        left, right = bodies
        if not left.is_static and not right.is_static:
            found.append((left.scope.columns, right.scope.columns))
    scope = body.start.scope
    for step in body.steps:
        before = scope.columns
        operator, scope = apply_step(step, scope)
        if isinstance(operator, Aggregate | DropDuplicates | Limit | ApplyWithState):
            found.append((before,))
    return found


def _watermark(operator: WithWatermark, part: Chain) -> dict[str, Any]:
    found = {
        "id": operator.id,
        "column": operator.column,
        "delay": duration_text(operator.delay_us),
        "sources": [item.root.name for item in part.walk() if isinstance(item.root, SourceRoot)],
    }
    if operator.idle_timeout_us is not None:
        found["idle_timeout"] = duration_text(operator.idle_timeout_us)
    if operator.max_future_us is not None:
        found["max_future"] = duration_text(operator.max_future_us)
    return found


def _operator(operator: StatefulOperator, columns: Columns | None) -> dict[str, Any]:
    if isinstance(operator, Aggregate):
        return {
            "id": operator.id,
            "kind": "aggregate",
            "keys": [key_described(key) for key in operator.keys],
            "columns": dict(operator.columns),
            "closes": operator.watermarked,
            "input": _types(_used(operator), columns),
        }
    if isinstance(operator, DropDuplicates):
        return {
            "id": operator.id,
            "kind": "drop_duplicates",
            "keys": list(operator.keys),
            "within": operator.within_us is not None,
            "event_column": operator.event_column,
            "input": _types(operator.keys, columns),
        }
    if isinstance(operator, Limit):
        return {"id": operator.id, "kind": "limit", "count": operator.count}
    return {
        "id": operator.id,
        "kind": "apply",
        "keys": list(operator.keys),
        "state_schema": schema_to_json(operator.state_schema),
        "timeout": operator.timeout,
        "function": function_name(operator.function),
        "input": _types(operator.keys, columns),
    }


def _join(root: JoinRoot, columns: _Seen) -> dict[str, Any]:
    left, right = columns
    return {
        "id": root.id,
        "kind": "join",
        "how": root.how,
        "left": list(root.left.keys),
        "right": list(root.right.keys),
        "condition": root.condition,
        "closes": [side.expiry_expression is not None for side in (root.left, root.right)],
        "left_input": _types(left.names if left else (), left),
        "right_input": _types(right.names if right else (), right),
    }


def _used(operator: Aggregate) -> tuple[str, ...]:
    """Columns that an aggregation's keys and aggregates are made of."""
    texts: list[str] = []
    for key in operator.keys:
        texts += [key.expression, *([key.gap] if isinstance(key, SessionKey) else [])]
    for _, text in operator.columns:
        for call in parse_aggregate(text).calls:
            texts += [*call.arguments, *([call.filter] if call.filter else [])]
    found = {name.lower(): name for text in texts for name in columns_used(text)}
    return tuple(found.values())


def _types(names: tuple[str, ...], columns: Columns | None) -> dict[str, str | None]:
    """Type of each column, ``None`` where only the engine knows it."""
    found: dict[str, str | None] = {}
    for name in names:
        known = columns.field_of(name) if columns is not None and name in columns else None
        found[name.lower()] = None if known is None else field_type(known)
    return found
