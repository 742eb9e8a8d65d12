"""Rows of the wire as columns of text, one column of all rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.sources.postgres.rows import slices
from orchestration.sources.postgres.wire import be32

if TYPE_CHECKING:
    from orchestration.sources.postgres.wire import Block

__all__ = ["Image", "image", "unchanged_names"]

_TEXT, _UNCHANGED = ord("t"), ord("u")


@dataclass(slots=True)
class Image:
    """What many messages say of a row.

    Attributes:
        columns: A text array a column; null where the value is null or not given.
        not_given: A truth array a column: the value is stored apart and did not change.
        after: Where each message goes on behind it.
    """

    columns: list[Any]
    not_given: list[Any]
    after: Any

    def __len__(self) -> int:
        return len(self.after)

    def filled(self, old: Image) -> Image:
        """With values that were not given taken from the row before, where that has them."""
        columns, not_given = [], []
        for mine, missing, theirs, theirs_missing in zip(
            self.columns, self.not_given, old.columns, old.not_given, strict=True
        ):
            if missing.any():
                known = missing & ~theirs_missing
                columns.append(pc.if_else(pa.array(known), theirs, mine))
                not_given.append(missing & ~known)
            else:
                columns.append(mine)
                not_given.append(missing)
        return Image(columns, not_given, self.after)

    def differs(self, old: Image, numbers: list[int]) -> Any:
        """Whether any of the columns has another value than in the row before; a truth array."""
        found = np.zeros(len(self), dtype=bool)
        for n in numbers:
            mine, theirs = self.columns[n], old.columns[n]
            equal = pc.fill_null(pc.equal(mine, theirs), False)
            same = np.asarray(equal) | (np.asarray(mine.is_null()) & np.asarray(theirs.is_null()))
            found |= ~same & ~self.not_given[n]
        return found

    def where(self, mask: Any) -> Image:
        """Those of the rows that a truth array names."""
        if mask.all():
            return self
        chosen: Any = pa.array(mask)
        return Image(
            [column.filter(chosen) for column in self.columns],
            [missing[mask] for missing in self.not_given],
            self.after[mask],
        )


def image(block: Block, at: Any, count: int) -> Image:
    """Read rows of ``count`` columns that begin at the given places, ascending."""
    data, buffer = block.bytes, pa.py_buffer(block.data)
    at = at + 2  # the number of columns
    rows = len(at)
    columns, not_given = [], []
    for _ in range(count):
        kind = data[at]
        is_text = kind == _TEXT
        every = bool(is_text.all())
        size = be32(data, at + 1) if every else np.where(is_text, be32(data, at + 1), 0)
        first = at + 1 + 4 * is_text
        at = first + size
        columns.append(slices(buffer, first, at, None if every else ~is_text))
        not_given.append(np.zeros(rows, dtype=bool) if every else kind == _UNCHANGED)
    return Image(columns, not_given, at)


def unchanged_names(names: tuple[str, ...], not_given: list[Any], rows: int) -> Any:
    """For each row the names of its columns that were not given; null for none."""
    kind = pa.list_(pa.string())
    if not any(missing.any() for missing in not_given):
        return pa.nulls(rows, kind)
    by_row = np.stack(not_given, axis=1)
    _, which = np.nonzero(by_row)
    counts = by_row.sum(axis=1)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    place: Any = pa.array(which)
    values = pa.array(names, pa.string()).take(place)
    make: Any = pa.ListArray.from_arrays
    return make(pa.array(offsets), values, mask=pa.array(counts == 0)).cast(kind)
