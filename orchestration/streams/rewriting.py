"""An expression over other columns: the same text with other names or values in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError
from orchestration.streams.parsing import parse_expression
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.references import Reference, read_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlglot import exp

__all__ = ["rewrite", "substitute"]

_PREFIX = len("SELECT\n")  # of what the parser is given; see parsing


def rewrite(text: str, replace: Callable[[Reference], tuple[int, str] | None]) -> str:
    """The text with other things in place of its columns.

    >>> rewrite("page || tags[1] = 'page'", lambda item: (1, f"l.{item.parts[0]}"))
    "l.page || l.tags[1] = 'page'"

    Args:
        text: One expression.
        replace: Given what the text names: how many of its parts are replaced, and by what;
            ``None`` leaves it.

    Raises:
        ExpressionError: The text does not parse, or a place in it is not known.
    """
    parsed = parse_expression(parse_expression(text).text)
    cuts: dict[int, tuple[int, str]] = {}
    for reference, names in _places(parsed.tree):
        found = replace(reference)
        if found is None:
            continue
        count, value = found
        first, last = names[0].meta, names[count - 1].meta
        if "start" not in first or "end" not in last:
            raise ExpressionError(
                f"{text}: the place of {reference} is not known", remedy="write it another way"
            )
        cuts[int(first["start"]) - _PREFIX] = (int(last["end"]) + 1 - _PREFIX, value)
    pieces, position = [], 0
    for start in sorted(cuts):
        end, value = cuts[start]
        pieces += [parsed.text[position:start], value]
        position = end
    return "".join([*pieces, parsed.text[position:]])


def substitute(text: str, values: Mapping[str, str]) -> str:
    """The text with an expression in place of each column.

    >>> substitute("double > 5 AND page = 'x'", {"double": "v * 2", "page": "page"})
    "(v * 2) > 5 AND page = 'x'"

    Args:
        text: One expression.
        values: Column in lower case to SQL; columns that are not there stay.

    Raises:
        ExpressionError: As :func:`rewrite`.
    """

    def replace(reference: Reference) -> tuple[int, str] | None:
        value = values.get(reference.parts[0].lower())
        if value is None:
            return None
        plain = value.lower().strip('"')
        if plain == reference.parts[0].lower() and quote_identifier(plain).strip('"') == plain:
            return None
        return 1, value if _is_name(value) else f"({value})"

    return rewrite(text, replace)


def _is_name(text: str) -> bool:
    from sqlglot import exp

    tree = parse_expression(text).tree
    return isinstance(tree, exp.Column) and len(tree.parts) == 1


def _places(tree: exp.Expr) -> list[tuple[Reference, list[exp.Identifier]]]:
    """Every column named, each time, with the identifiers it is written with."""
    from sqlglot import exp

    found: list[tuple[Reference, list[exp.Identifier]]] = []
    stack: list[tuple[exp.Expr, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        node, bound = stack.pop()
        if isinstance(node, exp.DataType):
            continue
        if isinstance(node, exp.Lambda):
            bound |= {item.name.lower() for item in node.expressions}
        elif isinstance(node, exp.Comprehension):
            names = (node.args.get("expression"), node.args.get("position"))
            bound |= {item.name.lower() for item in names if isinstance(item, exp.Identifier)}
        reference, rest = read_reference(node)
        if reference is not None and reference.parts[0].lower() not in bound:
            found.append((reference, _identifiers(node)))
        stack.extend((child, bound) for child in reversed(rest))
    return found


def _identifiers(node: exp.Expr) -> list[exp.Identifier]:
    from sqlglot import exp

    after: list[exp.Identifier] = []
    while isinstance(node, exp.Dot):
        if isinstance(node.expression, exp.Identifier):
            after.insert(0, node.expression)
        node = node.this
    if isinstance(node, exp.Identifier):
        return [node, *after]
    parts = node.parts if isinstance(node, exp.Column) else []
    return [*(part for part in parts if isinstance(part, exp.Identifier)), *after]
