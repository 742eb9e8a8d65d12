"""Files of newline JSON as pieces of lines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.feed import Piece, Reader, Work
from orchestration.engine.json_lines import JsonLines
from orchestration.engine.line_chunks import Chunk, LongLine, opened, read_chunks
from orchestration.engine.quarantine import BadRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.base import FileFormat, InputFile

__all__ = ["LINE", "JsonFiles", "long_line"]

#: The column that lines come in.
LINE = "headwater_line"


class JsonFiles(Reader):
    """Newline JSON, also ``.gz`` and ``.zst``.

    Args:
        schema: Columns that stand in the data.
        format: How to read it.
    """

    def __init__(self, schema: pa.Schema, format: FileFormat) -> None:  # noqa: A002
        self._format = format
        self._lines = JsonLines(
            schema,
            timezone=format.timezone,
            rescue=format.rescue,
            max_line_bytes=format.max_line_bytes,
        )
        self.fields: list[pa.Field[Any]] = [pa.field(LINE, pa.string())]

    def works(self, file: InputFile) -> Iterator[Work]:
        """Chunks of a file."""
        with opened(file.local) as stream:
            for part in read_chunks(stream, self._format.max_line_bytes):
                if isinstance(part, Chunk):
                    yield partial(self._chunk, part.data, part.size)
                else:
                    yield partial(long_line, part, self._format.max_line_bytes)

    def _chunk(self, data: bytes, size: int) -> Piece:
        found = self._lines.read(data, size)
        return Piece([([lines], numbers) for lines, numbers in found.parts], found.bad, found.lines)


def long_line(line: LongLine, limit: int) -> Piece:
    """The piece that an over-long line is."""
    reason = f"a line of {line.size:,} bytes; at most {limit:,} are read"
    return Piece([], [BadRecord(1, reason, line.head, line.size, line.sha256)], 1)
