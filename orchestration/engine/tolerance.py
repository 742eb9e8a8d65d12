"""Floating-point results that are equal as far as their last bits mean anything.

The sum of floating-point numbers depends on the order in which they are added, and a table made
in many small batches adds them in another order than one made at once. So such a value equals
another within a relative 1e-9 (a REAL within two units of its last place), and what cancelled to
nearly nothing within the last bits of the greatest value of its column, 1e-9 at most: a balance
of 3.5e-15 is 0.

Everything beside them is exact. Rows are grouped by all that is exact; in a group, values closer
than the tolerance to their neighbour in order are one value, and then only counts are held
against each other. That finds the same differences whatever the order of rows, and also where
one row is missing among many like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Parts", "greatest_sql", "parts_of", "settled_sql"]

_RELATIVE = 1e-9
_RELATIVE_REAL = 2.0**-22  # two units of the last place of 24 bits
_LAST_BITS = 2.0**-50  # of a DOUBLE: four units of its last place
_MOST = 1e-9  # or one outlier in a column would make all of it equal


@dataclass(frozen=True, slots=True)
class Parts:
    """A table's columns as what is exact and what is not.

    Attributes:
        exact: SQL expressions.
        close: SQL expression of each floating-point value, and its relative tolerance.
    """

    exact: tuple[str, ...]
    close: tuple[tuple[str, float], ...]


def parts_of(columns: pa.Schema, names: Collection[str]) -> Parts:
    """Take the columns apart, fields of structs too; lists and maps are exact as a whole.

    Args:
        columns: All columns.
        names: Those whose floating-point values need not be exact.
    """
    exact: list[str] = []
    close: list[tuple[str, float]] = []

    def add(expression: str, kind: pa.DataType) -> None:
        if pa.types.is_floating(kind):
            close.append((expression, _RELATIVE if kind.bit_width == 64 else _RELATIVE_REAL))
        elif pa.types.is_struct(kind) and _holds_floats(kind):
            exact.append(f"({expression}) IS NULL")
            for number in range(kind.num_fields):
                part = kind.field(number)
                add(f"struct_extract({expression}, {quote_literal(part.name)})", part.type)
        else:
            exact.append(expression)

    for item in columns:
        name = quote_identifier(item.name)
        if item.name in names:
            add(name, item.type)
        else:
            exact.append(name)
    return Parts(tuple(exact), tuple(close))


def greatest_sql(parts: Parts) -> list[str]:
    """SQL aggregates of the greatest finite magnitude of each floating-point value."""
    return [
        f"coalesce(max(abs({value})) FILTER (WHERE isfinite({value})), 0)::DOUBLE"
        for value, _ in parts.close
    ]


def settled_sql(
    differences: str,
    columns: pa.Schema,
    parts: Parts,
    greatest: Sequence[float],
    surplus: str,
) -> str:
    """A SELECT of the differences that are left when close values count as equal.

    Args:
        differences: Table with the columns and the surplus: rows of one side (positive) or the
            other (negative) without an exactly equal partner.
        columns: The columns.
        parts: The same taken apart.
        greatest: Of each floating-point value the greatest magnitude there is.
        surplus: Column that counts.
    """
    exact = [f"headwater_e{number}" for number in range(len(parts.exact))]
    listed = [
        *(f"{text} AS {name}" for text, name in zip(parts.exact, exact, strict=True)),
        *(f"{text} AS headwater_f{number}" for number, (text, _) in enumerate(parts.close)),
    ]
    rows = f"SELECT *, {', '.join(listed)} FROM {differences}"
    groups = list(exact)
    for number, ((_, relative), most) in enumerate(zip(parts.close, greatest, strict=True)):
        value = f"headwater_f{number}"
        floor = min(_MOST, _LAST_BITS * most)
        within = f"PARTITION BY {', '.join(groups)} " if groups else ""
        over = f"OVER ({within}ORDER BY {value} NULLS FIRST"
        # NaN equals NaN here, and -0.0 equals 0.0; infinities have no neighbours.
        same = (
            f"({value} IS NOT DISTINCT FROM headwater_last OR (isfinite({value}) AND "
            f"isfinite(headwater_last) AND abs({value} - headwater_last) <= "
            f"greatest({relative!r} * greatest(abs({value}), abs(headwater_last)), {floor!r})))"
        )
        before = f"SELECT *, lag({value}) {over}) AS headwater_last FROM ({rows})"
        marked = (
            f"SELECT * EXCLUDE (headwater_last), CASE WHEN {same} THEN 0 ELSE 1 END "
            f"AS headwater_new FROM ({before})"
        )
        # By RANGE: equal values are one, whichever of them is seen first.
        rows = (
            f"SELECT * EXCLUDE (headwater_new), sum(headwater_new) {over} "
            f"RANGE UNBOUNDED PRECEDING) AS headwater_c{number} FROM ({marked})"
        )
        groups.append(f"headwater_c{number}")
    sides = ("positive", ">"), ("negative", "<")
    shown = ", ".join(
        f"any_value({quote_identifier(name)}) FILTER (WHERE {surplus} {sign} 0) "
        f"AS headwater_{side}{number}"
        for number, name in enumerate(columns.names)
        for side, sign in sides
    )
    counted = (
        f"SELECT sum({surplus}) AS headwater_total, {shown} FROM ({rows}) "
        f"GROUP BY {', '.join(groups)} HAVING sum({surplus}) <> 0"
    )
    chosen = ", ".join(
        f"CASE WHEN headwater_total > 0 THEN headwater_positive{number} "
        f"ELSE headwater_negative{number} END AS {quote_identifier(name)}"
        for number, name in enumerate(columns.names)
    )
    return f"SELECT {chosen}, headwater_total AS {surplus} FROM ({counted})"


def _holds_floats(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind)
        or (
            pa.types.is_struct(kind)
            and any(_holds_floats(kind.field(n).type) for n in range(kind.num_fields))
        )
    )
