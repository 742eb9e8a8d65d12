"""What a join's condition says of one side alone, applied before rows are remembered.

A row that cannot match is not kept, and where it would not come out either it is left out
before anything else, as by a ``where`` on that side; so it moves no watermark (semantics §1.7).
What is said of one side of an equal key holds for the other's too. All of it stays in the join's
condition as well, for rows that an earlier declaration has kept. Source: Spark's
``PushPredicateThroughJoin`` and ``InferFiltersFromConstraints``, whose results these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.streams.parsing import parse_expression
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.references import Reference, plain_reference, references
from orchestration.streams.rewriting import substitute
from orchestration.streams.scope import bare_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlglot import exp

    from orchestration.streams.join_conditions import Condition, Side
    from orchestration.streams.plan import JoinHow

__all__ = ["LEFT_OUT", "SideFilter", "filters_of", "inferred", "key_columns", "nonnull_columns"]

#: Sides whose rows come out only if they match.
LEFT_OUT: dict[JoinHow, frozenset[Side]] = {
    "inner": frozenset({"l", "r"}),
    "left": frozenset({"r"}),
    "right": frozenset({"l"}),
    "full": frozenset(),
    "semi": frozenset({"l", "r"}),
    "anti": frozenset({"r"}),
}


@dataclass(frozen=True, slots=True)
class SideFilter:
    """Conditions over the columns of one side.

    Attributes:
        where: Rows that do not meet them are left out.
        matches: Rows that do not meet it come out without a match, and are not remembered.
    """

    where: tuple[str, ...] = ()
    matches: str | None = None


def filters_of(condition: Condition, how: JoinHow) -> tuple[SideFilter, SideFilter]:
    """What a condition says of each side alone."""
    pairs = key_columns(condition.left, condition.right)
    turned = {two: one for one, two in pairs.items()}
    left = [*condition.only_left, *inferred(condition.only_right, turned)]
    right = [*condition.only_right, *inferred(condition.only_left, pairs)]
    made = (
        _filter("l", left, condition.only_left, condition.nonnull_left, how),
        _filter("r", right, condition.only_right, condition.nonnull_right, how),
    )
    windows = [item for item in condition.equal if item.window]
    return (
        _windowed(made[0], [item.left for item in windows]),
        _windowed(made[1], [item.right for item in windows]),
    )


def inferred(conditions: Sequence[str], pairs: Mapping[str, str]) -> list[str]:
    """Conditions on equal keys of one side, over those of the other.

    Args:
        conditions: Over the columns of one side.
        pairs: Its key columns in lower case, each with the other side's.
    """
    made = []
    for text in conditions:
        found = references(parse_expression(text).tree)
        if found and all(
            len(item.parts) == 1 and not item.star and item.parts[0].lower() in pairs
            for item in found
        ):
            made.append(substitute(text, {k: quote_identifier(v) for k, v in pairs.items()}))
    return made


def key_columns(left: Sequence[str], right: Sequence[str]) -> dict[str, str]:
    """Equal keys that are columns on both sides: the left one in lower case, and the right one."""
    pairs = [(bare_column(one), bare_column(two)) for one, two in zip(left, right, strict=True)]
    return {one.lower(): two.lower() for one, two in pairs if one is not None and two is not None}


def nonnull_columns(text: str) -> list[Reference]:
    """Columns that cannot be null where a condition is true, fields of structs left out.

    >>> [str(item) for item in nonnull_columns("l.a + 1 < r.b AND coalesce(l.c, 1) = r.d")]
    ['l.a', 'r.b', 'r.d']

    Args:
        text: A condition over columns that are named with their side.
    """
    from sqlglot import exp

    found: dict[Reference, None] = {}
    stack: list[exp.Expr] = [parse_expression(text).tree]
    compared = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)
    passed = (exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren, exp.Cast, exp.DateBin)
    while stack:
        node = stack.pop()
        reference = plain_reference(node)
        if reference is not None:
            if len(reference.parts) == 2 and not reference.star:
                found.setdefault(reference)
        elif isinstance(node, (exp.And, *compared, *passed)):
            inner = [item for item in node.iter_expressions() if not isinstance(item, exp.DataType)]
            stack.extend(reversed(inner))
    return list(found)


def _filter(
    side: Side, all_of: Sequence[str], own: Sequence[str], nonnull: Sequence[str], how: JoinHow
) -> SideFilter:
    if side in LEFT_OUT[how]:
        known = [f"{quote_identifier(name)} IS NOT NULL" for name in nonnull]
        return SideFilter(tuple(dict.fromkeys([*all_of, *known])))
    return SideFilter((), " AND ".join(f"({text})" for text in own) or None)


def _windowed(made: SideFilter, times: Sequence[str]) -> SideFilter:
    """A null time is in no window, also on a side whose other rows all come out."""
    known = [f"{quote_identifier(name)} IS NOT NULL" for name in times]
    return SideFilter(tuple(dict.fromkeys([*made.where, *known])), made.matches)
