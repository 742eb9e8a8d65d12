"""The rows of the change log, and how their sequence is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["CHANGE_SCHEMA", "lsn_number", "lsn_text", "sequences", "slices"]

_FIELDS: list[Any] = [
    pa.field("_op", pa.string()),
    pa.field("_sequence", pa.string()),
    pa.field("_source_time", pa.timestamp("us", "UTC")),
    pa.field("_transaction", pa.string()),
    pa.field("_table", pa.string()),
    pa.field("_unchanged", pa.list_(pa.string())),
    pa.field("before", pa.string()),
    pa.field("after", pa.string()),
]

#: Columns of the change log: the change, then the row before and after it as JSON objects whose
#: values are PostgreSQL's own texts.
CHANGE_SCHEMA = pa.schema(_FIELDS)

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_LSN_DIGITS, _PLACE_DIGITS = 16, 10
_WIDTH = _LSN_DIGITS + 1 + _PLACE_DIGITS


def lsn_number(text: str) -> int:
    """A place in the log as one number.

    >>> lsn_number("1/A0")
    4294967456
    """
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(number: int) -> str:
    """A place in the log as PostgreSQL writes it.

    >>> lsn_text(4294967456)
    '1/A0'
    """
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def sequences(ends: Any, places: Any) -> Any:
    """Texts that sort like the changes: where the transaction ends, then the place in it.

    Args:
        ends: Ends of the transactions in the log, one a row, 64-bit integers.
        places: Places within them, from 0.
    """
    rows = len(ends)
    text = np.empty((rows, _WIDTH), np.uint8)
    ends = np.asarray(ends, np.uint64)
    for digit in range(_LSN_DIGITS):
        shift = np.uint64(4 * (_LSN_DIGITS - 1 - digit))
        text[:, digit] = _HEX[(ends >> shift) & np.uint64(15)]
    text[:, _LSN_DIGITS] = ord("/")
    left = np.asarray(places, np.int64)
    for digit in range(_WIDTH - 1, _LSN_DIGITS, -1):
        left, last = np.divmod(left, 10)
        text[:, digit] = last + ord("0")
    bounds = np.arange(0, (rows + 1) * _WIDTH, _WIDTH, dtype=np.int32)
    make: Any = pa.StringArray.from_buffers
    return make(rows, _buffer(bounds), _buffer(text))


def slices(buffer: Any, first: Any, last: Any, mask: Any) -> Any:
    """Texts that lie in a buffer, copied by Arrow in one go.

    An array over the buffer itself, in which every second value is what lies between two of them,
    of which then each second one is taken.

    Args:
        buffer: An Arrow buffer of less than 2 GiB.
        first: Where each begins, ascending.
        last: Where each ends, not after the next begins.
        mask: Which of them are null; ``None`` for none.
    """
    rows = len(first)
    bounds = np.empty(2 * rows + 1, np.int32)
    bounds[0:-1:2], bounds[1::2] = first, last
    bounds[-1] = last[-1] if rows else 0
    evens = np.arange(0, 2 * rows, 2, dtype=np.int32)
    make: Any = pa.StringArray.from_buffers
    return make(2 * rows, _buffer(bounds), buffer).take(pa.array(evens, mask=mask))


def _buffer(values: Any) -> Any:
    return pa.py_buffer(values)
