"""Values of changed rows in the declared types: what loses nothing, everything else is refused.

To the rules of :mod:`.coercions` this adds what tools of change data write: moments and days as
integers, decimals and bytes as base64, booleans as 0 and 1, JSON inside a string, ``NaN``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.cdc.record import dumped
from orchestration.engine.coercions import BadValue, Number, scalar, shown
from orchestration.streams.schema import is_json

if TYPE_CHECKING:
    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["Values"]

#: Brings a value that is not null into its type, knowing how its record says it is written.
Convert = Callable[[Any, str | None], Any]

_WHOLE = re.compile(r"-?\d+", re.ASCII)
_DAY_ZERO = date(1970, 1, 1).toordinal()
_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)


class Values:
    """Brings images of rows into the declared types.

    Args:
        schema: The declared columns.
        changes: How the records write values.
        timezone: What times without a zone mean.
    """

    def __init__(self, schema: pa.Schema, changes: ChangeFormat, timezone: str | None) -> None:
        self._changes = changes
        self._timezone = timezone
        self._columns = {item.name: self._convert(item, item.name) for item in schema}

    def row(self, image: dict[str, Any], encodings: dict[str, str]) -> list[Any]:
        """The values of the columns in their order, as Arrow takes them.

        Raises:
            BadValue: Says which column and why.
        """
        found = []
        for name, convert in self._columns.items():
            value = image.get(name)
            if value is not None:
                try:
                    value = convert(value, encodings.get(name))
                except BadValue as error:
                    raise error.under(name) from None
            found.append(value)
        return found

    def _convert(self, field: pa.Field[Any], column: str) -> Convert:
        kind: Any = field.type
        if is_json(field):
            return self._json
        if pa.types.is_struct(kind):
            inner = {part.name: self._convert(part, column) for part in kind}
            return lambda value, _: _members(_an(dict, value, "STRUCT"), inner)
        if pa.types.is_map(kind):
            entry = self._convert(kind.item_field, column)
            return lambda value, _: [
                (key, None if item is None else entry(item, None))
                for key, item in _an(dict, value, "MAP").items()
            ]
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            item = self._convert(kind.value_field, column)
            return lambda value, _: _elements(_an(list, value, "LIST"), item)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return self._bytes
        plain = scalar(kind, timezone=self._timezone)
        if pa.types.is_timestamp(kind):
            return self._timestamp(plain, column)
        if pa.types.is_date(kind):
            return _date(plain)
        if pa.types.is_decimal(kind):
            return self._decimal(plain, kind.scale)
        if pa.types.is_boolean(kind):
            return _boolean
        if pa.types.is_floating(kind):
            return _floating(plain)
        if pa.types.is_integer(kind):
            return lambda value, how: plain(_unscaled(value, how))
        return _text(plain)

    # -- numbers --------------------------------------------------------------------------------

    def _decimal(self, plain: Callable[[Any], Any], scale: int) -> Convert:
        mode, shape = self._changes.decimals, self._changes.shape

        def convert(value: Any, how: str | None) -> Decimal:
            if how is not None and how.startswith("decimal"):
                return Decimal(plain(_unscaled(value, how)))
            if type(value) is str and how is None and shape == "debezium":
                if mode == "precise":
                    return Decimal(plain(_unscaled(value, f"decimal:{scale}")))
                if mode is None:
                    _surely_number(value)
            return Decimal(plain(value))

        return convert

    # -- moments --------------------------------------------------------------------------------

    def _timestamp(self, plain: Callable[[Any], Any], column: str) -> Convert:
        declared = self._changes.unit(column)
        zone = self._timezone

        def convert(value: Any, how: str | None) -> datetime:
            if isinstance(value, Number):
                unit = how if how in _PER_SECOND else declared
                if unit is None:
                    raise BadValue(
                        f"{shown(value)} is a number of unknown unit; declare timestamps='us' "
                        "(or 'ms', 'ns')"
                    )
                if zone is None:
                    raise BadValue(
                        f"{shown(value)} is a time without a zone; files(timezone='UTC') would "
                        "say what it means"
                    )
                return _normal(plain, _clock(value, unit))
            return _normal(plain, value)

        return convert

    # -- bytes and JSON ---------------------------------------------------------------------------

    def _bytes(self, value: Any, how: str | None) -> bytes:  # noqa: ARG002 - a Convert
        if not isinstance(value, str) or isinstance(value, Number):
            raise BadValue(f"{shown(value)} is not a BLOB")
        if self._changes.shape == "canal":
            try:
                return value.encode("latin-1")
            except UnicodeEncodeError:
                raise BadValue(f"{shown(value)} is not a BLOB in ISO 8859-1") from None
        if self._changes.binary == "hex":
            try:
                return bytes.fromhex(value)
            except ValueError:
                raise BadValue(f"{shown(value)} is not a BLOB in hex") from None
        return _decoded(value)

    def _json(self, value: Any, how: str | None) -> str:  # noqa: ARG002 - a Convert
        if type(value) is not str or self._changes.shape == "maxwell":
            return dumped(value)
        try:
            json.loads(value, parse_constant=_no_constant, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            raise BadValue(f"{shown(value)} is not valid JSON") from None
        return value


def _members(value: dict[str, Any], columns: dict[str, Convert]) -> dict[str, Any]:
    found = {}
    for name, convert in columns.items():
        given = value.get(name)
        try:
            found[name] = None if given is None else convert(given, None)
        except BadValue as error:
            raise error.under(name) from None
    return found


def _elements(values: list[Any], convert: Convert) -> list[Any]:
    found = []
    for place, value in enumerate(values):
        try:
            found.append(None if value is None else convert(value, None))
        except BadValue as error:
            raise error.under(f"[{place}]") from None
    return found


def _an(wanted: type, value: Any, name: str) -> Any:
    if isinstance(value, wanted):
        return value
    raise BadValue(f"{shown(value)} is not a {name}")


def _decoded(value: str) -> bytes:
    if not _BASE64.fullmatch(value):
        raise BadValue(f"{shown(value)} is not base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadValue(f"{shown(value)} is not base64") from None


def _unscaled(value: Any, how: str | None) -> Any:
    """A decimal as Kafka Connect writes it (base64 of the unscaled number) as a number's text."""
    if how is None or not how.startswith("decimal"):
        return value
    if isinstance(value, dict):  # VariableScaleDecimal
        scale, value = value.get("scale"), value.get("value")
        if not (isinstance(scale, Number) and _WHOLE.fullmatch(scale) and len(scale) < 6):
            raise BadValue("a decimal of variable scale lacks its scale")
    else:
        scale = how.partition(":")[2]
    if type(value) is not str or not value or not scale:
        raise BadValue(f"{shown(value)} is not a decimal in base64")
    unscaled = int.from_bytes(_decoded(value), "big", signed=True)
    if unscaled.bit_length() > 256:
        raise BadValue(f"a decimal of {unscaled.bit_length()} bits is out of every range")
    return Number(f"{unscaled}e{-int(scale)}")


def _surely_number(value: str) -> None:
    """Refuse a text that could be a number and could be base64 as well."""
    if "." in value or value.startswith("-"):
        return
    if len(value) % 4 == 0 or not _WHOLE.fullmatch(value):
        raise BadValue(
            f"{shown(value)} may be a number or base64; declare decimals='precise' or 'string'"
        )


def _clock(value: Number, unit: str) -> str:
    """A count since the epoch as date and time, without a zone."""
    if not _WHOLE.fullmatch(value) or len(value) > 20:
        raise BadValue(f"{shown(value)} is not a whole number of {unit}")
    micros, rest = divmod(int(value) * 1_000_000, _PER_SECOND[unit])
    if rest:
        raise BadValue(f"{shown(value)} has more digits than microseconds (TIMESTAMPTZ)")
    try:
        return (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat()  # noqa: DTZ001
    except OverflowError:
        raise BadValue(f"{shown(value)} is not a moment of the years 1 to 9999") from None


def _normal(plain: Callable[[Any], Any], value: Any) -> datetime:
    return datetime.fromisoformat(plain(value).removesuffix("Z")).replace(tzinfo=UTC)


def _date(plain: Callable[[Any], Any]) -> Convert:
    def convert(value: Any, how: str | None) -> date:  # noqa: ARG001 - a Convert
        if isinstance(value, Number):
            if not _WHOLE.fullmatch(value) or len(value) > 8:
                raise BadValue(f"{shown(value)} is not a number of days (DATE)")
            try:
                return date.fromordinal(_DAY_ZERO + int(value))
            except (ValueError, OverflowError):
                raise BadValue(f"{shown(value)} is not a day of the years 1 to 9999") from None
        if type(value) is str and value.endswith("Z"):  # IsoDate
            value = value[:-1]
        return date.fromisoformat(plain(value))

    return convert


def _boolean(value: Any, how: str | None) -> bool:  # noqa: ARG001 - a Convert
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"0", "1", "true", "false"}:
        return value in {"1", "true"}
    raise BadValue(f"{shown(value)} is not a BOOLEAN")


def _floating(plain: Callable[[Any], Any]) -> Convert:
    def convert(value: Any, how: str | None) -> float:
        if type(value) is str and value in _NOT_FINITE:
            return _NOT_FINITE[value]
        found: float = plain(_unscaled(value, how))
        return found

    return convert


def _text(plain: Callable[[Any], Any]) -> Convert:
    def convert(value: Any, how: str | None) -> Any:
        if how is not None and how.startswith("decimal"):
            return format(Decimal(_unscaled(value, how)), "f")
        if how is not None and how.startswith("time_") and isinstance(value, Number):
            return _time_of_day(value, how.removeprefix("time_"))
        return plain(value)

    return convert


def _time_of_day(value: Number, unit: str) -> str:
    if not _WHOLE.fullmatch(value) or len(value) > 18:
        raise BadValue(f"{shown(value)} is not a time of day")
    count = int(value)
    sign = "-" if count < 0 else ""  # MySQL's TIME is a length of time as well
    seconds, part = divmod(abs(count), _PER_SECOND[unit])
    digits = {"ms": 3, "us": 6, "ns": 9}[unit]
    fraction = f".{part:0{digits}d}".rstrip("0") if part else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def _no_constant(name: str) -> Any:
    raise ValueError(name)
