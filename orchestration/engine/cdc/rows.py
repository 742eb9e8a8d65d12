"""Rows of the change format as Arrow columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from orchestration.engine.cdc.chunk import Ints
    from orchestration.engine.cdc.record import Change

    #: Columns, and the line of each row.
    Part = tuple[list[pa.Array[Any]], Ints]

__all__ = ["RowBuilder", "in_order"]


class RowBuilder:
    """Collects changes whose values are in the declared types.

    Args:
        fields: All columns, those of the change first.
    """

    def __init__(self, fields: list[pa.Field[Any]]) -> None:
        self._fields = fields
        self._columns: list[list[Any]] = [[] for _ in fields]
        self._lines: list[int] = []

    def add(self, line: int, change: Change, values: list[Any]) -> None:
        """Add a change."""
        about = [
            change.op,
            change.sequence,
            change.time,
            change.transaction,
            change.table,
            change.unchanged or None,
        ]
        for column, value in zip(self._columns, [*about, *values], strict=True):
            column.append(value)
        self._lines.append(line)

    def part(self) -> Part | None:
        """The rows; ``None`` without any."""
        if not self._lines:
            return None
        arrays = [
            pa.array(column, item.type)
            for column, item in zip(self._columns, self._fields, strict=True)
        ]
        return arrays, np.array(self._lines, dtype=np.int64)


def in_order(parts: list[Part]) -> list[Part]:
    """The parts as one whose rows stand as in the file.

    Which way a line was read must not be seen in the order of rows; those of one line stay as
    they are.
    """
    if len(parts) < 2:
        return parts
    numbers = np.concatenate([part[1] for part in parts])
    order = np.argsort(numbers, kind="stable")
    places = pa.array(order)
    columns = [
        pa.concat_arrays(arrays).take(places) for arrays in zip(*(p[0] for p in parts), strict=True)
    ]
    return [(columns, numbers[order])]
