"""Which columns an expression names, lambda parameters left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.errors import ExpressionError
from orchestration.streams.columns import Columns, did_you_mean
from orchestration.streams.functions import RESERVED_WORDS
from orchestration.streams.schema import duckdb_type, is_json

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Reference", "check_reference", "plain_reference", "read_reference", "references"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A column, perhaps with fields of a struct in it.

    Attributes:
        parts: The column's name and those of the fields, as they are written.
        quoted: Whether the column's name stands in double quotes.
        star: Whether all fields are meant (``device.*``).
    """

    parts: tuple[str, ...]
    quoted: bool = False
    star: bool = False

    def __str__(self) -> str:
        return ".".join((*self.parts, "*") if self.star else self.parts)


def references(tree: exp.Expr) -> list[Reference]:
    """Every column named, in order of their first appearance in the tree.

    Walks without recursion: a condition of a thousand ORs is a tree a thousand levels deep.
    """
    from sqlglot import exp

    found: dict[Reference, None] = {}
    stack: list[tuple[exp.Expr, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        node, bound = stack.pop()
        if isinstance(node, exp.DataType):
            continue  # the fields of STRUCT(a INTEGER) are no columns
        if isinstance(node, exp.Lambda):
            bound |= {item.name.lower() for item in node.expressions}
        elif isinstance(node, exp.Comprehension):
            names = (node.args.get("expression"), node.args.get("position"))
            bound |= {item.name.lower() for item in names if isinstance(item, exp.Identifier)}
        reference, rest = read_reference(node)
        if reference is not None and reference.parts[0].lower() not in bound:
            found.setdefault(reference)
        stack.extend((child, bound) for child in reversed(rest))
    return list(found)


def plain_reference(tree: exp.Expr) -> Reference | None:
    """The column or struct field that an expression is, if it is nothing more than that."""
    reference, rest = read_reference(tree)
    return None if rest else reference


def read_reference(node: exp.Expr) -> tuple[Reference | None, list[exp.Expr]]:
    """A node as a reference, if it is one, and what below it is still to be looked at."""
    from sqlglot import exp

    if isinstance(node, exp.Column):
        return _of_column(node, []), []
    if not isinstance(node, exp.Dot):
        return None, [
            child for child in node.iter_expressions() if not isinstance(child, exp.Identifier)
        ]  # a bare name that is no column: of an argument, a key, a lambda parameter
    chain: list[exp.Expr] = []
    root: exp.Expr = node
    while isinstance(root, exp.Dot):
        chain.append(root.expression)
        root = root.this
    chain.reverse()
    fields: list[str] = []
    while chain and isinstance(chain[0], (exp.Identifier, exp.Literal)):
        fields.append(chain.pop(0).name)
    star = bool(chain) and isinstance(chain[0], exp.Star)
    rest = [] if star else chain  # functions called on it: their arguments
    if isinstance(root, exp.Identifier):
        return Reference((root.name, *fields), bool(root.quoted), star), rest
    if isinstance(root, exp.Column):
        return _of_column(root, fields, star=star), rest
    return None, [root, *rest]


def _of_column(column: exp.Column, fields: list[str], *, star: bool = False) -> Reference:
    from sqlglot import exp

    parts = [part for part in column.parts if not isinstance(part, exp.Star)]
    star = star or len(parts) < len(column.parts)
    if not parts:
        return Reference(("*",), star=star)
    quoted = isinstance(parts[0], exp.Identifier) and bool(parts[0].quoted)
    return Reference((*(part.name for part in parts), *fields), quoted, star)


def check_reference(reference: Reference, columns: Columns, where: str) -> pa.Field | None:  # type: ignore[type-arg]
    """Look a reference up.

    Args:
        reference: What the expression names.
        columns: What there is.
        where: The expression in its place, for messages.

    Returns:
        Its type, where that is known.

    Raises:
        ExpressionError: There is no such column, or no such field in it.
    """
    name = reference.parts[0]
    if not reference.quoted and name.lower() in RESERVED_WORDS:
        raise ExpressionError(
            f"{where}: {name} is a word of SQL, not a column",
            remedy=f'write "{name}" in double quotes if a column of that name is meant',
        )
    if name not in columns:
        if str(reference) in columns:
            raise ExpressionError(
                f'{where}: there is no column "{name}"; did you mean the column "{reference}"? '
                f"Columns: {columns.listing()}",
                remedy=f'write "{reference}" in double quotes, as its name has a dot in it',
            )
        hint = (
            "text stands in 'single quotes', names in \"double quotes\""
            if reference.quoted
            else "write one of these columns, or add the column to the source's schema"
        )
        raise ExpressionError(
            f'{where}: there is no column "{name}"{columns.suggestion(name)}. '
            f"Columns: {columns.listing()}",
            remedy=hint,
        )
    item = columns.field_of(name)
    for depth, part in enumerate(reference.parts[1:], 1):
        if item is None or is_json(item) or pa.types.is_map(item.type):
            return None  # only the engine knows what is in there
        path = ".".join(reference.parts[:depth])
        if not pa.types.is_struct(item.type):
            raise ExpressionError(
                f'{where}: "{path}" has no field "{part}": it is {duckdb_type(item.type)}, '
                f"not a struct. Columns: {columns.listing()}",
                remedy=_instead(item, path, part),
            )
        fields = {inner.name.lower(): inner for inner in item.type}
        if part.lower() not in fields:
            names = [inner.name for inner in item.type]
            raise ExpressionError(
                f'{where}: "{path}" has no field "{part}"{did_you_mean(part, names)}. '
                f"Fields: {', '.join(names)}",
                remedy="write one of these fields, or add the field to the source's schema",
            )
        item = fields[part.lower()]
    return item


def _instead(item: pa.Field, path: str, part: str) -> str:  # type: ignore[type-arg]
    if pa.types.is_list(item.type):
        return f"take one element, {path}[1], or each: list_transform({path}, lambda x: x.{part})"
    if pa.types.is_string(item.type):
        return f"if it holds JSON, write {path} ->> '$.{part}', or declare the column as JSON"
    return f"write {path} alone"
