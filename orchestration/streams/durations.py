"""Durations as users write them: ``"10 seconds"``, ``"1 hour 30 minutes"``."""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from fractions import Fraction

from orchestration.errors import DeclarationError

__all__ = ["parse_duration"]

_EXAMPLES = (
    'write e.g. "10 seconds", "5 minutes", "1 hour 30 minutes", "500 milliseconds", "1 week"'
)
_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
# "m" is not among them: half of the world reads months
_SHORT = {
    "us": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "sec": "second",
    "secs": "second",
    "min": "minute",
    "mins": "minute",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "d": "day",
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([^\W\d_]+)\s*", re.ASCII)


def parse_duration(text: object) -> timedelta:
    """The length of time a text names, exact to the microsecond.

    >>> parse_duration("1 hour 30 minutes")
    datetime.timedelta(seconds=5400)

    Args:
        text: Text of numbers with units from microseconds to weeks, in any order, added up. Days are
            24 hours and weeks 7 days. Months and years have no fixed length and are refused.

    Raises:
        DeclarationError: The text is not a duration.
    """
    if not isinstance(text, str) or not text.strip():
        raise DeclarationError(f"{text!r} is not a duration", remedy=_EXAMPLES)
    total, position = Fraction(0), 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise DeclarationError(
                f"{text!r} is not a duration: a number and a unit are expected at "
                f"{text[position:].strip()!r}",
                remedy=_EXAMPLES,
            )
        total += Fraction(part[1]) * _MICROSECONDS[_unit(part[2], text)]
        position = part.end()
    if total.denominator != 1:
        raise DeclarationError(f"{text!r} is finer than a microsecond", remedy=_EXAMPLES)
    try:
        return timedelta(microseconds=int(total))
    except OverflowError:
        raise DeclarationError(f"{text!r} is too long a duration", remedy=_EXAMPLES) from None


def _unit(word: str, text: str) -> str:
    unit = word.lower()
    unit = _SHORT.get(unit, unit.removesuffix("s") if len(unit) > 3 else unit)
    if unit in _MICROSECONDS:
        return unit
    if unit in {"month", "year", "mo", "mon", "y", "yr", "quarter"}:
        raise DeclarationError(
            f"{text!r}: a {word} has no fixed length", remedy='write days or weeks, e.g. "30 days"'
        )
    if unit == "m":
        raise DeclarationError(
            f'{text!r}: "m" may be minutes or months', remedy='write "minutes", e.g. "10 minutes"'
        )
    near = difflib.get_close_matches(unit, _MICROSECONDS, n=1)
    guess = f"; did you mean {near[0]}s?" if near else ""
    raise DeclarationError(f"{text!r}: {word!r} is not a unit of time{guess}", remedy=_EXAMPLES)
