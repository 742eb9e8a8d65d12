"""Where the quotes of a chunk are; often they say where its lines end, too."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from orchestration.engine.cut_values import MARGIN, View
from orchestration.engine.json_layout import MOST_BYTES

if TYPE_CHECKING:
    from orchestration.engine.cut_values import Ints
    from orchestration.engine.json_layout import Layout

__all__ = ["Marks"]

_NEWLINE = ord("\n")


class Marks:
    """The bytes of a chunk, looked at once.

    Args:
        data: The bytes.
        size: How many of them count.
    """

    def __init__(self, data: bytes, size: int) -> None:
        # The widest window is over a literal, and none is wider than a layout may be.
        self.margin = MARGIN + MOST_BYTES
        self.view = View(data, size, self.margin)
        self.inner = self.view.bytes[self.margin : self.margin + size]
        self.quotes: Ints = np.flatnonzero(self.view.bytes == ord('"'))

    @cached_property
    def controls(self) -> int:
        """How many control characters there are, newlines among them."""
        return int(np.count_nonzero(self.inner < 32))

    def lines(self, layout: Layout) -> Ints | None:
        """Where each line starts, and where the last one ends, if all of them are of a layout.

        Only the last quotes of the lines are looked at. Behind each has to stand, after as many
        bytes as in the layout, a newline; and there may be no other control character, so that
        these are all the newlines that there are.

        Returns:
            The places; ``None`` where this does not tell them.
        """
        tail = layout.literals[-1]
        quote = tail.rfind(b'"')
        if quote < 0 or not len(self.quotes) or len(self.quotes) % layout.quotes:
            return None
        ends = self.quotes[layout.quotes - 1 :: layout.quotes] + (len(tail) - quote)
        if ends[-1] != self.margin + len(self.inner) - 1:
            return None
        if not (self.view.at(ends) == _NEWLINE).all() or self.controls != len(ends):
            return None
        offsets = np.empty(len(ends) + 1, np.int64)
        offsets[0] = 0
        np.subtract(ends, self.margin - 1, out=offsets[1:])
        return offsets
