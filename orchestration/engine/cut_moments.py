"""Days and moments cut out of bytes, many rows at a time; as :mod:`.cut_values`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.engine.cut_values import FIRST, HIGH, POWERS, Cut, little, numbers

if TYPE_CHECKING:
    from orchestration.engine.cut_values import Bools, Ints, View

__all__ = ["dates", "timestamps"]

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# By month, and again from 128 on for leap years; a month that does not exist has no day.
_MONTH_DAYS, _DAYS_BEFORE_MONTH = np.zeros((2, 256), np.int64)
for _leap in (0, 1):
    for _month, _length in enumerate(_LENGTHS, 1):
        _at = 128 * _leap + _month
        _MONTH_DAYS[_at] = _length + (_leap and _month == 2)
        _DAYS_BEFORE_MONTH[_at] = sum(_LENGTHS[: _month - 1]) + (_leap and _month > 2)
_YEARS = np.arange(10_000)
_IS_LEAP = ((_YEARS % 4 == 0) & ((_YEARS % 100 != 0) | (_YEARS % 400 == 0))).astype(np.int64)
_DAYS_BEFORE_YEAR = (
    365 * (_YEARS - 1970)
    + (_YEARS - 1) // 4
    - (_YEARS - 1) // 100
    + (_YEARS - 1) // 400
    - (1969 // 4 - 1969 // 100 + 1969 // 400)
)


def _pairs(word: Any, shape: bytes) -> tuple[Any, Any]:
    """Two digits as a number at each place, and what is not of the shape (``0`` is a digit)."""
    word = word ^ little(shape)
    over = int.from_bytes(
        bytes(0x7F - 9 * (mark == ord("0")) for mark in shape.ljust(8, b"\0")), "little"
    )
    wrong = (word | (word + np.uint64(over))) & HIGH
    return word * np.uint64(10) + (word >> np.uint64(8)), wrong


def _byte(word: Any, place: int) -> Ints:
    found: Ints = ((word >> np.uint64(8 * place)) & np.uint64(0xFF)).astype(np.int64)
    return found


def _days(words: Any, rest: bytes) -> tuple[Ints, Bools, Any]:
    """Days since 1970 of texts that start with one, which are right, and the second word."""
    first, wrong = _pairs(words[:, 0], b"0000-00-")
    second, wrong2 = _pairs(words[:, 1] & FIRST[2 + len(rest)], b"00" + rest)
    right = (wrong | wrong2) == 0
    # What is wrong may be any number; it must still be one that the tables have.
    year = np.minimum(_byte(first, 0) * 100 + _byte(first, 2), 9999)
    month = np.minimum(_byte(first, 5), 127) + 128 * _IS_LEAP[year]
    day = _byte(second, 0)
    right &= (year >= 1000) & (year <= 8999) & (day >= 1) & (day <= _MONTH_DAYS[month])
    return _DAYS_BEFORE_YEAR[year] + _DAYS_BEFORE_MONTH[month] + day - 1, right, second


def dates(view: View, start: Ints, end: Ints, slot: Any) -> Cut:  # noqa: ARG001 - one shape for all
    """``2026-01-31``, as days since 1970."""
    days, right, _ = _days(view.words(start, 2), b"")
    return Cut(days, right & (end - start == 10), None)


def timestamps(view: View, start: Ints, end: Ints, slot: Any) -> Cut:
    """``2026-01-31T12:00:00.123``, without its zone, as microseconds since 1970 in UTC."""
    words = view.words(start, 3)
    days, right, clock = _days(words, bytes([slot.mark]) + b"00:00")
    hour, minute = _byte(clock, 3), _byte(clock, 6)
    seconds, wrong = _pairs(words[:, 2] & FIRST[3], b":00")
    second = _byte(seconds, 1)
    right &= (wrong == 0) & (hour <= 23) & (minute <= 59) & (second <= 59)
    values = ((days * 24 + hour) * 60 + minute - slot.offset) * 60_000_000 + second * 1_000_000
    length = end - start
    digits = length - 20
    if (digits >= 0).any():
        digits = np.clip(digits, 0, 7)
        micros, fine = numbers(view, end, digits)
        values += micros * POWERS[np.clip(6 - digits, 0, 6)]
        dot = _byte(words[:, 2], 3) == ord(".")
        right &= fine & ((length == 19) | (dot & (digits >= 1) & (length <= 26)))
    return Cut(values, right & (length >= 19), None)
