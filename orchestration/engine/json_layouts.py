"""The layouts that the lines of one source have, learned as they come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.engine.json_cut import CutLines, shapes_of
from orchestration.engine.json_layout import Layout, learn_layout
from orchestration.engine.json_marks import Marks

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from orchestration.engine.cut_values import Bools, Ints
    from orchestration.engine.spared import Spared

__all__ = ["Layouts"]

_MOST = 12  # layouts: each costs a look at the lines that those before it left
_SAMPLE = 4  # lines looked at for a new one
_REST = 50  # one line in so many may be left without a new one being sought
_TRIED = 20_000  # lines after which it is clear whether cutting is any use


class Layouts:
    """Cuts columns out of chunks; may be used from several threads.

    Args:
        schema: Columns that stand in the data.
        rescue: Keep unknown fields.
        spared: Columns that need not be made for every row.
    """

    def __init__(self, schema: pa.Schema, *, rescue: bool, spared: Spared | None = None) -> None:
        self._schema = schema
        self._shapes = shapes_of(schema)
        self._rescue = rescue
        self._spared = spared
        self._layouts: tuple[Layout, ...] = ()
        self._misses = 0
        self._tried = 0
        self._taken = 0
        self._lock = threading.Lock()

    def lines(self, data: bytes, size: int) -> tuple[Marks | None, Ints | None]:
        """The marks of a chunk, and where its lines start, as far as that is worth knowing.

        Args:
            data: The lines.
            size: How many of the bytes count.

        Returns:
            ``None`` for the marks where no layout takes any lines, and for the places where the
            marks do not tell them.
        """
        layouts = self._layouts
        if not layouts or not self._worth_it():
            return None, None
        marks = Marks(data, size)
        for layout in layouts:
            offsets = marks.lines(layout)
            if offsets is not None:
                return marks, offsets
        return marks, None

    def _worth_it(self) -> bool:
        """False where lines are written in other ways: finding quotes costs more than it saves."""
        with self._lock:
            return self._tried <= _TRIED or self._taken >= self._tried // 4

    def cut(
        self,
        data: bytes,
        offsets: Ints,
        open_: Bools,
        readable: Callable[[bytes], bool],
        marks: Marks | None = None,
    ) -> list[tuple[list[pa.Array[Any]], Ints]]:
        """Columns of the lines that fit a layout, and the numbers of these, from 1.

        Args:
            data: The lines.
            offsets: Where each starts, and where the last one ends.
            open_: Lines to try.
            readable: Whether the exact path can read a line.
            marks: Of these bytes, from :meth:`lines`.
        """
        if marks is None and not self._worth_it():
            return []
        lines = CutLines(data, offsets, open_, marks)
        left = open_.copy()
        found: list[tuple[list[pa.Array[Any]], Ints]] = []
        done: set[Layout] = set()
        while True:
            for layout in self._layouts:
                if layout in done or not left.any():
                    continue
                done.add(layout)
                rows, arrays = lines.cut(layout, self._shapes, left, self._spared)
                if len(rows):
                    left[rows] = False
                    found.append((arrays, rows + 1))
            rest = np.flatnonzero(left)
            if len(rest) <= len(left) // _REST or not self._learn(
                data, offsets, rest, readable, done
            ):
                break
        with self._lock:
            self._tried += len(left)
            self._taken += len(left) - len(rest)
        return found

    def _learn(
        self,
        data: bytes,
        offsets: Ints,
        rest: Ints,
        readable: Callable[[bytes], bool],
        done: set[Layout],
    ) -> bool:
        """Add the layout of one of the lines that are left; false where none has a new one."""
        if not done.issuperset(self._layouts):
            return True  # another thread has just added one
        with self._lock:
            if len(self._layouts) >= _MOST or self._misses > _MOST:
                return False
        for number in rest[:: max(1, len(rest) // _SAMPLE)][:_SAMPLE]:
            line = data[offsets[number] : offsets[number + 1]].removesuffix(b"\n")
            layout = learn_layout(line, self._schema, rescue=self._rescue)
            if layout is None or not readable(line):
                continue
            with self._lock:
                if layout not in self._layouts:
                    self._layouts = (*self._layouts, layout)
            if layout not in done:
                return True  # perhaps one that another thread has added meanwhile
        with self._lock:
            self._misses += 1
        return False
