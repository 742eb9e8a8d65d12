"""What an expression of a stream may say, checked when it is declared.

A row-by-row expression gives one value for each row, from that row's columns and constants
alone. Then it does not matter how the input is cut into batches, nor whether a batch is run
twice: that is what exactly-once rests on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.errors import ExpressionError
from orchestration.streams.batch_time import (
    batch_time_words,
    bind_batch_timestamp,
    uses_batch_timestamp,
)
from orchestration.streams.functions import (
    AGGREGATES,
    BARE_WORDS,
    BATCH_TIME,
    GENERATORS,
    WINDOWS,
    refusal,
)
from orchestration.streams.parsing import Parsed, Word, parse_expression, pointer, shown
from orchestration.streams.references import (
    check_reference,
    plain_reference,
    references,
)

if TYPE_CHECKING:
    from sqlglot import exp

    from orchestration.streams.columns import Columns

__all__ = [
    "bind_batch_timestamp",
    "check_condition",
    "check_expression",
    "check_parsed",
    "columns_used",
    "uses_batch_timestamp",
]

_PROBE = datetime(2000, 1, 1, tzinfo=UTC)


def check_expression(
    expression: str, columns: Columns | None = None, *, place: str = "expression"
) -> None:
    """Check that an expression can be computed row by row.

    >>> from orchestration.streams.columns import Columns
    >>> check_expression("amount * 2", Columns((("amount", None),)))

    Args:
        expression: SQL text in DuckDB's dialect.
        columns: What it may name; ``None`` leaves names unchecked until they are known.
        place: Where it stands, for messages: ``where``.

    Raises:
        ExpressionError: It does not parse, names what is not there, or is no row-by-row
            expression; the message says which, and the remedy what to write.
    """
    from sqlglot import exp

    parsed = parse_expression(expression, place)
    where = shown(place, expression)
    if isinstance(parsed.tree, (exp.Alias, exp.Aliases)):
        raise ExpressionError(
            f"{where}: a value is not named here", remedy="remove AS and the name after it"
        )
    check_parsed(parsed, columns, where)


def check_condition(expression: str, columns: Columns | None = None) -> None:
    """Check an expression that keeps or drops rows.

    Raises:
        ExpressionError: As :func:`check_expression`; or it is plainly not true or false.
    """
    from sqlglot import exp

    check_expression(expression, columns, place="where")
    tree = parse_expression(expression, "where").tree
    where = shown("where", expression)
    if isinstance(tree, exp.Literal):
        raise ExpressionError(
            f"{where}: a constant is not a condition", remedy='compare, e.g. "amount >= 0"'
        )
    reference = plain_reference(tree)
    if columns is None or reference is None:
        return
    item = check_reference(reference, columns, where)
    if item is not None and not pa.types.is_boolean(item.type):
        raise ExpressionError(
            f'{where}: "{reference}" is not true or false; its type is {item.type}',
            remedy=f'compare it, e.g. "{reference} IS NOT NULL"',
        )


def columns_used(expression: str) -> tuple[str, ...]:
    """The columns an expression names, as it writes them, each once.

    >>> columns_used("device.os = 'linux' AND list_any_value(tags) <> page")
    ('device', 'tags', 'page')

    Raises:
        ExpressionError: It does not parse.
    """
    found = {
        reference.parts[0].lower(): reference.parts[0]
        for reference in reversed(references(parse_expression(expression).tree))
    }
    return tuple(reversed(found.values()))


def check_parsed(parsed: Parsed, columns: Columns | None, where: str) -> None:
    """:func:`check_expression` for one that is parsed already.

    Args:
        parsed: The expression; a name given with AS does not count.
        columns: What it may name.
        where: The expression in its place, for messages.

    Raises:
        ExpressionError: See :func:`check_expression`.
    """
    _check_words(parsed, columns, where)
    _check_nodes(parsed, where)
    for reference in references(parsed.tree):
        if reference.star:
            raise ExpressionError(
                f"{where}: {reference} stands for several columns, and one value is expected",
                remedy='write select("*"), or name one column',
            )
        if columns is not None:
            check_reference(reference, columns, where)
    if batch_time_words(parsed):
        bind_batch_timestamp(parsed.text[: parsed.alias_cut], _PROBE)


def _check_words(parsed: Parsed, columns: Columns | None, where: str) -> None:
    for word in parsed.words:
        if word.start >= parsed.alias_cut:
            break
        if word.called:
            _check_call(word, parsed, where)
        elif word.name in BARE_WORDS and not word.quoted and not word.qualified:
            if columns is not None and word.name in columns:
                raise ExpressionError(
                    f"{where}: {word.name} may be the column or the function of that name\n"
                    + pointer(parsed.text, word.start),
                    remedy=f'write "{word.name}" in double quotes for the column; '
                    "now() for the batch's timestamp",
                )
            reason = refusal(word.name)
            if reason is not None:
                raise _refused(word, parsed, where, *reason)


def _check_call(word: Word, parsed: Parsed, where: str) -> None:
    name = word.name
    if name in WINDOWS:
        raise _refused(
            word,
            parsed,
            where,
            "is a window function: it looks at other rows, and which ones are there depends on "
            "how the input is cut into batches",
            "compute it in a query on the output table",
        )
    if name in AGGREGATES:
        raise _refused(
            word,
            parsed,
            where,
            "is an aggregate: it needs many rows, and where and select see one row at a time",
            f"over the elements of a list column: list_aggregate(xs, '{name}'); over rows: "
            "aggregate in a query on the output table",
        )
    if name in GENERATORS:
        raise _refused(
            word,
            parsed,
            where,
            "makes several rows of one, which this version does not do in an expression",
            "keep the list, or make the rows in map_batches",
        )
    if name in BATCH_TIME and (word.call_end is None or word.qualified):
        raise _refused(
            word,
            parsed,
            where,
            "is the batch's timestamp, and is called without arguments",
            "write now(); round it with date_trunc('second', now())",
        )
    if name == "age" and _arguments(parsed.tree, "age") == 1:
        raise _refused(
            word,
            parsed,
            where,
            "with one argument counts from the machine's clock",
            "write both: age(current_date, ts)",
        )
    reason = refusal(name)
    if reason is not None:
        raise _refused(word, parsed, where, *reason)


def _refused(word: Word, parsed: Parsed, where: str, reason: str, remedy: str) -> ExpressionError:
    return ExpressionError(
        f"{where}: {word.name}{'()' if word.called else ''} {reason}\n"
        + pointer(parsed.text, word.start),
        remedy=remedy,
    )


def _arguments(tree: exp.Expr, name: str) -> int:
    """The smallest number of arguments a function is called with; called as a method, one more."""
    from sqlglot import exp

    return min(
        (
            len(node.expressions) + isinstance(node.parent, exp.Dot)
            for node in tree.find_all(exp.Anonymous)
            if node.name.lower() == name
        ),
        default=0,
    )


def _check_nodes(parsed: Parsed, where: str) -> None:
    """Refuse what has no function's name: subqueries, parameters, OVER, stars."""
    from sqlglot import exp

    for node in parsed.tree.walk():
        if isinstance(node, (exp.Query, exp.Table)):
            raise ExpressionError(
                f"{where}: a subquery reads other rows than the one at hand",
                remedy="look values up in map_batches, or test them with IN (1, 2, 3)",
            )
        if isinstance(node, (exp.Window, exp.WithinGroup, exp.AggFunc)):
            kind = "a window function" if isinstance(node, exp.Window) else "an aggregate"
            raise ExpressionError(
                f"{where}: {kind} needs many rows, and where and select see one row at a time",
                remedy="compute it in a query on the output table",
            )
        if isinstance(
            node, (exp.Placeholder, exp.Parameter, exp.SessionParameter, exp.PositionalColumn)
        ):
            raise ExpressionError(
                f"{where}: a parameter ({node.sql(dialect='duckdb')}) has no value here",
                remedy="write the value itself, e.g. with an f-string; text in 'single quotes'",
            )
        if isinstance(node, exp.Columns):
            raise ExpressionError(
                f"{where}: COLUMNS(...) stands for several columns, and one value is expected",
                remedy='write the columns out, or select("* EXCLUDE (a, b)")',
            )
        if isinstance(node, exp.Star):
            # a.* is told by its column
            if not isinstance(node.parent, (exp.Column, exp.Dot)):
                raise ExpressionError(
                    f"{where}: * stands for all columns, and one value is expected",
                    remedy='write select("*", name="..."), or name one column',
                )
        elif isinstance(node, (exp.Explode, exp.Unnest)):
            raise ExpressionError(
                f"{where}: it makes several rows of one, which this version does not do in an "
                "expression",
                remedy="keep the list, or make the rows in map_batches",
            )
        elif isinstance(node, (exp.Alias, exp.Aliases)) and node is not parsed.tree:
            raise ExpressionError(
                f"{where}: a value is named in the midst of an expression",
                remedy="remove AS and the name after it",
            )
