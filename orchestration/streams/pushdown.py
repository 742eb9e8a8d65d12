"""Conditions before watermarks: what a condition leaves out does not move event time.

A condition that stands after ``with_watermark`` and does not use the event-time column is
applied before it is measured (semantics §1.7). So it is moved there, through conditions, selects
and unions; one that is joined by AND is cut, and each part moved as far as it goes. What comes
out is the same rows either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import Select, Where, WithWatermark
from orchestration.streams.pieces import conjuncts
from orchestration.streams.plan import Chain, JoinRoot, UnionRoot
from orchestration.streams.rewriting import substitute

if TYPE_CHECKING:
    from orchestration.streams.operators import Operator

__all__ = ["pushed"]


def pushed(chain: Chain) -> Chain:
    """A plan with its conditions before the watermarks that they may go before."""
    from dataclasses import replace

    root = chain.root
    if isinstance(root, UnionRoot):
        root = UnionRoot(tuple(map(pushed, root.inputs)))
    elif isinstance(root, JoinRoot):
        left = replace(root.left, chain=pushed(root.left.chain))
        right = replace(root.right, chain=pushed(root.right.chain))
        root = replace(root, left=left, right=right)
    made = Chain(root)
    for operator in chain.operators:
        if isinstance(operator, Where):
            made = _with_condition(made, operator)
        else:
            made = Chain(made.root, (*made.operators, operator))
    return made


def _with_condition(chain: Chain, operator: Where) -> Chain:
    parts = conjuncts(operator.expression)
    made, moved = chain, False
    stay: list[str] = []
    for part in parts:
        found = _moved(made, part)
        if found is None:
            stay.append(part)
        else:
            made, moved = found, True
    if not moved:
        return Chain(chain.root, (*chain.operators, operator))
    return Chain(made.root, (*made.operators, *map(Where, stay)))


def _moved(chain: Chain, condition: str) -> Chain | None:
    """The chain with a condition before a watermark; ``None`` where it cannot go before one."""
    operators: tuple[Operator, ...] = chain.operators
    text, best = condition, None
    at = len(operators)
    while at > 0:
        operator = operators[at - 1]
        if isinstance(operator, Select):
            values = {name.lower(): value for name, value in operator.columns}
            try:
                text = substitute(text, values)
            except ExpressionError:
                break
        elif isinstance(operator, WithWatermark):
            if operator.column.lower() in {name.lower() for name in columns_used(text)}:
                break
            best = (at - 1, text)
        elif not isinstance(operator, Where):
            break
        at -= 1
    if at == 0 and isinstance(chain.root, UnionRoot):
        inputs = [_moved(item, text) for item in chain.root.inputs]
        if any(item is not None for item in inputs):
            return Chain(
                UnionRoot(
                    tuple(
                        Chain(old.root, (*old.operators, Where(text))) if new is None else new
                        for old, new in zip(chain.root.inputs, inputs, strict=True)
                    )
                ),
                operators,
            )
    if best is None:
        return None
    place, text = best
    return Chain(chain.root, (*operators[:place], Where(text), *operators[place:]))
