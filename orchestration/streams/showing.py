"""Steps as JSON, for plans and fingerprints, and as text, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.streams.grouping import AggregateStep
from orchestration.streams.operators import (
    Aggregate,
    ApplyChanges,
    ApplyWithState,
    DropDuplicates,
    ExpressionKey,
    Limit,
    MapBatches,
    OrderBy,
    Select,
    SessionKey,
    Where,
    WithWatermark,
)
from orchestration.streams.schema import schema_to_json
from orchestration.streams.scope import bare_column
from orchestration.streams.steps import DropDuplicatesStep, SelectStep
from orchestration.streams.windows import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestration.streams.operators import GroupKey, Operator
    from orchestration.streams.steps import Step

__all__ = ["described", "duration_text", "function_name", "key_described", "shown_step"]


def described(step: Step | Operator) -> dict[str, Any]:
    """A step, or the operator it comes to, as JSON."""
    if isinstance(step, Where):
        return {"where": step.expression}
    if isinstance(step, Select):
        return {"select": _columns(step.columns)}
    if isinstance(step, SelectStep):
        unnamed = [{"expression": text} for text in step.positional]
        return {"select": [*unnamed, *_columns(step.named)]}
    if isinstance(step, MapBatches):
        return {
            "map_batches": function_name(step.function),
            "schema": schema_to_json(step.schema),
        }
    if isinstance(step, WithWatermark):
        return {"with_watermark": step.column, **_durations(step)}
    if isinstance(step, Aggregate):
        return {"group_by": [*map(key_described, step.keys)], "agg": _columns(step.columns)}
    if isinstance(step, AggregateStep):
        return {"group_by": [repr(step.keys)], "agg": _columns(step.columns)}
    if isinstance(step, DropDuplicates | DropDuplicatesStep):
        return {_verb(step): list(step.keys)}
    if isinstance(step, Limit):
        return {"limit": step.count}
    if isinstance(step, OrderBy):
        return {"order_by": list(step.terms)}
    if isinstance(step, ApplyChanges):
        return {"apply_changes": list(step.spec.keys), "scd_type": step.spec.scd_type}
    return _apply(step)


def shown_step(step: Step | Operator) -> str:
    """A step, or the operator it comes to, as it is written in Python."""
    if isinstance(step, Where):
        return f".where({step.expression!r})"
    if isinstance(step, MapBatches):
        return f".map_batches({function_name(step.function)})"
    if isinstance(step, Select):
        return f".select({', '.join(_shown_column(name, text) for name, text in step.columns)})"
    if isinstance(step, SelectStep):
        return f".select({_arguments(step.positional, step.named)})"
    if isinstance(step, WithWatermark):
        more = "".join(f", {key}={value!r}" for key, value in _durations(step).items())
        return f".with_watermark({step.column!r}{more.replace(' delay=', ' ', 1)})"
    if isinstance(step, Aggregate):
        keys = ", ".join(_shown_key(key) for key in step.keys)
        return f".group_by({keys}).agg({_arguments((), step.columns)})"
    if isinstance(step, AggregateStep):
        return f".group_by({step.keys!r}).agg({_arguments((), step.columns)})"
    if isinstance(step, DropDuplicates | DropDuplicatesStep):
        return f".{_verb(step)}({_arguments(step.keys, ())})"
    if isinstance(step, Limit):
        return f".limit({step.count})"
    if isinstance(step, OrderBy):
        return f".order_by({_arguments(step.terms, ())})"
    if isinstance(step, ApplyChanges):
        return f"-> scd{step.spec.scd_type}({_arguments(step.spec.keys, ())})"
    return f".apply_in_arrow_with_state({function_name(step.function)}, {list(step.keys)!r})"


def key_described(key: GroupKey) -> dict[str, Any]:
    """A grouping key as JSON."""
    if isinstance(key, ExpressionKey):
        return {"name": key.name, "expression": key.expression}
    if isinstance(key, SessionKey):
        return {"session_window": key.expression, "gap": key.gap}
    found = {"window": key.expression, "length": duration_text(key.length_us)}
    if key.slide_us != key.length_us:
        found["slide"] = duration_text(key.slide_us)
    if key.offset_us:
        found["offset"] = duration_text(key.offset_us)
    return found


def function_name(function: Callable[..., object]) -> str:
    """Where a function is defined: module and name."""
    module = getattr(function, "__module__", None) or type(function).__module__
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{name}"


def _columns(columns: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "expression": text} for name, text in columns]


def _durations(step: WithWatermark) -> dict[str, str]:
    found = {"delay": duration_text(step.delay_us)}
    if step.idle_timeout_us is not None:
        found["idle_timeout"] = duration_text(step.idle_timeout_us)
    if step.max_future_us is not None:
        found["max_future"] = duration_text(step.max_future_us)
    return found


def _verb(step: DropDuplicates | DropDuplicatesStep) -> str:
    within = step.within if isinstance(step, DropDuplicatesStep) else step.within_us is not None
    return "drop_duplicates_within_watermark" if within else "drop_duplicates"


def _apply(step: ApplyWithState) -> dict[str, Any]:
    return {
        "apply_in_arrow_with_state": function_name(step.function),
        "keys": list(step.keys),
        "state_schema": schema_to_json(step.state_schema),
        "schema": schema_to_json(step.output_schema),
        "timeout": step.timeout,
    }


def _shown_key(key: GroupKey) -> str:
    if isinstance(key, ExpressionKey):
        return _shown_column(key.name, key.expression)
    if isinstance(key, SessionKey):
        return f"session_window({_bare(key.expression)!r}, {key.gap!r})"
    shown = key_described(key)
    more = "".join(f", {k}={shown[k]!r}" for k in ("slide", "offset") if k in shown)
    return f"window({_bare(key.expression)!r}, {shown['length']!r}{more})"


def _bare(text: str) -> str:
    """A column without its quotes."""
    return bare_column(text) or text


def _arguments(positional: tuple[str, ...], named: tuple[tuple[str, str], ...]) -> str:
    return ", ".join([*map(repr, positional), *(f"{name}={text!r}" for name, text in named)])


def _shown_column(name: str, text: str) -> str:
    return repr(name) if text in {name, f'"{name}"'} else f"{name}={text!r}"
