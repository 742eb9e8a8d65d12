"""Conditions where they are applied: before watermarks, groups and joins.

A condition that stands after ``with_watermark`` and does not use the event-time column is
applied before it is measured (semantics §1.7): what it leaves out does not move event time. So
it is moved there, through conditions, selects and unions, through an aggregation where it is on
keys alone, and into the side of a join whose columns alone it uses. One that is joined by AND is
cut, and each part moved as far as it goes. What comes out is the same rows either way.

Source: Spark's ``PushPredicateThroughNonJoin`` and ``PushPredicateThroughJoin``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError
from orchestration.streams.expressions import columns_used, uses_batch_timestamp
from orchestration.streams.join_filters import LEFT_OUT, inferred, key_columns
from orchestration.streams.operators import (
    Aggregate,
    ExpressionKey,
    Select,
    Where,
    WithWatermark,
)
from orchestration.streams.parsing import parse_expression
from orchestration.streams.pieces import conjuncts
from orchestration.streams.plan import Chain, JoinRoot, UnionRoot
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.references import references
from orchestration.streams.rewriting import rewrite, substitute

if TYPE_CHECKING:
    from orchestration.streams.operators import Operator
    from orchestration.streams.plan import Root

__all__ = ["pushed"]


def pushed(chain: Chain) -> Chain:
    """A plan with its conditions before the watermarks that they may go before."""
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


def _moved(chain: Chain, text: str) -> Chain | None:
    """The chain with a condition further below; ``None`` where it can go before nothing.

    After what keeps state the condition stays as well: what an earlier declaration has kept there
    may not meet it.
    """
    if not chain.operators:
        return _into(chain.root, text)
    operator = chain.operators[-1]
    rest = Chain(chain.root, chain.operators[:-1])
    below = _before(operator, text)
    if below is None:
        return None
    made = _moved(rest, below)
    if isinstance(operator, WithWatermark | Aggregate):
        made = made or _with(rest, below)
    if made is None:
        return None
    made = Chain(made.root, (*made.operators, operator))
    return _with(made, text) if isinstance(operator, Aggregate) else made


def _before(operator: Operator, text: str) -> str | None:
    """A condition after an operator as one before it; ``None`` where there is none."""
    if isinstance(operator, Where):
        return text
    used = {name.lower() for name in columns_used(text)}
    if isinstance(operator, WithWatermark):
        return None if operator.column.lower() in used else text
    values: dict[str, str] = {}
    if isinstance(operator, Select):
        values = {name.lower(): value for name, value in operator.columns}
    elif isinstance(operator, Aggregate) and not uses_batch_timestamp(text):
        keys = [key for key in operator.keys if isinstance(key, ExpressionKey)]
        values = {key.name.lower(): key.expression for key in keys}
    # A condition on no column at all holds for all rows or none, and a group of no rows is a row.
    if not used or not used <= values.keys():
        return None
    try:
        return substitute(text, values)
    except ExpressionError:
        return None


def _into(root: Root, text: str) -> Chain | None:
    """A condition on what a chain starts with, in its inputs."""
    if isinstance(root, UnionRoot):
        inputs = [_moved(item, text) for item in root.inputs]
        if all(item is None for item in inputs):
            return None
        pairs = zip(root.inputs, inputs, strict=True)
        return Chain(
            UnionRoot(tuple(_with(old, text) if new is None else new for old, new in pairs))
        )
    made = _into_join(root, text) if isinstance(root, JoinRoot) else None
    return None if made is None else Chain(made, (Where(text),))


def _into_join(root: JoinRoot, text: str) -> JoinRoot | None:
    """A condition on the columns of one side, on that side."""
    columns = {name.lower(): value for name, value in root.columns}
    used = {name.lower() for name in columns_used(text)}
    if not used or not used <= columns.keys() or uses_batch_timestamp(text):
        return None
    both = rewrite(text, lambda item: (1, columns[item.parts[0].lower()]))
    found = references(parse_expression(both).tree)
    sides = {item.parts[0] for item in found}
    kept = {"inner": {"l", "r"}, "left": {"l"}, "right": {"r"}, "semi": {"l"}, "anti": {"l"}}
    if len(sides) != 1 or not sides <= kept.get(root.how, set()):
        return None
    (side,) = sides
    bare = rewrite(both, lambda item: (2, quote_identifier(item.parts[1])))
    left, right = root.left.chain, root.right.chain
    pairs = key_columns(root.left.keys, root.right.keys)
    if side == "l":
        left = _added(left, bare)
        more, other = inferred([bare], pairs), "r"
    else:
        right = _added(right, bare)
        more, other = inferred([bare], {two: one for one, two in pairs.items()}), "l"
    # What holds of an equal key holds on the other side, where rows need a match to come out.
    for condition in more if other in LEFT_OUT[root.how] else []:
        if other == "r":
            right = _added(right, condition)
        else:
            left = _added(left, condition)
    return replace(
        root, left=replace(root.left, chain=left), right=replace(root.right, chain=right)
    )


def _added(chain: Chain, text: str) -> Chain:
    return _moved(chain, text) or _with(chain, text)


def _with(chain: Chain, text: str) -> Chain:
    return Chain(chain.root, (*chain.operators, Where(text)))
