"""An SQL text cut at its tokens, so that what a user wrote is kept character for character."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError
from orchestration.streams.parsing import parse_expression, same_tree, tokenize

if TYPE_CHECKING:
    from sqlglot import Token, exp

__all__ = ["Pieces", "conjuncts", "unwrap"]

_OPEN = frozenset({"L_PAREN", "L_BRACKET", "L_BRACE"})
_CLOSE = frozenset({"R_PAREN", "R_BRACKET", "R_BRACE"})


class Pieces:
    """The tokens of one expression.

    Attributes:
        text: The expression.
        tokens: Its tokens; their places count from the start of ``text``.
    """

    __slots__ = ("text", "tokens")

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = tokenize(text, text)

    def at(self, position: int) -> int:
        """Number of the token that starts at a place of the text."""
        return next(i for i, token in enumerate(self.tokens) if token.start == position)

    def kind(self, index: int) -> str:
        """Name of a token's type; empty past the end."""
        return self.tokens[index].token_type.name if 0 <= index < len(self.tokens) else ""

    def word(self, index: int) -> str:
        """A token's text as it is written, in lower case; empty past the end."""
        if not 0 <= index < len(self.tokens):
            return ""
        token = self.tokens[index]
        return self.text[token.start : token.end + 1].lower()

    def closing(self, index: int) -> int:
        """Number of the bracket that closes the one at ``index``."""
        depth = 0
        for i in range(index, len(self.tokens)):
            depth += (self.kind(i) in _OPEN) - (self.kind(i) in _CLOSE)
            if depth == 0:
                return i
        raise ExpressionError(f"{self.text}: a bracket is not closed", remedy="close it")

    def between(self, first: int, last: int) -> str:
        """The text from token ``first`` to before token ``last``."""
        if first >= last:
            return ""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end + 1]

    def outside(self, first: int, last: int, kind: str) -> list[int]:
        """Tokens of a type from ``first`` to before ``last`` that stand in no inner bracket."""
        found, depth = [], 0
        for i in range(first, last):
            name = self.kind(i)
            depth += (name in _OPEN) - (name in _CLOSE)
            if depth == 0 and name == kind:
                found.append(i)
        return found

    def split(self, first: int, last: int, cuts: list[int]) -> list[str]:
        """The texts between the tokens ``cuts``."""
        edges = [first - 1, *cuts, last]
        return [self.between(start + 1, end) for start, end in itertools.pairwise(edges)]


def unwrap(text: str) -> str:
    """A text without the brackets around all of it.

    >>> unwrap("((a = 1))")
    'a = 1'
    >>> unwrap("(a) = (b)")
    '(a) = (b)'
    """
    while True:
        pieces = Pieces(text)
        last = len(pieces.tokens) - 1
        if last < 1 or pieces.kind(0) != "L_PAREN" or pieces.closing(0) != last:
            return text
        if pieces.outside(1, last, "COMMA"):
            return text  # a row (a, b)
        text = pieces.between(1, last)


def conjuncts(text: str) -> tuple[str, ...]:
    """The conditions that are joined by AND; one that cannot be cut stays whole.

    >>> conjuncts("a = 1 AND b BETWEEN 2 AND 3 AND (c OR d)")
    ('a = 1', 'b BETWEEN 2 AND 3', 'c OR d')
    >>> conjuncts("a OR b AND c")
    ('a OR b AND c',)

    Raises:
        ExpressionError: It does not parse.
    """
    from sqlglot import exp

    text = unwrap(text)
    parsed = parse_expression(text)
    if not isinstance(parsed.tree, exp.And):
        return (text,)
    pieces = Pieces(parsed.text)
    cuts, between, case = [], 0, 0
    ands = set(pieces.outside(0, len(pieces.tokens), "AND"))
    for i in range(len(pieces.tokens)):
        between += pieces.kind(i) == "BETWEEN"
        case += (pieces.kind(i) == "CASE") - (pieces.kind(i) == "END")
        if i in ands and case == 0:
            if between:
                between -= 1
            else:
                cuts.append(i)
    found = pieces.split(0, len(pieces.tokens), cuts)
    try:
        trees: list[exp.Expr] = [parse_expression(item).tree for item in found]
    except ExpressionError:
        return (text,)
    # flatten() yields the operands of nested ANDs from left to right
    expected = list(parsed.tree.flatten(unnest=False))
    if len(trees) != len(expected) or not all(map(same_tree, trees, expected)):
        return (text,)
    return tuple(part for item in found for part in conjuncts(item))
