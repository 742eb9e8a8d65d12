"""One run of state as a Parquet file: which of its row groups can hold a key, and their rows.

Files never change, so what their footers say is kept for the life of the process.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["EXPIRY", "GROUP_ROWS", "HASH", "RunFile"]

#: Columns that every run has: when a row is dead, and a hash of its key.
EXPIRY, HASH = "headwater_x", "headwater_h"

#: Rows of a row group: what a look-up of one key reads. DuckDB's least; four times as many take
#: ten times as long to look a hundred keys up, and save a fifth when a run is read as a whole.
GROUP_ROWS = 2_048

_KEPT = 128  # footers in memory; that of a run of ten million rows takes 3 MB


class RunFile:
    """A run's row groups by the ranges of their expiries and hashes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metadata: Any = pq.read_metadata(path)
        schema = self._metadata.schema
        names = [schema.column(number).path for number in range(self._metadata.num_columns)]
        self._expiries = self._bounds(names.index(EXPIRY))
        self._hashes = self._bounds(names.index(HASH))
        self._sizes = np.array(
            [self._metadata.row_group(number).num_rows for number in range(self.groups)]
        )
        self._read: dict[int, Any] = {}

    @classmethod
    def of(cls, path: Path) -> RunFile:
        """A file's, from memory if it was asked for before."""
        key = str(path)
        found = _opened.pop(key, None) or cls(path)
        _opened[key] = found
        while len(_opened) > _KEPT:
            _opened.popitem(last=False)
        return found

    @property
    def groups(self) -> int:
        """How many row groups there are."""
        return int(self._metadata.num_row_groups)

    def live(self, after_us: int, through_us: int) -> Any:
        """Which row groups may hold rows that expire after one moment, and by another: a mask."""
        least, greatest = self._expiries
        return (greatest > after_us) & (least <= through_us)

    def holding(self, hashes: Any, expiries: Any | None = None) -> Any:
        """Which row groups may hold rows of some hashes, and of some expiries too: a mask.

        Args:
            hashes, expiries: In order.
        """
        found = _between(hashes, *self._hashes)
        return found if expiries is None else found & _between(expiries, *self._expiries)

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of row groups."""
        with pq.ParquetFile(self._path, metadata=self._metadata) as file:
            return file.read_row_groups(list(groups), columns=list(columns))

    def rows_of(
        self, groups: Sequence[int], hashes: Any, columns: Sequence[str]
    ) -> pa.Table | None:
        """Rows of some hashes.

        First the hashes alone are read: of keys that are new, nothing else is.

        Args:
            groups: The only row groups that can hold them.
            hashes: In order.
            columns: Columns to read.

        Returns:
            ``None`` where more than half of the file's row groups have such rows.
        """
        found = self.read(groups, [HASH])[HASH].to_numpy()
        place = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
        return self._where(groups, hashes[place] == found, columns)

    def rows_between(
        self, groups: Sequence[int], after_us: int, through_us: int, columns: Sequence[str]
    ) -> pa.Table | None:
        """Rows that expire after one moment, and by another; otherwise like :meth:`rows_of`."""
        return self._where(groups, self._expiring(groups, after_us, through_us), columns)

    def count_between(self, groups: Sequence[int], after_us: int, through_us: int) -> int:
        """How many rows of some row groups expire after one moment, and by another."""
        return int(np.count_nonzero(self._expiring(groups, after_us, through_us)))

    def _expiring(self, groups: Sequence[int], after_us: int, through_us: int) -> Any:
        """A mask of the rows of row groups by when they expire."""
        least, greatest = self._expiries
        places = np.array(groups)
        mixed = (least[places] <= after_us) | (greatest[places] > through_us)
        found = np.ones(int(self._sizes[places].sum()), np.bool_)
        if mixed.any():
            values = self._expiries_in(places[mixed].tolist())
            found[np.repeat(mixed, self._sizes[places])] = (values > after_us) & (
                values <= through_us
            )
        return found

    def _expiries_in(self, groups: Sequence[int]) -> Any:
        """The expiries of rows of row groups, kept for the next batch, which will ask for most.

        The watermark stays in one span of the file's time for many batches.
        """
        missing = [group for group in groups if group not in self._read]
        if len(self._read) + len(missing) > 2 * len(groups):
            self._read = {group: self._read[group] for group in groups if group in self._read}
        if missing:
            values = self.read(missing, [EXPIRY])[EXPIRY].to_numpy()
            parts = np.split(values, np.cumsum(self._sizes[missing])[:-1])
            self._read |= {g: part.copy() for g, part in zip(missing, parts, strict=True)}
        return np.concatenate([self._read[group] for group in groups])

    def _where(self, groups: Sequence[int], hit: Any, columns: Sequence[str]) -> pa.Table | None:
        """Rows of row groups by a mask; row groups without any are not read."""
        sizes = self._sizes[groups]
        counts = np.add.reduceat(hit, np.cumsum(sizes) - sizes, dtype=np.int64)
        wanted = [group for group, count in zip(groups, counts, strict=True) if count]
        if len(wanted) * 2 > self.groups:
            return None
        rows = self.read(wanted, columns)
        return rows.filter(pa.array(hit[np.repeat(counts > 0, sizes)]))

    def earliest(self, after_us: int) -> int | None:
        """The least expiry after a moment."""
        least, greatest = self._expiries
        known = least[least > after_us]
        found = [int(known.min())] if len(known) else []
        mixed = np.flatnonzero((least <= after_us) & (greatest > after_us))
        if len(mixed):
            values = self._expiries_in(mixed.tolist())
            found.append(int(values[values > after_us].min()))
        return min(found, default=None)

    def _bounds(self, column: int) -> tuple[Any, Any]:
        found: list[Any] = [
            self._metadata.row_group(number).column(column).statistics
            for number in range(self.groups)
        ]
        return (
            np.array([item.min for item in found], np.int64),
            np.array([item.max for item in found], np.int64),
        )


_opened: OrderedDict[str, RunFile] = OrderedDict()


def _between(values: Any, least: Any, greatest: Any) -> Any:
    """Which of several ranges, ends included, hold any of some ordered values."""
    first = np.searchsorted(values, least, side="left")
    last = np.searchsorted(values, greatest, side="right")
    return last > first
