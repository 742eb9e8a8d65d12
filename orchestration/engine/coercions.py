"""Which values fit which column: what loses nothing is taken, everything else is a bad record.

========================  ==============================================  ======================
column                    taken                                           not taken
========================  ==============================================  ======================
BIGINT, INTEGER, …        ``7``, ``"7"``, ``5.0``, ``1e3``                ``5.7``, ``true``, what
                                                                          the type cannot hold
DECIMAL(p, s)             integers and decimals, numbers in strings;      excess digits, even one
                          zeros at the end do not count (``1.500``)
DOUBLE, FLOAT             any number that gives a finite value (the       ``1e400``; an integer
                          nearest one); numbers in strings                that it cannot hold
                                                                          exactly
VARCHAR                   strings                                         numbers, ``true``, half
                                                                          of a surrogate pair
BOOLEAN                   ``true``, ``false`` (CSV: in any capitals)      ``1``, ``"true"``
DATE                      ``"2026-01-31"``                                any other way to write it
TIMESTAMPTZ               ISO 8601 with ``Z`` or an offset, years         numbers; non-zero digits
                          1 to 9999 in UTC; without a zone only where     after the microseconds;
                          the source names its ``timezone``               hours that the zone skips
                                                                          or has twice
STRUCT, T[], MAP          objects, arrays, objects; the same rules        a key given twice
                          inside
JSON                      anything, kept as it was written                ``NaN``
========================  ==============================================  ======================

``null`` and an absent field are null. ``-0`` is 0 as an integer and -0.0 as a DOUBLE. A record
nested deeper than 200 levels is a bad record.

The functions here take one value and return its normal form: what ``json.dumps`` writes and
DuckDB's ``json_transform`` reads back without a change.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from orchestration.streams.schema import duckdb_type

__all__ = ["BadValue", "Number", "Scalar", "scalar", "shown"]

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r" ?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
_SHOWN = 80  # characters of a value in a reason; the raw record stands beside it


class BadValue(ValueError):
    """A value does not fit its column.

    Args:
        reason: What was found and what was expected.
        path: The column, and the place inside it: ``device.os``, ``tags[2]``.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    def under(self, name: str) -> BadValue:
        """The same, seen from the column or field ``name`` that holds it."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        return BadValue(self.reason, f"{name}{dot}{self.path}")


class Number(str):
    """A JSON number, digit for digit as it was written."""

    __slots__ = ()


Scalar = Callable[[Any], Any]


def scalar(kind: pa.DataType, *, timezone: str | None = None, text: bool = False) -> Scalar:
    """The function that brings one value into the normal form of ``kind``.

    Args:
        kind: Not nested.
        timezone: Meaning of timestamps that name no zone.
        text: Values are the texts of a CSV file: booleans are words there.
    """
    name = duckdb_type(kind)
    if pa.types.is_integer(kind):
        return _integer(name, kind.bit_width)
    if pa.types.is_decimal(kind):
        return _decimal(name, kind.precision, kind.scale)
    if pa.types.is_float32(kind):
        return _floating(name, _to_float32)
    if pa.types.is_floating(kind):
        return _floating(name, float)
    if pa.types.is_boolean(kind):
        return _boolean_word if text else _boolean
    if pa.types.is_date(kind):
        return _date
    if pa.types.is_timestamp(kind):
        return _timestamp(ZoneInfo(timezone) if timezone else None)
    return _string


def shown(value: Any) -> str:
    """A value as a reason names it, shortened."""
    if isinstance(value, Number):
        text = str(value)
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, dict):
        text = "an object"
    elif isinstance(value, list):
        text = "an array"
    else:
        text = str(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return text.encode("utf-8", "replace").decode()


def _an(name: str) -> str:
    """``an INTEGER``, ``a BIGINT``."""
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def _text_of_number(value: Any, name: str) -> str:
    if type(value) is Number or (type(value) is str and _NUMBER.fullmatch(value)):
        return str(value)
    raise BadValue(f"{shown(value)} is not {_an(name)}")


def _integer(name: str, bits: int) -> Scalar:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def convert(value: Any) -> int:
        text = _text_of_number(value, name)
        if len(text) <= 20 and _INTEGER.fullmatch(text):
            number = int(text)
        else:
            number = _whole(text, value, name)
        if not lowest <= number <= highest:
            raise BadValue(f"{shown(value)} is out of the range of {name}")
        return number

    return convert


def _whole(text: str, value: Any, name: str) -> int:
    """The integer that a number with point or exponent is; exact at any length."""
    sign, digits, exponent = _parts(text)
    if not digits:
        return 0
    if exponent < 0:
        raise BadValue(f"{shown(value)} is not {_an(name)}")
    if len(digits) + exponent > 20:
        raise BadValue(f"{shown(value)} is out of the range of {name}")
    return int(sign + digits + "0" * exponent)


def _parts(text: str) -> tuple[str, str, int]:
    """Sign, digits without zeros at either end, and the power of ten they are multiplied by."""
    mantissa, _, power = text.replace("E", "e").partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    digits = (whole + fraction).lstrip("0")
    stripped = digits.rstrip("0")
    if len(power) > 10:  # beyond every type; int() refuses texts of thousands of digits
        power = "-999999999" if power.startswith("-") else "999999999"
    exponent = int(power or 0) - len(fraction) + len(digits) - len(stripped)
    return sign, stripped, exponent


def _decimal(name: str, precision: int, scale: int) -> Scalar:
    def convert(value: Any) -> str:
        text = _text_of_number(value, name)
        sign, digits, exponent = _parts(text)
        if not digits:
            return "0"
        if -exponent > scale:
            raise BadValue(f"{shown(value)} has more than {scale} digits after the point ({name})")
        if len(digits) + exponent > precision - scale:
            raise BadValue(f"{shown(value)} is out of the range of {name}")
        return format(Decimal(f"{sign}{digits}e{exponent}"), "f")

    return convert


def _to_float32(number: Any) -> float:
    try:
        found: float = struct.unpack("f", struct.pack("f", float(number)))[0]
    except OverflowError:
        return float("inf")
    return found


def _floating(name: str, nearest: Callable[[Any], float]) -> Scalar:
    def convert(value: Any) -> float:
        text = _text_of_number(value, name)
        number = nearest(text)
        if number in {float("inf"), float("-inf")}:
            raise BadValue(f"{shown(value)} is out of the range of {name}")
        if _INTEGER.fullmatch(text) and len(text) > 6:
            sign, digits, exponent = _parts(text)  # at most 309 digits, as it is finite
            if digits and int(number) != int(sign + digits + "0" * exponent):
                raise BadValue(f"{shown(value)} cannot be held exactly by {name}")
        return number

    return convert


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise BadValue(f"{shown(value)} is not a BOOLEAN")


def _boolean_word(value: Any) -> bool:
    word = str(value).lower()
    if word in {"true", "false"}:
        return word == "true"
    raise BadValue(f"{shown(value)} is not a BOOLEAN")


def _string(value: Any) -> str:
    if type(value) is not str:
        raise BadValue(f"{shown(value)} is not a VARCHAR")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadValue(f"{shown(value)} holds half of a surrogate pair") from None
    return value


def _date(value: Any) -> str:
    if type(value) is str and _DATE.fullmatch(value):
        try:
            date.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    raise BadValue(f"{shown(value)} is not a DATE (2026-01-31)")


def _timestamp(zone: ZoneInfo | None) -> Scalar:
    def convert(value: Any) -> str:
        found = _TIMESTAMP.fullmatch(value) if type(value) is str else None
        if found is None:
            raise BadValue(f"{shown(value)} is not a TIMESTAMPTZ (2026-01-31T12:00:00Z)")
        day, minute, second, fraction, utc, sign, hours, minutes = found.groups()
        if fraction and fraction[6:].strip("0"):
            raise BadValue(f"{shown(value)} has more digits than microseconds (TIMESTAMPTZ)")
        try:
            # A space or T, and the digits of the fraction, are all that fromisoformat differs in.
            moment = datetime.fromisoformat(f"{day}T{minute}:{second or '00'}")
            moment = moment.replace(microsecond=int((fraction or "0")[:6].ljust(6, "0")))
            if utc:
                moment = moment.replace(tzinfo=UTC)
            elif sign:
                moment = moment.replace(tzinfo=UTC) - _offset(sign, hours, minutes)
            elif zone is None:
                raise BadValue(f"{shown(value)} names no time zone (TIMESTAMPTZ)")
            else:
                moment = _localised(moment, zone, value)
        except BadValue:
            raise
        except (ValueError, OverflowError):
            raise BadValue(f"{shown(value)} is not a moment of the years 1 to 9999") from None
        return moment.replace(tzinfo=None).isoformat() + "Z"

    return convert


def _offset(sign: str, hours: str, minutes: str | None) -> timedelta:
    if int(hours) > 23 or int(minutes or 0) > 59:
        raise ValueError(hours)
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return offset if sign == "+" else -offset


def _localised(moment: datetime, zone: ZoneInfo, value: Any) -> datetime:
    early = moment.replace(tzinfo=zone, fold=0)
    if early.utcoffset() != moment.replace(tzinfo=zone, fold=1).utcoffset():
        raise BadValue(f"{shown(value)} comes twice or never in {zone.key}, where the clock is set")
    return early.astimezone(UTC)
