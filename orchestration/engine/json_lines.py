"""A chunk of newline JSON: columns, lines that DuckDB may read, and records that are bad.

The columns of lines that fit a layout are cut out of them (:mod:`.json_cut`). Of the rest, lines
that a template proves go on as they are (:mod:`.json_template`); the others are read one by one
(:mod:`.json_records`) and go on in normal form, or are set aside. Layouts and templates are
learned from lines that none of them took.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.engine.byte_lines import line_offsets, raw_line, unfit_lines
from orchestration.engine.coercions import BadValue
from orchestration.engine.json_layouts import Layouts
from orchestration.engine.json_records import JsonRecords
from orchestration.engine.json_template import Template, learn
from orchestration.engine.quarantine import BadRecord, bad_line

__all__ = ["JsonLines", "ReadChunk"]

_FEW = 12  # lines: below, making the expression ready costs more than reading them one by one
_SOME = 100  # the same where most lines are cut already, so that there is none ready yet
_SAMPLE = 24  # lines that a template learns from
_FAMILIES = 3  # templates kept: kinds of records in one source
_BLOCK = 32  # lines proved at a time
_TRIES = 3  # at widening them, in one chunk

if TYPE_CHECKING:
    from orchestration.engine.spared import Spared

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """What a chunk holds.

    Attributes:
        columns: For each column that can be cut out (:func:`.json_cut.cut_type`) an array, of
            lines that fit a layout; and their numbers.
        parts: Lines that ``json_transform`` reads exactly, each part with its line numbers,
            counted from the chunk's first line as 1.
        bad: Records to set aside, numbered in the same way.
        lines: Lines in the chunk, blank ones too.
    """

    columns: list[tuple[list[pa.Array[Any]], Numbers]]
    parts: list[tuple[pa.Array[Any], Numbers]]
    bad: list[BadRecord]
    lines: int


class JsonLines:
    """Reads chunks of one schema; may be used from several threads.

    Args:
        schema: Columns that stand in the data.
        timezone: Meaning of timestamps without a zone.
        rescue: Keep unknown fields.
        max_line_bytes: Longer lines are bad records.
        spared: Columns that need not be made for every row.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        timezone: str | None,
        rescue: bool,
        max_line_bytes: int,
        spared: Spared | None = None,
    ) -> None:
        self._schema = schema
        self._rescue = rescue
        self._max_line_bytes = max_line_bytes
        self._records = JsonRecords(schema, timezone=timezone, rescue=rescue)
        self._layouts = Layouts(schema, rescue=rescue, spared=spared)
        self._templates: tuple[Template, ...] = ()
        self._misses = 0
        self._lock = threading.Lock()

    def read(self, data: bytes, size: int | None = None) -> ReadChunk:
        """Read one chunk: the whole lines in the first ``size`` bytes of ``data``."""
        size = len(data) if size is None else size
        marks, offsets = self._layouts.lines(data, size)
        if offsets is None:
            offsets = line_offsets(data, size)
        count = len(offsets) - 1
        open_ = np.ones(count, dtype=bool)
        bad = unfit_lines(data, offsets, self._max_line_bytes)
        open_[[record.line - 1 for record in bad if record.line]] = False
        columns: list[tuple[list[pa.Array[Any]], Numbers]] = []
        parts: list[tuple[pa.Array[Any], Numbers]] = []
        if count >= _FEW:
            columns = self._layouts.cut(data, offsets, open_, self._normal, marks)
            for _, numbers in columns:
                open_[numbers - 1] = False
        if np.count_nonzero(open_) >= (_FEW if not columns else _SOME):
            proved = self._proved(data, offsets, open_)
            if proved.all():
                parts.append((_strings(data, offsets), np.arange(1, count + 1)))
                open_ &= False
            elif proved.any():
                numbers = np.flatnonzero(proved)
                parts.append(
                    (_strings(data, offsets).take(pa.array(numbers, pa.int64())), numbers + 1)
                )
                open_ &= ~proved
        self._read_one_by_one(data, offsets, np.flatnonzero(open_), parts, bad)
        bad.sort(key=lambda record: record.line or 0)
        return ReadChunk(columns, parts, bad, count)

    def _normal(self, raw: bytes) -> bool:
        """Whether the exact path can read a line."""
        try:
            self._records.normal(raw.decode())
        except (BadValue, UnicodeDecodeError):
            return False
        return True

    def _proved(self, data: bytes, offsets: Numbers, open_: Any) -> Any:
        """Which lines match a template; new templates are learned where few do."""
        lines = _binaries(data, offsets)
        proved = np.zeros(len(open_), dtype=bool)
        tried: set[str] = set()
        for _ in range(_TRIES + 1):
            for template in self._templates:
                if template.line not in tried:
                    tried.add(template.line)
                    wanted = open_ & ~proved
                    if wanted.all():
                        _match_blocks(data, offsets, template.lines, proved)
                        wanted = open_ & ~proved
                    _match(lines, template.line, wanted, proved)
            rest = np.flatnonzero(open_ & ~proved)
            # Three more tries for every million lines of misses would still cost nothing.
            if len(rest) <= max(_FEW, len(open_) // 50) or not self._learn(data, offsets, rest):
                break
        return proved

    def _learn(self, data: bytes, offsets: Numbers, rest: Numbers) -> bool:
        """Widen a template by some of the lines that none proved; false where that is no use."""
        if self._misses > 20:
            return False
        step = max(1, len(rest) // _SAMPLE)
        lines = []
        for number in rest[::step][:_SAMPLE]:
            text = raw_line(data, offsets, number).decode()
            try:
                self._records.normal(text)
            except BadValue:
                continue
            lines.append(text)
        with self._lock:
            known = list(self._templates)
            for place, template in enumerate(known):
                wider = learn(lines, self._schema, rescue=self._rescue, known=template)
                if wider is not None and wider.line != template.line:
                    known[place] = wider
                    self._templates = tuple(known)
                    return True
            fresh = learn(lines[:1], self._schema, rescue=self._rescue) if lines else None
            fresh = learn(lines, self._schema, rescue=self._rescue, known=fresh) if fresh else None
            if fresh is None or len(known) >= _FAMILIES:
                self._misses += 1
                return False
            self._templates = (*known, fresh)
            return fresh.line not in {template.line for template in known}

    def _read_one_by_one(
        self,
        data: bytes,
        offsets: Numbers,
        numbers: Numbers,
        parts: list[tuple[pa.Array[Any], Numbers]],
        bad: list[BadRecord],
    ) -> None:
        good: list[bytes] = []
        places: list[int] = []
        for number in numbers:
            raw = raw_line(data, offsets, number)
            if not raw.strip(b" \t\r"):
                continue
            try:
                good.append(self._records.line(raw.decode()))
                places.append(int(number) + 1)
            except BadValue as error:
                bad.append(bad_line(int(number) + 1, str(error), raw))
        if good:
            parts.append((pa.array(good, pa.string()), np.array(places)))


def _match_blocks(data: bytes, offsets: Numbers, pattern: str, proved: Any) -> None:
    """Prove some lines at a time; where one of them fails, none of its block is proved."""
    starts = offsets[:-1:_BLOCK]
    found = _matches(_binaries(data, np.append(starts, offsets[-1])), pattern)
    proved |= np.repeat(found, _BLOCK)[: len(proved)]


def _match(lines: Any, pattern: str, wanted: Any, proved: Any) -> None:
    """Prove the wanted lines one by one."""
    if wanted.any():
        numbers = np.flatnonzero(wanted)
        proved[numbers[_matches(lines.take(pa.array(numbers)), pattern)]] = True


def _matches(texts: Any, pattern: str) -> Any:
    return pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)


def _binaries(data: bytes, offsets: Numbers) -> Any:
    """Pieces of the data; as bytes, on which the expressions are faster and shorter."""
    buffers = [None, _buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _strings(data: bytes, offsets: Numbers) -> pa.Array[Any]:
    return pa.StringArray.from_buffers(len(offsets) - 1, _buffer(offsets), pa.py_buffer(data))


def _buffer(offsets: Numbers) -> pa.Buffer:
    narrow: Any = offsets.astype(np.int32)
    return pa.py_buffer(narrow)
