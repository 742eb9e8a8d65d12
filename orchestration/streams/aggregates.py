"""What stands in ``agg(...)``: aggregates, and an expression over them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError
from orchestration.streams.aggregate_functions import ALIASES, FUNCTIONS, INSTEAD, StateKind
from orchestration.streams.columns import Columns, did_you_mean
from orchestration.streams.expressions import check_expression, check_parsed
from orchestration.streams.functions import AGGREGATES
from orchestration.streams.parsing import Parsed, Word, parse_expression, pointer, same_tree, shown
from orchestration.streams.pieces import Pieces
from orchestration.streams.references import references

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlglot import exp

__all__ = ["PLACEHOLDER", "AggregateCall", "AggregateExpression", "parse_aggregate"]

#: Column that stands for the call of that number in :attr:`AggregateExpression.final`.
PLACEHOLDER = "headwater_agg_"

_NAMES = AGGREGATES | FUNCTIONS.keys() | ALIASES.keys()


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """One aggregate over the rows of a group.

    Attributes:
        function: Its canonical name, a key of
            :data:`orchestration.streams.aggregate_functions.FUNCTIONS`.
        arguments: SQL over the input columns, none for ``count(*)``. ``string_agg`` always has its
            separator.
        distinct: Whether each value counts once.
        filter: SQL condition that rows have to meet; ``None`` for all.
        order: Always ``None``: ``first`` and ``last`` go by event time, nothing else by order.
    """

    function: str
    arguments: tuple[str, ...] = ()
    distinct: bool = False
    filter: str | None = None
    order: None = None

    @property
    def state(self) -> StateKind:
        """What a group keeps for it between batches."""
        return "values" if self.distinct else FUNCTIONS[self.function].state

    @property
    def approximate(self) -> bool:
        """Whether its result may differ from one run over the same rows to another."""
        return self.function == "approx_count_distinct"

    def __str__(self) -> str:
        inside = ", ".join(self.arguments) or "*"
        text = f"{self.function}({'DISTINCT ' if self.distinct else ''}{inside})"
        return text if self.filter is None else f"{text} FILTER (WHERE {self.filter})"


@dataclass(frozen=True, slots=True)
class AggregateExpression:
    """An expression over aggregates and grouping keys.

    Attributes:
        calls: Its aggregates, equal ones once.
        final: The user's text with ``"headwater_agg_<i>"`` in place of ``calls[i]``.
    """

    calls: tuple[AggregateCall, ...]
    final: str


def parse_aggregate(
    text: str,
    columns: Columns | None = None,
    keys: Iterable[str] | None = None,
    *,
    place: str = "agg",
) -> AggregateExpression:
    """Take an expression over aggregates apart.

    >>> found = parse_aggregate("sum(amount) FILTER (WHERE ok) / count(*)")
    >>> [str(call) for call in found.calls]
    ['sum(amount) FILTER (WHERE ok)', 'count(*)']
    >>> found.final
    '"headwater_agg_0" / "headwater_agg_1"'

    Args:
        text: SQL in DuckDB's dialect.
        columns: What aggregates may name; ``None`` leaves names unchecked.
        keys: Columns that may stand outside of aggregates; ``None`` leaves them unchecked.
        place: Where it stands, for messages.

    Raises:
        ExpressionError: It does not parse, holds no aggregate, one that no state can be kept
            for, or a column that has no single value in a group.
    """
    from sqlglot import exp

    parsed = parse_expression(text, place)
    where = shown(place, text)
    if isinstance(parsed.tree, (exp.Alias, exp.Aliases)):
        raise ExpressionError(
            f"{where}: it is named before the equals sign already",
            remedy="remove AS and the name after it",
        )
    if PLACEHOLDER in text.lower():
        raise ExpressionError(f"{where}: names with {PLACEHOLDER} are taken", remedy="rename it")
    pieces = Pieces(parsed.text)
    calls: dict[AggregateCall, int] = {}
    final, position = "", 0
    for word in parsed.words:
        if not word.called or word.name not in _NAMES or word.start < position:
            continue
        call, end = _call(word, parsed, pieces, columns, place)
        number = calls.setdefault(call, len(calls))
        final += f'{parsed.text[position : word.start]}"{PLACEHOLDER}{number}"'
        position = end
    final += parsed.text[position:]
    if not calls:
        raise _none(parsed, where)
    _check_final(parsed, final, keys, where)
    return AggregateExpression(tuple(calls), final)


def _call(
    word: Word, parsed: Parsed, pieces: Pieces, columns: Columns | None, place: str
) -> tuple[AggregateCall, int]:
    """One aggregate and where in the text it ends."""
    where = shown(place, parsed.text)
    name = ALIASES.get(word.name, word.name)
    mark = pointer(parsed.text, word.start)
    if name not in FUNCTIONS:
        raise _unknown(word.name, where, mark)
    if word.qualified:
        raise ExpressionError(
            f"{where}: an aggregate is not called with a dot\n{mark}",
            remedy=f"write {word.name}(x); over the elements of a list: "
            f"list_aggregate(x, '{word.name}')",
        )
    start = pieces.at(word.start) + 1
    end = pieces.closing(start)
    distinct = pieces.kind(start + 1) == "DISTINCT"
    first = start + 2 if distinct or pieces.kind(start + 1) == "ALL" else start + 1
    if pieces.outside(first, end, "ORDER_BY"):
        raise ExpressionError(
            f"{where}: an aggregate takes no ORDER BY\n{mark}",
            remedy="first and last go by event time; for another order write min_by(x, y) or "
            "max_by(x, y), or sort the list: list_sort(list(x))",
        )
    arguments = pieces.split(first, end, pieces.outside(first, end, "COMMA"))
    if arguments in ([""], ["*"]):
        arguments = []
    condition, last = _filter(pieces, end, where, mark)
    if pieces.word(last + 1) == "over":
        raise ExpressionError(
            f"{where}: {word.name}(...) OVER (...) is a window function, and agg gives one row a "
            f"group\n{mark}",
            remedy="compute it in a query on the output table",
        )
    if pieces.word(last + 1) == "within":
        raise ExpressionError(
            f"{where}: WITHIN GROUP is not taken\n{mark}",
            remedy="write quantile_cont(x, 0.5) or quantile_disc(x, 0.5)",
        )
    for item in (*arguments, *(() if condition is None else (condition,))):
        _check_inner(item, word, columns, where, place)
    _check_arguments(word.name, name, arguments, distinct, where, mark)
    if name == "string_agg" and len(arguments) == 1:
        arguments.append("','")
    call = AggregateCall(name, tuple(arguments), distinct, condition)
    return call, pieces.tokens[last].end + 1


def _filter(pieces: Pieces, end: int, where: str, mark: str) -> tuple[str | None, int]:
    """The condition after an aggregate's closing bracket, and the last token of it all."""
    if pieces.word(end + 1) != "filter" or pieces.kind(end + 2) != "L_PAREN":
        return None, end
    last = pieces.closing(end + 2)
    first = end + 4 if pieces.kind(end + 3) == "WHERE" else end + 3
    condition = pieces.between(first, last)
    if not condition:
        raise ExpressionError(
            f"{where}: FILTER has no condition\n{mark}", remedy="write FILTER (WHERE condition)"
        )
    return condition, last


def _check_inner(text: str, word: Word, columns: Columns | None, where: str, place: str) -> None:
    """What an aggregate is over has to be a row-by-row expression."""
    from sqlglot import exp

    inner = parse_expression(text, place)
    nested = next((w for w in inner.words if w.called and w.name in _NAMES), None)
    if nested is not None or inner.tree.find(exp.AggFunc):
        raise ExpressionError(
            f"{where}: an aggregate ({nested.name if nested else 'here'}) stands inside an "
            f"aggregate ({word.name})",
            remedy="aggregate twice: .group_by(...).agg(...).group_by(...).agg(...)",
        )
    if text.lstrip().startswith("*"):
        raise ExpressionError(
            f"{where}: {word.name}(*) stands for all columns, and one value is expected",
            remedy="name one column; only count takes a *",
        )
    check_expression(text, columns, place=place)


def _check_arguments(
    written: str, name: str, arguments: list[str], distinct: bool, where: str, mark: str
) -> None:
    function = FUNCTIONS[name]
    if not function.least <= len(arguments) <= function.most:
        wanted = {(0, 1): "one or none", (1, 1): "one", (1, 2): "one or two", (2, 2): "two"}
        raise ExpressionError(
            f"{where}: {written} has {len(arguments)} arguments, and takes "
            f"{wanted[function.least, function.most]}\n{mark}",
            remedy="several columns as one value are written as a row: count(DISTINCT (a, b))"
            if name == "count"
            else f"write {_example(name)}",
        )
    if distinct and (not function.distinct or not arguments):
        able = ", ".join(n for n, item in FUNCTIONS.items() if item.distinct)
        raise ExpressionError(
            f"{where}: {written} does not stand with DISTINCT\n{mark}",
            remedy=f"leave DISTINCT out, or write count(DISTINCT x); it stands with {able}",
        )
    if function.constant and len(arguments) == 2:
        tree = parse_expression(arguments[1]).tree
        if not (_is_quantile(tree) if function.constant == "quantile" else tree.is_string):
            raise ExpressionError(
                f"{where}: the second argument of {written} is "
                f"{'a number from 0 to 1, or a list of them' if name != 'string_agg' else 'a text'}"
                f", and a constant; this is {arguments[1]}\n{mark}",
                remedy=f"write {_example(name)}",
            )


def _is_quantile(tree: exp.Expr) -> bool:
    from sqlglot import exp

    if isinstance(tree, exp.Array):
        return bool(tree.expressions) and all(map(_is_quantile, tree.expressions))
    return isinstance(tree, exp.Literal) and not tree.is_string and 0 <= float(str(tree.this)) <= 1


def _example(name: str) -> str:
    examples = {
        "quantile_cont": "quantile_cont(x, 0.9)",
        "quantile_disc": "quantile_disc(x, [0.5, 0.9])",
        "string_agg": "string_agg(x, ', ')",
        "min_by": "min_by(x, y): x of the row with the least y",
        "max_by": "max_by(x, y): x of the row with the greatest y",
    }
    return examples.get(name, f"{name}(x)")


def _unknown(name: str, where: str, mark: str) -> ExpressionError:
    listing = ", ".join(sorted([*FUNCTIONS, *ALIASES]))
    guess = did_you_mean(name, [*FUNCTIONS, *ALIASES])
    if name in INSTEAD:
        return ExpressionError(
            f"{where}: {name} is not among the aggregates a stream takes: {listing}\n{mark}",
            remedy=f"write {INSTEAD[name]}",
        )
    return ExpressionError(
        f"{where}: {name} is not among the aggregates a stream takes{guess}\n{mark}",
        remedy=f"use one of {listing}; or keep the values with list(x) and compute it in a query "
        "on the output table",
    )


def _none(parsed: Parsed, where: str) -> ExpressionError:
    called = [word.name for word in parsed.words if word.called]
    near = next(
        (
            found[0]
            for name in called
            if (found := difflib.get_close_matches(name, [*FUNCTIONS, *ALIASES], n=1))
        ),
        "",
    )
    guess = f'; did you mean "{near}"?' if near else ""
    return ExpressionError(
        f"{where}: there is no aggregate in it, so it has no single value for a group{guess}",
        remedy='write e.g. "count(*)", "sum(amount)", "max(ts)"; what is the same in all rows of '
        "a group is a key of group_by, or any_value(x)",
    )


def _check_final(parsed: Parsed, final: str, keys: Iterable[str] | None, where: str) -> None:
    outer = parse_expression(final)
    if not same_tree(_marked(parsed.tree), _marked(outer.tree)):
        raise ExpressionError(
            f"{where}: its aggregates cannot be told apart from the rest",
            remedy="write them in a simpler form, e.g. with brackets around them",
        )
    check_parsed(outer, None, where)
    if keys is None:
        return
    known = {key.lower() for key in keys}
    for reference in references(outer.tree):
        name = reference.parts[0]
        if name.lower() in known or name.startswith(PLACEHOLDER):
            continue
        raise ExpressionError(
            f'{where}: column "{name}" stands outside of an aggregate and is no grouping key '
            f"({', '.join(keys) or 'there are none'})",
            remedy=f"write any_value({name}), max({name}) or the like, or add it to group_by",
        )


def _marked(tree: exp.Expr) -> exp.Expr:
    """A copy in which each outermost aggregate, or its placeholder, is the same name."""
    from sqlglot import exp

    def mark(node: exp.Expr) -> exp.Expr:
        inner = node.this if isinstance(node, (exp.Filter, exp.IgnoreNulls)) else node
        inner = inner.this if isinstance(inner, exp.IgnoreNulls) else inner
        named = isinstance(inner, exp.Anonymous) and inner.name.lower() in _NAMES
        stands_in = isinstance(node, exp.Column) and node.name.startswith(PLACEHOLDER)
        if named or stands_in or isinstance(inner, exp.AggFunc):
            return exp.column(PLACEHOLDER)
        return node

    return tree.transform(mark)
