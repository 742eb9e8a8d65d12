"""What ``on`` of a join says: equal keys, ranges of time, and the rest.

A range of time bounds how long a row can still match: for ``lt <= rt <= lt + 5 s`` a left row
is over once the right side's watermark has passed ``lt + 5 s``, a right row once the left side's
has passed ``rt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestration.errors import ExpressionError
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import check_expression, uses_batch_timestamp
from orchestration.streams.join_filters import nonnull_columns
from orchestration.streams.parsing import parse_expression, same_tree, shown
from orchestration.streams.pieces import Pieces, conjuncts, unwrap
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.references import Reference, check_reference, references
from orchestration.streams.rewriting import rewrite
from orchestration.streams.time_terms import EqualTime, Term, bucket, term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlglot import exp

__all__ = ["Bound", "Condition", "Side", "qualified", "read_condition"]

Side = Literal["l", "r"]


@dataclass(frozen=True, slots=True)
class Bound:
    """``column + offset`` is not before the other side's event time, in rows that match.

    Attributes:
        side: Whose rows it bounds.
        column: Their column.
        other: The other side's column.
        offset_us: Microseconds.
        strict: Whether they may not be equal either.
    """

    side: Side
    column: str
    other: str
    offset_us: int
    strict: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of two rows.

    Attributes:
        left, right: SQL over the columns of one side, equal pairwise.
        residual: What else, over ``l."x"`` and ``r."x"``; ``None`` for nothing.
        equal: Keys that are times.
        bounds: Ranges of time in the residual.
        only_left, only_right: What of the residual is of one row alone, over its own columns.
        nonnull_left, nonnull_right: Columns that are not null in rows that match.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    residual: str | None
    equal: tuple[EqualTime, ...]
    bounds: tuple[Bound, ...]
    only_left: tuple[str, ...] = ()
    only_right: tuple[str, ...] = ()
    nonnull_left: tuple[str, ...] = ()
    nonnull_right: tuple[str, ...] = ()


class _Names:
    """Finds the side of every column that a condition names."""

    def __init__(self, left: Columns, right: Columns, where: str) -> None:
        self._columns: dict[Side, Columns] = {"l": left, "r": right}
        self._where = where

    def find(self, reference: Reference) -> tuple[Side, int, str]:
        """Side, how many parts name it, and the column as it is spelled there."""
        first = reference.parts[0].lower()
        if first in {"left", "right"} and len(reference.parts) > 1 and not reference.quoted:
            side: Side = "l" if first == "left" else "r"
            inner = Reference(reference.parts[1:], quoted=True)
            check_reference(inner, self._columns[side], self._where)
            return side, 2, _spelled(inner.parts[0], self._columns[side])
        left, right = (first in self._columns[key] for key in ("l", "r"))
        if left and right:
            raise ExpressionError(
                f'{self._where}: both sides have a column "{reference.parts[0]}"',
                remedy=f'write left."{reference.parts[0]}" or right."{reference.parts[0]}"; for '
                f'equal columns of one name on=["{reference.parts[0]}"]',
            )
        if not left and not right:
            both = Columns((*self._columns["l"].items, *self._columns["r"].items))
            check_reference(reference, both, self._where)
        side = "l" if left else "r"
        check_reference(reference, self._columns[side], self._where)
        return side, 1, _spelled(reference.parts[0], self._columns[side])

    def sides(self, tree: exp.Expr) -> set[Side]:
        """The sides of all columns of an expression."""
        return {self.find(reference)[0] for reference in references(tree)}

    def nonnull(self, text: str) -> list[tuple[Side, str]]:
        """Side and name of the columns that are not null where a condition is true."""
        both = self.both(text)
        found = []
        for reference in nonnull_columns(both):
            side: Side = "l" if reference.parts[0] == "l" else "r"
            found.append((side, reference.parts[1]))
        return found

    def bare(self, text: str) -> str:
        """The text over the columns of one side."""

        def replace(reference: Reference) -> tuple[int, str]:
            _, count, name = self.find(reference)
            return count, quote_identifier(name)

        return rewrite(text, replace)

    def both(self, text: str) -> str:
        """The text over ``l."x"`` and ``r."x"``."""

        def replace(reference: Reference) -> tuple[int, str]:
            side, count, name = self.find(reference)
            return count, f"{side}.{quote_identifier(name)}"

        return rewrite(text, replace)


def read_condition(text: str, left: Columns, right: Columns) -> Condition:
    """A condition over the columns of both sides.

    Raises:
        ExpressionError: It does not parse, or names what is not there or not clear.
    """
    check_expression(text, None, place="join(on=")
    names = _Names(left, right, shown("join(on=", text))
    for reference in references(parse_expression(text).tree):
        names.find(reference)
    keys: list[tuple[str, str]] = []
    rest: list[str] = []
    equal: list[EqualTime] = []
    bounds: list[Bound] = []
    only: dict[Side, list[str]] = {"l": [], "r": []}
    nonnull: dict[Side, dict[str, None]] = {"l": {}, "r": {}}
    for part in conjuncts(text):
        for name in names.nonnull(part):
            nonnull[name[0]].setdefault(name[1])
        pair = _equal_pair(part, names)
        sides = names.sides(parse_expression(part).tree)
        if pair is None and len(sides) == 1 and not uses_batch_timestamp(part):
            only[sides.pop()].append(names.bare(part))
        if pair is None:
            rest.append(f"({names.both(part)})")
            bounds += _bounds(part, names)
            continue
        keys.append(pair)
        time = bucket(*pair)
        if time is not None:
            equal.append(time)
    return Condition(
        tuple(key for key, _ in keys),
        tuple(key for _, key in keys),
        " AND ".join(rest) or None,
        tuple(equal),
        tuple(bounds),
        tuple(only["l"]),
        tuple(only["r"]),
        tuple(nonnull["l"]),
        tuple(nonnull["r"]),
    )


def qualified(text: str, side: Side) -> str:
    """SQL over the columns of one side as SQL over ``l."x"`` or ``r."x"``.

    >>> qualified('epoch_us("ts")', "l")
    'epoch_us(l."ts")'
    """
    return rewrite(text, lambda item: (1, f"{side}.{quote_identifier(item.parts[0])}"))


def _equal_pair(text: str, names: _Names) -> tuple[str, str] | None:
    """Both sides of ``left expression = right expression``, over their own columns."""
    from sqlglot import exp

    tree = parse_expression(text).tree
    if not isinstance(tree, exp.EQ):
        return None
    one, two = names.sides(tree.this), names.sides(tree.expression)
    if {frozenset(one), frozenset(two)} != {frozenset("l"), frozenset("r")}:
        return None
    pieces = Pieces(parse_expression(text).text)
    count = len(pieces.tokens)
    for cut in pieces.outside(0, count, "EQ"):
        first, second = pieces.split(0, count, [cut])
        try:
            trees = parse_expression(first).tree, parse_expression(second).tree
        except ExpressionError:
            continue
        if same_tree(trees[0], tree.this) and same_tree(trees[1], tree.expression):
            made = names.bare(unwrap(first)), names.bare(unwrap(second))
            return made if one == {"l"} else (made[1], made[0])
    return None


def _bounds(text: str, names: _Names) -> list[Bound]:
    from sqlglot import exp

    tree = parse_expression(text).tree
    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Between) and not tree.args.get("symmetric"):
        middle, low, high = term(tree.this), term(tree.args["low"]), term(tree.args["high"])
        pairs = [(low, middle, False), (middle, high, False)]
    elif isinstance(tree, exp.LT | exp.LTE):
        pairs = [(term(tree.this), term(tree.expression), isinstance(tree, exp.LT))]
    elif isinstance(tree, exp.GT | exp.GTE):
        pairs = [(term(tree.expression), term(tree.this), isinstance(tree, exp.GT))]
    else:
        return []
    found = [_bound(less, more, names, strict=strict) for less, more, strict in pairs]
    return [item for item in found if item is not None]


def _bound(less: Term | None, more: Term | None, names: _Names, *, strict: bool) -> Bound | None:
    """``less <= more``: rows of the side of ``more`` are bounded by the other's event time."""
    if less is None or more is None:
        return None
    other, side = names.find(less.column), names.find(more.column)
    if other[0] == side[0]:
        return None
    if len(less.column.parts) > other[1] or len(more.column.parts) > side[1]:
        return None  # a field of a struct is no event time
    return Bound(side[0], side[2], other[2], more.offset_us - less.offset_us, strict)


def _spelled(name: str, columns: Sequence[str] | Columns) -> str:
    return next(item for item in columns if item.lower() == name.lower())
