"""What one batch did, in the same words whichever engine ran it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Observed", "columns_of", "micros", "plain", "rows_as", "seconds", "wire"]


@dataclass(frozen=True)
class Observed:
    """One batch.

    Attributes:
        rows: What it gave; timestamps in seconds since the epoch.
        watermark: The one it used, in seconds.
        late: Rows it dropped as late.
        state: Rows of state after it.
    """

    rows: tuple[dict[str, Any], ...]
    watermark: float
    late: int
    state: int


def seconds(microseconds: int) -> float:
    """Seconds of a whole number of microseconds; equal ones are equal floats."""
    return microseconds / 1_000_000


def micros(value: float) -> int:
    """The inverse of :func:`seconds`."""
    return round(value * 1_000_000)


def plain(value: Any) -> Any:
    """A value of a result as the cases write it: timestamps in seconds."""
    if isinstance(value, datetime):
        whole = value - datetime.fromtimestamp(0, tz=value.tzinfo)
        return seconds((whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds)
    return value


def wire(row: dict[str, Any], schema: dict[str, str]) -> dict[str, Any]:
    """A row as JSON: timestamps in microseconds."""
    return {
        name: micros(value) if schema[name] == "TIMESTAMPTZ" and value is not None else value
        for name, value in row.items()
    }


def columns_of(rows: tuple[dict[str, Any], ...]) -> list[str]:
    """Names of the columns, from the first row."""
    return list(rows[0]) if rows else []


def rows_as(rows, columns) -> Counter:
    """The rows as a multiset of tuples of these columns."""
    return Counter(tuple(row[name] for name in columns) for row in rows)
