"""Which columns of a result hold floating-point sums: their last bits depend on the order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    ExpressionKey,
    MapBatches,
    Select,
)
from orchestration.streams.plan import Chain, JoinRoot, UnionRoot

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestration.runtime.session import Session
    from orchestration.streams.operators import Operator

__all__ = ["summed_columns", "summed_in"]

_SUMS = frozenset({"sum", "avg"})
_ALWAYS = frozenset({"stddev_pop", "stddev_samp", "var_pop", "var_samp"})


def summed_in(session: Session) -> frozenset[str]:
    """Columns of a bound query's table that are computed of floating-point sums."""
    if session.is_plain:
        return frozenset()
    return summed_columns(session.chain, session.engine.describe_plan)


def summed_columns(plan: Chain, describe: Callable[[Chain], pa.Schema]) -> frozenset[str]:
    """Columns of a plan's result that are computed of floating-point sums.

    Args:
        plan: The plan.
        describe: Gives the columns of a plan's result.
    """
    found = _after(plan, describe)
    return frozenset(name for name in describe(plan).names if name.lower() in found)


def _after(chain: Chain, describe: Callable[[Chain], pa.Schema]) -> set[str]:
    """Names in lower case."""
    found = _of_root(chain, describe)
    for place, operator in enumerate(chain.operators):
        before = Chain(chain.root, chain.operators[:place])
        found = _through(operator, found, before, describe)
    return found


def _of_root(chain: Chain, describe: Callable[[Chain], pa.Schema]) -> set[str]:
    root = chain.root
    if isinstance(root, UnionRoot):
        names = [name.lower() for name in describe(Chain(root)).names]
        found: set[str] = set()
        for part in root.inputs:
            summed = _after(part, describe)
            theirs = describe(part).names
            found |= {
                name for name, other in zip(names, theirs, strict=True) if other.lower() in summed
            }
        return found
    if isinstance(root, JoinRoot):
        below = {name for side in chain.inputs for name in _after(side, describe)}
        return {name.lower() for name, text in root.columns if _mentions(text, below)}
    return set()


def _through(
    operator: Operator, found: set[str], before: Chain, describe: Callable[[Chain], pa.Schema]
) -> set[str]:
    if isinstance(operator, Select):
        return {name.lower() for name, text in operator.columns if _uses(text, found)}
    if isinstance(operator, MapBatches):
        return {name.lower() for name in operator.schema.names} if found else set()
    if isinstance(operator, ApplyWithState):
        return {name.lower() for name in operator.output_schema.names} if found else set()
    if not isinstance(operator, Aggregate):
        return found
    keys = {
        key.name.lower()
        for key in operator.keys
        if isinstance(key, ExpressionKey) and _uses(key.expression, found)
    }
    summed = {
        name.lower() for name, text in operator.columns if _sums(text, found, before, describe)
    }
    return keys | summed


def _sums(
    text: str, found: set[str], before: Chain, describe: Callable[[Chain], pa.Schema]
) -> bool:
    for call in parse_aggregate(text).calls:
        if call.function in _ALWAYS or any(_uses(argument, found) for argument in call.arguments):
            return True
        if call.function in _SUMS and _is_float(call.arguments[0], before, describe):
            return True
    return False


def _is_float(text: str, before: Chain, describe: Callable[[Chain], pa.Schema]) -> bool:
    asked = Chain(before.root, (*before.operators, Select((("headwater_asked", text),))))
    return pa.types.is_floating(describe(asked).field(0).type)


def _uses(text: str, names: set[str]) -> bool:
    return bool(names) and any(name.lower() in names for name in columns_used(text))


def _mentions(text: str, names: set[str]) -> bool:
    """Whether SQL over ``l."x"`` and ``r."x"`` names one of the columns."""
    quoted = re.findall(r'"((?:[^"]|"")*)"', text)
    return any(name.replace('""', '"').lower() in names for name in quoted)
