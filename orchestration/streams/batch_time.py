"""``now()`` and its like: the timestamp of the batch, the same in every attempt.

A batch that is run again after a crash must give the same rows, so the clock may not be read
while it runs. Before an engine sees an expression, every such call becomes a constant.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError
from orchestration.streams.functions import BARE_WORDS, BATCH_TIME, BatchTimeType
from orchestration.streams.parsing import Parsed, Word, parse_expression, same_tree, shown

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["batch_time_words", "bind_batch_timestamp", "uses_batch_timestamp"]


def uses_batch_timestamp(expression: str) -> bool:
    """Whether an expression depends on when its batch was planned.

    >>> uses_batch_timestamp("ts > now() - INTERVAL 1 DAY")
    True
    >>> uses_batch_timestamp("ts > TIMESTAMPTZ '2026-01-01 00:00:00Z'")
    False

    Raises:
        ExpressionError: It does not parse.
    """
    return bool(batch_time_words(parse_expression(expression)))


def bind_batch_timestamp(expression: str, timestamp: datetime) -> str:
    """The expression with the batch's timestamp in place of ``now()`` and its like.

    >>> bind_batch_timestamp("ts < now()", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    "ts < CAST('2026-01-02 03:04:05.000000+00:00' AS TIMESTAMPTZ)"

    Everything else stays as it was written, character for character.

    Args:
        expression: A checked expression.
        timestamp: What ``now()`` means; aware.

    Raises:
        ExpressionError: It does not parse, or a call stands where no constant can.
        ValueError: The timestamp is naive.
    """
    if timestamp.tzinfo is None:
        raise ValueError(f"the batch timestamp {timestamp} has no time zone")
    parsed = parse_expression(expression)
    words = batch_time_words(parsed)
    if not words:
        return expression
    return _bind(parsed, words, timestamp.astimezone(UTC))


def batch_time_words(parsed: Parsed) -> list[Word]:
    """Where an expression calls for the batch's timestamp, from left to right."""
    return [
        word
        for word in parsed.words
        if word.name in BATCH_TIME
        and (word.called or (word.name in BARE_WORDS and not word.quoted and not word.qualified))
    ]


def _bind(parsed: Parsed, words: list[Word], timestamp: datetime) -> str:
    pieces, position = [], 0
    for word in words:
        pieces += [parsed.text[position : word.start], _constant(BATCH_TIME[word.name], timestamp)]
        position = word.call_end or word.end
    text = "".join([*pieces, parsed.text[position:]])
    _check_only_that_changed(parsed, text, timestamp)
    return text


def _constant(kind: BatchTimeType, timestamp: datetime) -> str:
    moment = timestamp.strftime("%H:%M:%S.%f")
    day = timestamp.date().isoformat()  # strftime("%Y") drops leading zeros on some systems
    value = {"TIMESTAMPTZ": f"{day} {moment}+00:00", "TIMESTAMP": f"{day} {moment}", "DATE": day}
    return f"CAST('{value[kind]}' AS {kind})"


def _check_only_that_changed(parsed: Parsed, text: str, timestamp: datetime) -> None:
    """The text was changed by position; prove on the trees that it means what it should."""
    import sqlglot
    from sqlglot import exp

    classes: dict[type[exp.Expr], str] = {
        exp.CurrentDate: "current_date",
        exp.CurrentTimestamp: "current_timestamp",
        exp.Localtimestamp: "localtimestamp",
    }

    def replace(node: exp.Expr) -> exp.Expr:
        name = classes.get(type(node))
        if isinstance(node, exp.Anonymous):
            name = node.name.lower()
        if name not in BATCH_TIME:
            return node
        return sqlglot.parse_one(_constant(BATCH_TIME[name], timestamp), dialect="duckdb")

    try:
        bound = parse_expression(text).tree
        same = same_tree(bound, parsed.tree.transform(replace))
    except (ExpressionError, RecursionError):
        same = False
    if not same:
        raise ExpressionError(
            f"{shown('expression', parsed.text)}: the batch's timestamp cannot stand here",
            remedy='call it as now() by itself; a column or key of that name needs "double quotes"',
        )
