"""Columns that only a few rows of a batch need."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Spared"]


@dataclass(frozen=True, slots=True)
class Spared:
    """Texts that nobody reads unless their row came too late, when it is kept whole.

    A reader proves them like all others and may leave them null in the other rows.

    Attributes:
        columns: Names of the columns; texts inside of structs count too.
        time: The column that tells which rows need them: a TIMESTAMPTZ.
        until_us: Rows up to this moment do, microseconds since 1970 in UTC.
    """

    columns: frozenset[str]
    time: str
    until_us: int
