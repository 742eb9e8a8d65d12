"""Values cut out of bytes, many rows at a time: numbers and words as numpy arrays.

Each function is given where the texts of one value per row start and end, and says which of them
are written so plainly that they are surely what they seem: those it has read as the exact path
(:mod:`.coercions`) would. It may refuse any text, never take one that the exact path reads
otherwise. Eight bytes of every row are looked at in one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from orchestration.engine.json_template import NUMBER_WORD_OR_NULL, scalar_pattern
from orchestration.streams.schema import is_json

__all__ = [
    "FIRST",
    "HIGH",
    "MARGIN",
    "POWERS",
    "UNWANTED",
    "Bools",
    "Cut",
    "Ints",
    "Kind",
    "View",
    "array_of",
    "booleans",
    "cut_name",
    "cut_type",
    "decimals",
    "integers",
    "kind_of",
    "little",
    "numbers",
]

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

#: Room before and behind the data, so that a window at its edges is still inside.
MARGIN = 64

_DIGITS = 18  # that surely fit 64 bits
_FRACTION = 8  # digits after the point that are looked for


@dataclass(frozen=True, slots=True)
class Kind:
    """How the values of a column are read.

    Attributes:
        name: ``integer``, ``decimal``, ``timestamp``, ``date``, ``boolean``, ``string``; or
            ``text``, which DuckDB casts once an expression has proved it.
        type: Of the array that they become.
        bare: May stand without quotes.
        quoted: May stand in quotes.
        number: What stands in quotes must look like a number.
        pattern: What proves a ``text``.
    """

    name: str
    type: Any
    bare: bool
    quoted: bool
    number: bool = False
    pattern: str = ""


#: An unknown field: it has to be JSON, and is dropped.
UNWANTED = Kind("unwanted", None, bare=True, quoted=True, pattern=NUMBER_WORD_OR_NULL)


def kind_of(field: pa.Field[Any]) -> Kind | None:
    """How a column or member is read; ``None`` where it cannot be cut out."""
    kind: Any = field.type
    if is_json(field) or pa.types.is_nested(kind):
        return None
    if pa.types.is_signed_integer(kind):
        return Kind("integer", kind, bare=True, quoted=True, number=True)
    if pa.types.is_decimal(kind):
        if kind.precision <= _DIGITS and kind.scale <= _FRACTION and kind.scale < kind.precision:
            return Kind("decimal", kind, bare=True, quoted=True, number=True)
    elif pa.types.is_string(kind):
        return Kind("string", kind, bare=False, quoted=True)
    elif pa.types.is_boolean(kind):
        return Kind("boolean", kind, bare=True, quoted=False)
    elif pa.types.is_date32(kind):
        return Kind("date", kind, bare=False, quoted=True)
    elif kind == pa.timestamp("us", "UTC"):
        return Kind("timestamp", kind, bare=False, quoted=True)
    elif not pa.types.is_floating(kind):
        return None
    pattern = scalar_pattern(kind)
    return Kind("text", pa.string(), bare=True, quoted=True, number=True, pattern=pattern)


def cut_name(number: int) -> str:
    """The name that a cut column has on its way into DuckDB; no user's column has it."""
    return f"headwater_cut_{number}"


def cut_type(field: pa.Field[Any]) -> Any:
    """Type of the array that a column is cut out as, ``None`` where it cannot be."""
    if pa.types.is_struct(field.type):
        parts = [(part.name, cut_type(part)) for part in field.type]
        known = [pa.field(name, kind) for name, kind in parts if kind is not None]
        return pa.struct(known) if known else None
    kind = kind_of(field)
    return kind and kind.type


class View:
    """Bytes that can be looked at in many places at once.

    Args:
        data: The bytes.
        size: How many of them count.
        margin: Room on both sides; at least as much as the widest window.
    """

    def __init__(self, data: bytes, size: int, margin: int) -> None:
        self.bytes = np.empty(size + 2 * margin, np.uint8)
        self.bytes[:margin] = 0
        self.bytes[margin + size :] = 0
        self.bytes[margin : margin + size] = np.frombuffer(data, np.uint8, size)
        self.margin = margin

    def words(self, places: Ints, count: int) -> Any:
        """``count`` times eight bytes from each place, as rows of little-endian numbers."""
        width = 8 * count
        windows: Any = np.ndarray(
            (len(self.bytes) - width + 1,), f"V{width}", self.bytes, strides=(1,)
        )
        return windows[places].view("<u8").reshape(len(places), count)

    def at(self, places: Ints) -> Any:
        """One byte from each place."""
        return self.bytes[places]


@dataclass(frozen=True, slots=True)
class Cut:
    """Values of one slot.

    Attributes:
        values: One per row; anything where a row is not proved.
        proved: Which rows are; ``None`` for all.
        null: Which of them are null; ``None`` for none.
    """

    values: Any
    proved: Bools | None
    null: Bools | None


def _all_bytes(value: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([value]) * 8, "little"))


def little(text: bytes) -> np.uint64:
    """Up to eight bytes as :meth:`View.words` gives them."""
    return np.uint64(int.from_bytes(text.ljust(8, b"\0"), "little"))


HIGH = _all_bytes(0x80)
_ZEROS = _all_bytes(0x30)
_TO_NINE = _all_bytes(0x7F - 9)
# The last n of eight bytes, and zeros as digits in the place of the others.
_KEEP = np.array([(2**64 - 1) & ~(2 ** (8 * (8 - n)) - 1) for n in range(9)], np.uint64)
_FILL = _ZEROS & ~_KEEP
POWERS = np.array([10**n for n in range(_DIGITS + 1)], np.int64)
_NULL, _TRUE, _FALSE = (little(word) for word in (b"null", b"true", b"false"))
#: Which bits of a word its first bytes are.
FIRST = [np.uint64(2 ** (8 * n) - 1) for n in range(9)]


def _u(value: int) -> np.uint64:
    return np.uint64(value)


def numbers(view: View, end: Ints, length: Ints) -> tuple[Ints, Bools]:
    """Numbers of up to 18 digits that end somewhere; no digit at all is 0."""
    longest = int(length.max(initial=0))
    count = min(max(-(-longest // 8), 1), 3)
    words = view.words(end - 8 * count, count)
    total: Any = None
    wrong: Any = None
    for place in range(count):
        after = 8 * (count - 1 - place)
        kept = np.clip(length - after, 0, 8)
        word = ((words[:, place] & _KEEP[kept]) | _FILL[kept]) ^ _ZEROS
        here = (word | (word + _TO_NINE)) & HIGH  # a byte over 9, or over 127
        word = (word * _u(2561)) >> _u(8)
        word = ((word & _u(0x00FF00FF00FF00FF)) * _u(6553601)) >> _u(16)
        word = ((word & _u(0x0000FFFF0000FFFF)) * _u(42949672960001)) >> _u(32)
        total = word if total is None else total * _u(10**8) + word
        wrong = here if wrong is None else wrong | here
    return total.astype(np.int64), (wrong == 0) & (length >= 0) & (length <= _DIGITS)


def _is_null(view: View, start: Ints, end: Ints) -> Bools:
    word = view.words(start, 1)[:, 0]
    found: Bools = (end - start == 4) & ((word & FIRST[4]) == _NULL)
    return found


def _signed(view: View, start: Ints) -> tuple[Ints, Any, Any]:
    """Where the digits start, their first one, and which rows have a minus before them."""
    first = view.at(start)
    minus = first == ord("-")
    if not minus.any():
        return start, first, None
    start = start + minus
    return start, view.at(start), minus


def _proved(
    view: View, start: Ints, end: Ints, right: Bools, *, quoted: bool
) -> tuple[Bools | None, Bools | None]:
    if right.all():
        return None, None
    if quoted:
        return right, None
    null = _is_null(view, start, end)
    return (right | null, null) if null.any() else (right, None)


def integers(view: View, start: Ints, end: Ints, slot: Any) -> Cut:
    """Whole numbers, written with digits alone."""
    begin, first, minus = _signed(view, start)
    length = end - begin
    values, right = numbers(view, end, length)
    right &= (length == 1) | ((length > 1) & (first != ord("0")))
    if minus is not None:
        values = np.where(minus, -values, values)
    bits = slot.kind.type.bit_width
    if bits < 64:
        right &= (values >= -(2 ** (bits - 1))) & (values < 2 ** (bits - 1))
    return Cut(values, *_proved(view, start, end, right, quoted=slot.quoted))


def decimals(view: View, start: Ints, end: Ints, slot: Any) -> Cut:
    """Numbers without an exponent, as multiples of the last digit that the type has."""
    precision, scale = slot.kind.type.precision, slot.kind.type.scale
    begin, first, minus = _signed(view, start)
    fraction = np.zeros(len(start), np.int64)
    if scale:
        tail = view.words(end - 16, 2).view(np.uint8)
        for digits in range(1, scale + 1):
            # Two points give a sum that reaches before both of them, and no digits.
            point = (tail[:, 15 - digits] == ord(".")) & (end - begin > digits + 1)
            fraction += digits * point
    stop = end - fraction - (fraction > 0)
    length = stop - begin
    whole, right = numbers(view, stop, length)
    right &= (length == 1) | ((length > 1) & (first != ord("0")))
    right &= length <= precision - scale
    if scale:
        parts, fine = numbers(view, end, fraction)
        right &= fine & (fraction <= scale)
        values = whole * POWERS[scale] + parts * POWERS[np.clip(scale - fraction, 0, scale)]
    else:
        values = whole
    if minus is not None:
        values = np.where(minus, -values, values)
    return Cut(values, *_proved(view, start, end, right, quoted=slot.quoted))


def booleans(view: View, start: Ints, end: Ints, slot: Any) -> Cut:
    """``true`` and ``false``."""
    word = view.words(start, 1)[:, 0]
    length = end - start
    values = (length == 4) & ((word & FIRST[4]) == _TRUE)
    right = values | ((length == 5) & ((word & FIRST[5]) == _FALSE))
    return Cut(values, *_proved(view, start, end, right, quoted=slot.quoted))


def array_of(kind: Kind, values: Any, null: Bools | None) -> pa.Array[Any]:
    """Values as an array of the kind's type."""
    if kind.name == "decimal":
        both: Any = np.empty((len(values), 2), "<i8")
        both[:, 0] = values
        both[:, 1] = values >> 63
        valid: Any = None if null is None else np.packbits(~null, bitorder="little")
        buffers = [None if valid is None else pa.py_buffer(valid), pa.py_buffer(both)]
        return pa.Array.from_buffers(kind.type, len(values), buffers)
    if kind.name == "timestamp":
        return pa.array(values, pa.int64()).cast(kind.type)
    if kind.name == "date":
        return pa.array(values.astype(np.int32), pa.int32()).cast(kind.type)
    if kind.name == "integer":
        values = values.astype(kind.type.to_pandas_dtype())
    found: pa.Array[Any] = pa.array(values, kind.type, mask=null)
    return found
