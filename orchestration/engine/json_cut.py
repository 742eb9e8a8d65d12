"""Columns cut out of the bytes of lines that fit a layout; nothing is parsed.

The quotes of a chunk are found in one pass. Where a line has as many as the layout, they say
where its values must be; then the bytes between the values are compared with those of the layout,
eight at a time, and each value is held against its column (:mod:`.cut_values`). A line that
passes is, byte for byte, the JSON text of exactly these values:

- it has no backslash and no control character, so that a quote is always the end of a string;
- outside of the values stands what stood in the line that the layout was learned from, which the
  exact path could read;
- values in quotes hold no quote, and the others are numbers or words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.engine import cut_values
from orchestration.engine.cut_moments import dates, timestamps
from orchestration.engine.cut_values import (
    UNWANTED,
    Cut,
    Kind,
    array_of,
    cut_name,
    cut_type,
)
from orchestration.engine.json_marks import Marks
from orchestration.streams.schema import duckdb_type, quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestration.engine.cut_values import Bools, Ints, View
    from orchestration.engine.json_layout import Layout, Slot
    from orchestration.engine.spared import Spared

__all__ = ["CutLines", "Shape", "cut_columns", "cut_fields", "shapes_of"]

_WORD = 8
_READERS: dict[str, Callable[[View, Ints, Ints, Slot], Cut]] = {
    "integer": cut_values.integers,
    "decimal": cut_values.decimals,
    "boolean": cut_values.booleans,
    "date": dates,
    "timestamp": timestamps,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A column that can be cut out, or a member of one.

    Attributes:
        path: Its name, below those of the structs that it is in.
        type: Of the array that it becomes.
        parts: Members that can be cut out, of a struct; else ``None``.
    """

    path: tuple[str, ...]
    type: Any
    parts: tuple[Shape, ...] | None


def shapes_of(fields: Iterable[pa.Field[Any]], path: tuple[str, ...] = ()) -> tuple[Shape, ...]:
    """The columns among these that can be cut out."""
    found = []
    for item in fields:
        kind = cut_type(item)
        if kind is not None:
            own = (*path, item.name)
            parts = shapes_of(item.type, own) if pa.types.is_struct(item.type) else None
            found.append(Shape(own, kind, parts))
    return tuple(found)


def cut_fields(schema: pa.Schema) -> list[pa.Field[Any]]:
    """The columns of a schema that can be cut out, by names that no user's column has."""
    kinds = [(cut_name(number), cut_type(item)) for number, item in enumerate(schema)]
    return [pa.field(name, kind) for name, kind in kinds if kind is not None]


def cut_columns(schema: pa.Schema) -> dict[str, str]:
    """SQL that makes the columns of :func:`cut_fields`, by name."""
    return {
        item.name: _of_cut(quote_identifier(cut_name(number)), item)
        for number, item in enumerate(schema)
        if cut_type(item) is not None
    }


def _of_cut(expression: str, field: pa.Field[Any]) -> str:
    """SQL that makes a column of its :func:`.cut_values.cut_type`."""
    kind: Any = field.type
    given = cut_type(field)
    if given is None:
        return f"CAST(NULL AS {duckdb_type(kind)})"
    if given == kind:
        return expression
    if pa.types.is_struct(kind):
        parts = ", ".join(
            f"{quote_identifier(part.name)} := "
            + _of_cut(f"struct_extract({expression}, {quote_literal(part.name)})", part)
            for part in kind
        )
        return f"CASE WHEN {expression} IS NULL THEN NULL ELSE struct_pack({parts}) END"
    if pa.types.is_float32(kind):  # as the exact path does: the nearest double first
        return f"CAST(CAST({expression} AS DOUBLE) AS FLOAT)"
    return f"CAST({expression} AS {duckdb_type(kind)})"


class CutLines:
    """The lines of a chunk.

    Args:
        data: Their bytes.
        offsets: Where each starts, and where the last one ends.
        open_: Lines that may be looked at: text, and not too long.
        marks: Of these bytes, where they are known already.
    """

    def __init__(
        self, data: bytes, offsets: Ints, open_: Bools, marks: Marks | None = None
    ) -> None:
        size = int(offsets[-1])
        self._marks = marks or Marks(data, size)
        self._margin = self._marks.margin
        self._view = self._marks.view
        self._quotes = self._marks.quotes
        self._starts = offsets[:-1] + self._margin
        self._ends = offsets[1:] + self._margin
        self._ends = self._ends - (self._view.at(self._ends - 1) == ord("\n"))
        self._first: Ints | None = None
        self._usable = open_ & self._plain(data, size, offsets)

    def _plain(self, data: bytes, size: int, offsets: Ints) -> Bools:
        """Lines without a backslash or a control character, but for a return at their end."""
        inner = self._marks.inner
        plain = np.ones(len(self._starts), dtype=bool)
        found = []
        if data.find(b"\\", 0, size) >= 0:
            found.append(np.flatnonzero(inner == ord("\\")))
        newlines = len(plain) - int(self._ends[-1] == offsets[-1] + self._margin)
        if self._marks.controls > newlines:
            places = np.flatnonzero((inner < 32) & (inner != ord("\n")))
            last = self._ends - self._margin - 1
            found.append(places[~((inner[places] == ord("\r")) & np.isin(places, last))])
        for places in found:
            plain[np.searchsorted(offsets, places, side="right") - 1] = False
        return plain

    def cut(
        self,
        layout: Layout,
        shapes: Sequence[Shape],
        wanted: Bools,
        spared: Spared | None = None,
    ) -> tuple[Ints, list[pa.Array[Any]]]:
        """The wanted lines that fit, and an array of each shape's type of them.

        Args:
            layout: What they are to fit.
            shapes: Columns to cut out.
            wanted: Which lines to try.
            spared: Texts that need not be made for every line.
        """
        rows, quotes = self._of_count(layout.quotes, wanted & self._usable)
        if not len(rows):
            return rows, []
        bounds = self._bounds(layout, rows, quotes)
        fits = self._fits(layout, rows, quotes)
        for slot, (start, end) in zip(layout.slots, bounds, strict=True):
            if not slot.quoted or slot.kind.name == "timestamp":
                fits &= start <= end  # else the literals around it overlap
        if not fits.all():
            rows = rows[fits]
            bounds = [(start[fits], end[fits]) for start, end in bounds]
            if not len(rows):
                return rows, []
        cuts: dict[tuple[str, ...], tuple[Kind, Cut]] = {}
        proved: Any = None
        later: list[tuple[Slot, Ints, Ints]] = []
        for slot, (start, end) in zip(layout.slots, bounds, strict=True):
            if spared is not None and _is_spared(slot, spared):
                later.append((slot, start, end))
                continue
            cut = self._value(slot, start, end)
            if cut.proved is not None:
                proved = cut.proved if proved is None else proved & cut.proved
            if slot.path:
                cuts[slot.path] = (slot.kind, cut)
        if spared is not None and later:
            few = _needed(cuts.get((spared.time,)), spared)
            for slot, start, end in later:
                cuts[slot.path] = (slot.kind, Cut(self._some_texts(start, end, few), None, None))
        if proved is not None and not proved.all():
            rows = rows[proved]
        else:
            proved = None
        if not len(rows):
            return rows, []
        arrays = [_column(shape, cuts, layout.present, proved, len(rows)) for shape in shapes]
        return rows, arrays

    def _of_count(self, count: int, wanted: Bools) -> tuple[Ints, Any]:
        """Wanted lines with so many quotes, and the places of these, a row per line."""
        lines = len(self._starts)
        if len(self._quotes) == count * lines:
            quotes = self._quotes.reshape(lines, count)
            if (quotes[:, 0] >= self._starts).all() and (quotes[:, -1] < self._ends).all():
                rows = np.arange(lines)
                return (rows, quotes) if wanted.all() else (rows[wanted], quotes[wanted])
        if self._first is None:
            edges = np.append(self._starts, self._ends[-1:] + 1)
            self._first = np.searchsorted(self._quotes, edges)
        rows = np.flatnonzero(wanted & (np.diff(self._first) == count))
        return rows, self._quotes[self._first[rows][:, None] + np.arange(count)]

    def _fits(self, layout: Layout, rows: Ints, quotes: Any) -> Bools:
        """Which lines have the layout's bytes outside of their values."""
        wrong: Any = np.zeros(len(rows), np.uint64)
        begins: Any = np.ones(len(rows), dtype=bool)
        at = 0
        last = len(layout.literals) - 1
        for number, literal in enumerate(layout.literals):
            quote = literal.find(b'"')
            places = quotes[:, at] - quote if quote >= 0 else self._ends[rows] - len(literal)
            if number == 0:
                begins &= places == self._starts[rows]
            if number == last:
                begins &= places + len(literal) == self._ends[rows]
            at += literal.count(b'"')
            count = -(-len(literal) // _WORD)
            if not count:
                continue
            words = self._view.words(places, count)
            text = np.frombuffer(literal.ljust(_WORD * count, b"\0"), "<u8")
            mask = np.frombuffer((b"\xff" * len(literal)).ljust(_WORD * count, b"\0"), "<u8")
            for word in range(count):
                here = words[:, word] ^ text[word]
                if mask[word] != mask.dtype.type(2**64 - 1):
                    here &= mask[word]
                wrong |= here
        fits: Bools = begins & (wrong == 0)
        return fits

    def _bounds(self, layout: Layout, rows: Ints, quotes: Any) -> list[tuple[Ints, Ints]]:
        """Where the value of each slot starts and ends."""
        found = []
        at = 0
        for before, after in zip(layout.literals, layout.literals[1:], strict=False):
            at += before.count(b'"')
            start = quotes[:, at - 1] + (len(before) - before.rfind(b'"'))
            quote = after.find(b'"')
            end = quotes[:, at] - quote if quote >= 0 else self._ends[rows] - len(after)
            found.append((start, end))
        return found

    def _value(self, slot: Slot, start: Ints, end: Ints) -> Cut:
        read = _READERS.get(slot.kind.name)
        if read is not None:
            return read(self._view, start, end, slot)
        if slot.kind.name == "string" or (slot.kind == UNWANTED and slot.quoted):
            return Cut(self._texts(start, end) if slot.path else None, None, None)
        texts = self._texts(start, end)
        pattern = slot.kind.pattern
        proved = pc.match_substring_regex(texts, f"^(?:{pattern})$")
        null = None
        if not slot.quoted and slot.path:
            nulls = pc.equal(texts, pa.scalar("null"))
            if nulls.true_count:
                proved = pc.or_(proved, nulls)
                texts = pc.if_else(nulls, pa.scalar(None, pa.string()), texts)
        if proved.true_count == len(proved):
            return Cut(texts, None, null)
        return Cut(texts, proved.to_numpy(zero_copy_only=False), null)

    def _some_texts(self, start: Ints, end: Ints, few: Ints | None) -> pa.Array[Any]:
        """The texts of a few rows, null in the others; ``None`` for all."""
        if few is None or 2 * len(few) > len(start):
            return self._texts(start, end)
        if not len(few):
            nulls: pa.Array[Any] = pa.nulls(len(start), pa.string())
            return nulls
        places = np.zeros(len(start), np.int64)
        places[few] = np.arange(len(few))
        missing = np.ones(len(start), dtype=bool)
        missing[few] = False
        found: pa.Array[Any] = self._texts(start[few], end[few]).take(
            pa.array(places, pa.int64(), mask=missing)
        )
        return found

    def _texts(self, start: Ints, end: Ints) -> pa.Array[Any]:
        """Pieces of the data as strings: every second one of those between all the places."""
        places: Any = np.empty(2 * len(start), np.int32)
        places[0::2] = start
        places[1::2] = end
        data: Any = self._view.bytes
        pieces: Any = pa.StringArray.from_buffers(
            len(places) - 1, pa.py_buffer(places), pa.py_buffer(data)
        )
        found: pa.Array[Any] = pieces.take(
            pa.array(np.arange(0, len(places) - 1, 2, dtype=np.int32))
        )
        return found


def _is_spared(slot: Slot, spared: Spared) -> bool:
    # Texts alone: other values have to be read to be proved.
    return slot.kind.name == "string" and slot.path[:1] != () and slot.path[0] in spared.columns


def _needed(time: tuple[Kind, Cut] | None, spared: Spared) -> Ints | None:
    """Which rows need the spared texts; ``None`` for all."""
    if time is None or time[0].name != "timestamp":
        return None
    found: Ints = np.flatnonzero(time[1].values <= spared.until_us)
    return found


def _column(
    shape: Shape,
    cuts: Mapping[tuple[str, ...], tuple[Kind, Cut]],
    present: frozenset[tuple[str, ...]],
    proved: Bools | None,
    count: int,
) -> pa.Array[Any]:
    if shape.parts is not None and shape.path in present:
        arrays = [_column(part, cuts, present, proved, count) for part in shape.parts]
        both: pa.Array[Any] = pa.StructArray.from_arrays(arrays, fields=list(shape.type))
        return both
    if shape.path not in cuts:
        nulls: pa.Array[Any] = pa.nulls(count, shape.type)
        return nulls
    how, cut = cuts[shape.path]
    values, null = cut.values, cut.null
    if isinstance(values, pa.Array):
        texts: pa.Array[Any] = values if proved is None else values.filter(pa.array(proved))
        return texts
    if proved is not None:
        values, null = values[proved], null if null is None else null[proved]
    return array_of(how, values, null)
