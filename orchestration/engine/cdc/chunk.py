"""The lines of a chunk as Arrow texts, with those that are no text or too long set aside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.engine.byte_lines import line_offsets, raw_line, unfit_lines

__all__ = ["Bools", "Ints", "Lines"]

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Lines:
    """Whole lines of bytes.

    Args:
        data: The bytes, and perhaps more behind them.
        size: Bytes that count.
        limit: Longer lines are bad.

    Attributes:
        count: How many there are, blank ones too.
        open: Those that may be read.
        bad: The others, numbered from 1.
    """

    def __init__(self, data: bytes, size: int, limit: int) -> None:
        self._data = data
        self._offsets = line_offsets(data, size)
        self.count = len(self._offsets) - 1
        self.open: Bools = np.ones(self.count, dtype=bool)
        self.bad = unfit_lines(data, self._offsets, limit)
        self.open[[record.line - 1 for record in self.bad if record.line]] = False

    def raw(self, place: int) -> bytes:
        """A line's bytes without its end; places count from 0."""
        return raw_line(self._data, self._offsets, place)

    def texts(self, places: Ints, head: int, tail: int) -> pa.StringArray:
        """Some lines as texts, without so many bytes at their start and end.

        Args:
            places: Which; they must be open.
            head: Bytes to leave out at the start.
            tail: Bytes to leave out before the line's end.
        """
        starts = self._offsets[places] + head
        ends = self._offsets[places + 1]
        if tail:
            view = np.frombuffer(self._data, np.uint8)
            ends = ends - (view[ends - 1] == ord("\n"))
            ends = ends - (view[ends - 1] == ord("\r"))
            ends = np.maximum(ends - tail, starts)
        bounds: Any = np.empty(2 * len(places), np.int32)
        bounds[0::2], bounds[1::2] = starts, ends
        if not len(places):
            return pa.array([], pa.string())
        pieces: Any = pa.StringArray.from_buffers(
            len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(self._data)
        )
        texts: pa.StringArray = pieces.take(pa.array(np.arange(0, len(bounds) - 1, 2)))
        return texts

    def closed(self) -> Bools:
        """Which lines end with a closing brace."""
        view = np.frombuffer(self._data, np.uint8)
        last = self._offsets[1:] - 1
        for mark in b"\n\r":
            last = last - (view[np.maximum(last, 0)] == mark)
        found: Bools = view[np.maximum(last, 0)] == ord("}")
        return found

    def starting(self, head: bytes) -> Bools:
        """Which lines start with some bytes."""
        narrow: Any = self._offsets.astype(np.int32)
        all_: Any = pa.Array.from_buffers(
            pa.binary(), self.count, [None, pa.py_buffer(narrow), pa.py_buffer(self._data)]
        )
        wanted: Any = head  # bytes are taken, whatever the annotations say
        found: Any = pc.starts_with(all_, wanted)
        same: Bools = found.to_numpy(zero_copy_only=False)
        return same
