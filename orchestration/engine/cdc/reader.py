"""Files of change records as pieces of typed columns.

Lines of the ordinary kinds are read many at a time (:mod:`.fast`); it decides about speed only.
Every line that it does not take is read one by one and exactly, and what cannot be read is set
aside with its reason.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.engine.cdc.canal import Canal
from orchestration.engine.cdc.chunk import Lines
from orchestration.engine.cdc.debezium import Debezium
from orchestration.engine.cdc.dms import Dms
from orchestration.engine.cdc.fast import FastLines, has_fast_path
from orchestration.engine.cdc.maxwell import Maxwell
from orchestration.engine.cdc.record import Shape, parsed
from orchestration.engine.cdc.rows import RowBuilder, in_order
from orchestration.engine.cdc.values import Values
from orchestration.engine.coercions import BadValue
from orchestration.engine.feed import Piece, Reader, Work
from orchestration.engine.json_files import long_line
from orchestration.engine.line_chunks import Chunk, LongLine, opened, read_chunks
from orchestration.engine.quarantine import bad_line
from orchestration.sources.cdc_format import CHANGE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.base import FileFormat, InputFile
    from orchestration.engine.cdc.rows import Part
    from orchestration.engine.quarantine import BadRecord

__all__ = ["ChangeLines", "change_reader"]

_CHUNK_BYTES = 8 * 1024 * 1024  # a statement has its price, and the lines are long
_BLANK = b" \t\r\n"


def change_reader(schema: pa.Schema, format: FileFormat) -> Reader:  # noqa: A002
    """The reader of a format of changes.

    Args:
        schema: The columns of the change, then those declared.
        format: How the files are read.
    """
    if format.name == "json":
        return ChangeLines(schema, format)
    from orchestration.engine.cdc.dms_files import DmsFiles

    return DmsFiles(schema, format)


class ChangeLines(Reader):
    """JSON lines, also ``.gz`` and ``.zst``.

    Args:
        schema: The columns of the change, then those declared.
        format: How the files are read.
    """

    def __init__(self, schema: pa.Schema, format: FileFormat) -> None:  # noqa: A002
        changes = format.changes
        if changes is None:
            raise TypeError("not a format of changes")
        self._limit = format.max_line_bytes
        self.fields = list(schema)
        declared = pa.schema(self.fields[len(CHANGE_FIELDS) :])
        shapes: dict[str, type[Shape]] = {
            "debezium": Debezium,
            "maxwell": Maxwell,
            "canal": Canal,
            "dms": Dms,
        }
        self._shape = shapes[changes.shape](changes, declared.names)
        self._values = Values(declared, changes, format.timezone)
        self._fast = (
            FastLines(declared, changes, format.timezone) if has_fast_path(changes) else None
        )
        self._by_place = changes.shape == "dms"

    def works(self, file: InputFile) -> Iterator[Work]:
        """Chunks of a file."""
        with opened(file.local) as stream:
            before = 0  # lines of the file before the chunk
            for part in read_chunks(stream, self._limit, chunk_bytes=_CHUNK_BYTES):
                if isinstance(part, LongLine):
                    yield partial(long_line, part, self._limit)
                    before += 1
                    continue
                suffix = None
                if self._by_place:
                    suffix = (file.name.rpartition("/")[2], before)
                    before += part.data.count(b"\n", 0, part.size)
                yield partial(self._chunk, part, suffix)

    def _chunk(self, chunk: Chunk, suffix: tuple[str, int] | None) -> Piece:
        lines = Lines(chunk.data, chunk.size, self._limit)
        bad = lines.bad
        parts: list[Part] = []
        if self._fast is not None:
            parts, taken = self._fast.read(lines)
            lines.open &= ~taken
        parts += self._one_by_one(lines, np.flatnonzero(lines.open), suffix, bad)
        bad.sort(key=lambda record: record.line or 0)
        return Piece(in_order(parts), bad, lines.count)

    def _one_by_one(
        self, lines: Lines, places: Any, suffix: tuple[str, int] | None, bad: list[BadRecord]
    ) -> list[Part]:
        rows = RowBuilder(self.fields)
        for place in places.tolist():
            raw = lines.raw(place)
            if not raw.strip(_BLANK):
                continue
            try:
                changes = self._shape.read(parsed(raw.decode()))
                made = [
                    (change, self._values.row(change.image, change.encodings)) for change in changes
                ]
            except BadValue as error:
                bad.append(bad_line(place + 1, str(error), raw))
                continue
            for change, values in made:
                if suffix is not None:
                    name, before = suffix
                    base, _, rank = change.sequence.rpartition("/")
                    change.sequence = f"{base}/{name}/{before + place + 1:012d}/{rank}"
                rows.add(place + 1, change, values)
        part = rows.part()
        return [] if part is None else [part]
