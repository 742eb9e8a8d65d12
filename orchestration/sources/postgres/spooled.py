"""Messages on their way from the server: in memory while they are few, else on the local disk."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.errors import SourceUnavailable
from orchestration.sources.postgres.wire import Block, ends_of
from orchestration.sources.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["BLOCK_BYTES", "Spooled", "blocks_of"]

#: Bytes of messages that are decoded at once. Twenty times that is the memory it takes.
BLOCK_BYTES = 8 * 1024 * 1024
_KEPT = 32 * 1024 * 1024
_SPARE = bytes(16)  # so that looking at a whole number never leaves the block


class Spooled:
    """Blocks of messages, read as often as wanted.

    Args:
        parent: Where files may lie.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._stack = ExitStack()
        # A dry run looks at what it took and never reads it.
        self._let_go = weakref.finalize(self, self._stack.close)
        self._kept: list[Block] = []
        self._places: list[tuple[int, int, int]] = []  # bytes, messages and where they lie
        self._file: BinaryIO | None = None
        self._written = 0
        self._ends: list[Any] = []
        self.messages = 0
        self.bytes = 0

    @property
    def ends(self) -> Any:
        """Where each transaction ends, in order."""
        return np.concatenate(self._ends) if self._ends else np.zeros(0, np.int64)

    def add(self, block: Block) -> None:
        """Keep a block.

        Raises:
            SourceUnavailable: The local disk is full.
        """
        self._ends.append(ends_of(block))
        self.messages += len(block.lengths)
        self.bytes += len(block.data) - len(_SPARE)
        self._kept.append(block)
        if sum(len(item.data) for item in self._kept) > _KEPT:
            self._spill()

    def blocks(self) -> Iterator[Block]:
        """All of them, in order."""
        if self._file is not None:
            self._file.flush()
            for size, count, place in self._places:
                self._file.seek(place)
                lengths = np.frombuffer(self._file.read(4 * count), np.int32)
                yield Block(self._file.read(size), lengths)
            self._file.seek(self._written)
        yield from self._kept

    def close(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self._places.clear()
        self._file = None
        self._let_go()

    def _spill(self) -> None:
        try:
            if self._file is None:
                directory = self._stack.enter_context(open_spool(self._parent))
                path = directory / "messages"
                self._file = self._stack.enter_context(path.open("w+b"))
            for block in self._kept:
                lengths = np.ascontiguousarray(block.lengths, np.int32).tobytes()
                self._places.append((len(block.data), len(block.lengths), self._written))
                self._file.write(lengths)
                self._file.write(block.data)
                self._written += len(lengths) + len(block.data)
        except OSError as error:
            raise SourceUnavailable(
                f"changes cannot be kept in {self._parent}: {error.strerror}",
                remedy="make room on that disk, or set HEADWATER_SCRATCH to a larger one",
            ) from error
        self._kept.clear()


def blocks_of(data: bytes | memoryview, lengths: Any) -> Iterator[Block]:
    """Cut messages that came in one piece into blocks.

    Args:
        data: Their bytes, one after the other.
        lengths: Bytes of each.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    first = done = 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(ends, done + BLOCK_BYTES, side="right")))
        stop = int(ends[last - 1])
        yield Block(b"".join((data[done:stop], _SPARE)), lengths[first:last])
        first, done = last, stop
