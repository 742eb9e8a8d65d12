"""What ``select`` makes of its arguments: names, and one expression for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import ExpressionError, SchemaError
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import check_parsed
from orchestration.streams.parsing import Parsed, parse_expression, shown
from orchestration.streams.references import check_reference, plain_reference
from orchestration.streams.schema import check_names, quote_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Projection", "project"]


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    expression: str
    field: pa.Field[Any] | None = None


@dataclass(frozen=True, slots=True)
class Projection:
    """A select as far as it is known.

    Attributes:
        columns: Name and expression of each output column; ``None`` as long as a star cannot
            be spelled out because the columns before it are not known yet.
        output: The columns after it; ``None`` as ``columns``.
    """

    columns: tuple[tuple[str, str], ...] | None
    output: Columns | None


def project(
    positional: tuple[str, ...], named: Mapping[str, str], columns: Columns | None
) -> Projection:
    """Check a select, name its columns and spell out its stars.

    Args:
        positional: ``"page"``, ``"device.os"`` (named ``os``), ``"amount * 2 AS double"``,
            ``"*"``, ``"* EXCLUDE (a, b)"``, ``"device.*"``.
        named: Name to expression. A name that a star has given already takes its place there.
        columns: What the expressions may name; ``None`` while unknown.

    Raises:
        ExpressionError: An expression is wrong, has no name, or a name is there twice.
    """
    if not positional and not named:
        raise ExpressionError(
            "select() names no column", remedy='write select("page"), or select("*") for all'
        )
    result: list[_Column] = []
    of_star: set[str] = set()
    known = True
    for text in positional:
        parsed = parse_expression(text, "select")
        found, star = _positional(parsed, columns, shown("select", text))
        known = known and found is not None
        result += found or ()
        if star:
            of_star |= {column.name.lower() for column in found or ()}
    for name, text in named.items():
        column = _named(name, text, columns)
        if name.lower() in of_star:
            of_star.discard(name.lower())
            result = [column if item.name.lower() == name.lower() else item for item in result]
        else:
            result.append(column)
    try:
        check_names(column.name for column in result)
    except SchemaError as error:
        raise ExpressionError(
            f"select: {error.args[0]}", remedy='give one of them another name: name="..."'
        ) from None
    if not known:
        return Projection(None, None)
    if not result:
        raise ExpressionError("select: no column is left", remedy="exclude fewer columns")
    return Projection(
        tuple((column.name, column.expression) for column in result),
        Columns(tuple((column.name, column.field) for column in result)),
    )


def _named(name: str, text: str, columns: Columns | None) -> _Column:
    from sqlglot import exp

    place = f"select({name}="
    parsed = parse_expression(text, place)
    where = shown(place, text)
    if isinstance(parsed.tree, (exp.Alias, exp.Aliases)):
        raise ExpressionError(
            f"{where}: it is named twice, {name} and {parsed.tree.alias}",
            remedy="remove AS and the name after it",
        )
    check_parsed(parsed, columns, where)
    return _Column(name, parsed.text, _field(parsed.tree, columns, where))


def _positional(
    parsed: Parsed, columns: Columns | None, where: str
) -> tuple[list[_Column] | None, bool]:
    """Output columns of one argument, and whether it is a star; ``None`` while unknown."""
    from sqlglot import exp

    tree = parsed.tree
    if isinstance(tree, exp.Star):
        return _star(tree, columns, where), True
    reference = plain_reference(tree)
    if reference is not None and reference.star:
        return _struct_star(reference.parts, columns, where), True
    check_parsed(parsed, columns, where)
    if isinstance(tree, exp.Alias):
        text = parsed.text[: parsed.alias_cut]
        return [_Column(tree.alias, text, _field(tree.this, columns, where))], False
    if reference is not None:
        field = _field(tree, columns, where)
        return [_Column(reference.parts[-1], parsed.text, field)], False
    if isinstance(tree, exp.Literal) and tree.is_string:
        raise ExpressionError(
            f"{where}: {parsed.text} is a text, the same in every row",
            remedy=f"for the column write it without quotes: {tree.name}; "
            f'for the text, name it: select(name="{parsed.text}")',
        )
    raise ExpressionError(
        f"{where}: the column it makes has no name",
        remedy=f'name it: select(name="{parsed.text}"), or "{parsed.text} AS name"',
    )


def _field(tree: Any, columns: Columns | None, where: str) -> pa.Field[Any] | None:
    reference = plain_reference(tree)
    if reference is None or columns is None:
        return None
    return check_reference(reference, columns, where)


def _star(tree: Any, columns: Columns | None, where: str) -> list[_Column] | None:
    for key in ("replace", "rename"):
        if tree.args.get(key):
            raise ExpressionError(
                f"{where}: * {key.upper()} is not taken",
                remedy='name the column after the star: select("*", amount="abs(amount)")',
            )
    excluded = [item.name for item in tree.args.get("except_") or tree.args.get("except") or ()]
    if columns is None:
        return None
    for name in excluded:
        if name not in columns:
            raise ExpressionError(
                f'{where}: there is no column "{name}" to exclude{columns.suggestion(name)}. '
                f"Columns: {columns.listing()}",
                remedy="exclude one of these columns",
            )
    left_out = {name.lower() for name in excluded}
    return [
        _Column(name, quote_identifier(name), field)
        for name, field in columns.items
        if name.lower() not in left_out
    ]


def _struct_star(
    parts: tuple[str, ...], columns: Columns | None, where: str
) -> list[_Column] | None:
    from orchestration.streams.references import Reference

    if columns is None:
        return None
    item = check_reference(Reference(parts, quoted=True), columns, where)
    path = ".".join(quote_identifier(part) for part in parts)
    if item is None or not pa.types.is_struct(item.type):
        raise ExpressionError(
            f"{where}: the fields of {'.'.join(parts)} are not known here",
            remedy=f'name each: "{parts[-1]}.field"; or declare the column as STRUCT(...)',
        )
    return [
        _Column(inner.name, f"{path}.{quote_identifier(inner.name)}", inner) for inner in item.type
    ]
