"""Files of newline JSON as pieces of lines, or of columns cut out of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.engine.feed import Piece, Reader, Work
from orchestration.engine.json_cut import cut_fields
from orchestration.engine.json_lines import JsonLines
from orchestration.engine.line_chunks import Chunk, LongLine, opened, read_chunks
from orchestration.engine.quarantine import BadRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.base import FileFormat, InputFile
    from orchestration.engine.json_lines import Numbers
    from orchestration.engine.spared import Spared

    _Part = tuple[list[pa.Array[Any]], Numbers]

__all__ = ["LINE", "JsonFiles", "long_line"]

#: The column that lines come in.
LINE = "headwater_line"


class JsonFiles(Reader):
    """Newline JSON, also ``.gz`` and ``.zst``.

    Args:
        schema: Columns that stand in the data.
        format: How to read it.
        spared: Columns that need not be made for every row.
    """

    def __init__(
        self,
        schema: pa.Schema,
        format: FileFormat,  # noqa: A002
        spared: Spared | None = None,
    ) -> None:
        self._format = format
        self._lines = JsonLines(
            schema,
            timezone=format.timezone,
            rescue=format.rescue,
            max_line_bytes=format.max_line_bytes,
            spared=spared,
        )
        self.fields: list[pa.Field[Any]] = [pa.field(LINE, pa.string()), *cut_fields(schema)]

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
        parts: list[_Part] = []
        for arrays, numbers in found.columns:
            parts.append(([pa.nulls(len(numbers), pa.string()), *arrays], numbers))
        for lines, numbers in found.parts:
            nulls = [pa.nulls(len(numbers), item.type) for item in self.fields[1:]]
            parts.append(([lines, *nulls], numbers))
        return Piece(_in_order(parts), found.bad, found.lines)


def _in_order(parts: list[_Part]) -> list[_Part]:
    """The parts as one whose rows stand as in the file; nothing is copied where there is one.

    Which layout or template takes a line depends on what other threads have learned, and must not
    be seen in the order of rows.
    """
    if len(parts) < 2:
        return parts
    numbers = np.concatenate([part[1] for part in parts])
    order = np.argsort(numbers)
    places = pa.array(order)
    columns = [
        pa.concat_arrays(arrays).take(places) for arrays in zip(*(p[0] for p in parts), strict=True)
    ]
    return [(columns, numbers[order])]


def long_line(line: LongLine, limit: int) -> Piece:
    """The piece that an over-long line is."""
    reason = f"a line of {line.size:,} bytes; at most {limit:,} are read"
    return Piece([], [BadRecord(1, reason, line.head, line.size, line.sha256)], 1)
