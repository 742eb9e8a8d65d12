"""Times in join conditions: a column plus a fixed length, or the stretch of time it falls in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.errors import HeadwaterError
from orchestration.streams.durations import parse_duration
from orchestration.streams.parsing import parse_expression
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.references import Reference, plain_reference

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["EqualTime", "Term", "bucket", "term", "window_start_us"]

_FUNCTIONS = {
    "to_microseconds": 1,
    "to_milliseconds": 1_000,
    "to_seconds": 1_000_000,
    "to_minutes": 60_000_000,
    "to_hours": 3_600_000_000,
    "to_days": 86_400_000_000,
    "to_weeks": 604_800_000_000,
}
_TRUNCATED = {
    "MICROSECOND": 1,
    "MILLISECOND": 1_000,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000,
    "WEEK": 604_800_000_000,
}


@dataclass(frozen=True, slots=True)
class Term:
    """A column plus a length of time, microseconds."""

    column: Reference
    offset_us: int = 0


@dataclass(frozen=True, slots=True)
class EqualTime:
    """Equal keys that are times, or stretches of time of one length.

    Attributes:
        left, right: The columns.
        left_start_us, right_start_us: SQL of type BIGINT: where the stretch begins, over the
            columns of one side.
        width_us: How long it is; 0 for the time itself.
        window: Whether it stands for its column in the result (``window`` in ``on``).
    """

    left: str
    right: str
    left_start_us: str
    right_start_us: str
    width_us: int = 0
    window: bool = False


def window_start_us(column: str, length_us: int, offset_us: int = 0) -> str:
    """SQL of the start of the tumbling window that a time falls in, microseconds.

    The remainder of a negative number is negative in SQL, and windows go by the floor.
    """
    time = f"epoch_us({quote_identifier(column)})"
    into = f"((({time} - {offset_us}) % {length_us}) + {length_us}) % {length_us}"
    return f"{time} - {into}"


def term(tree: exp.Expr) -> Term | None:
    """A column plus or minus constant intervals; ``None`` for anything else."""
    from sqlglot import exp

    while isinstance(tree, exp.Paren):
        tree = tree.this
    reference = plain_reference(tree)
    if reference is not None:
        return None if reference.star else Term(reference)
    if not isinstance(tree, exp.Add | exp.Sub):
        return None
    left, right = tree.this, tree.expression
    length = _length(right)
    found = term(left)
    if isinstance(tree, exp.Add) and (length is None or found is None):
        length, found = _length(left), term(right)
    if found is None or length is None:
        return None
    sign = 1 if isinstance(tree, exp.Add) else -1
    return Term(found.column, found.offset_us + sign * length)


def bucket(left: str, right: str) -> EqualTime | None:
    """Keys that are both a column, or the same stretch of time of one.

    Args:
        left, right: SQL over the columns of one side.
    """
    trees = parse_expression(left).tree, parse_expression(right).tree
    one, two = (_stretch(tree) for tree in trees)
    if one is None or two is None or one[1:] != two[1:]:
        return None
    width = one[1]
    starts = [f"epoch_us({text})" for text in (left, right)]
    return EqualTime(one[0], two[0], starts[0], starts[1], width)


def _stretch(tree: exp.Expr) -> tuple[str, int, str] | None:
    """Column, width in microseconds, and what else says where stretches begin."""
    from sqlglot import exp

    if isinstance(tree, exp.DateBin):
        width = _length(tree.this)
        column = _column(tree.expression)
        rest = [
            value.sql(dialect="duckdb")
            for key, value in tree.args.items()
            if key not in {"this", "expression"} and isinstance(value, exp.Expression)
        ]
        if width is None or width <= 0 or column is None:
            return None
        return column, width, " ".join(rest)
    if isinstance(tree, exp.TimestampTrunc | exp.DateTrunc):
        width = _TRUNCATED.get(str(tree.args["unit"].name).upper())
        column = _column(tree.this)
        return None if width is None or column is None else (column, width, "")
    column = _column(tree)
    return None if column is None else (column, 0, "")


def _column(tree: exp.Expr) -> str | None:
    reference = plain_reference(tree)
    if reference is None or reference.star or len(reference.parts) > 1:
        return None
    return reference.parts[0]


def _length(tree: exp.Expr) -> int | None:
    """A constant interval in microseconds; ``None`` for anything else, such as months."""
    from sqlglot import exp

    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Neg):
        inner = _length(tree.this)
        return None if inner is None else -inner
    if isinstance(tree, exp.Interval):
        value: exp.Expr = tree.this
        while isinstance(value, exp.Paren):
            value = value.this
        sign = 1
        if isinstance(value, exp.Neg):
            value, sign = value.this, -1
        if not isinstance(value, exp.Literal):
            return None
        unit = tree.args.get("unit")
        text = f"{value.name} {unit.name if unit is not None else ''}".strip()
        return _duration(text, sign)
    if isinstance(tree, exp.Anonymous) and tree.name.lower() in _FUNCTIONS:
        (value,) = tree.expressions or [None]
        if isinstance(value, exp.Literal) and not value.is_string:
            return round(float(value.name) * _FUNCTIONS[tree.name.lower()])
    return None


def _duration(text: str, sign: int) -> int | None:
    from datetime import timedelta

    if text.startswith("-"):
        text, sign = text[1:].strip(), -sign
    try:
        return sign * (parse_duration(text) // timedelta(microseconds=1))
    except HeadwaterError:
        return None
