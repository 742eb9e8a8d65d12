"""Proof, at the speed of a regular expression, that DuckDB reads a line without a change.

DuckDB's JSON functions are fast and lenient: they round, cut, take the first of two equal keys
and turn what does not fit into null. A template is a regular expression learned from a few lines
that :mod:`.json_records` has read: the keys in their order, and for each column only such values
as ``json_transform`` is known to give back exactly. A line that it matches is safe in DuckDB's
hands; every other line takes the exact path. So a template decides about speed, never about
right and wrong, and a line is never read in two ways: what a template matches, the exact path
reads alike.

The expression runs over bytes; that they are UTF-8 is tested before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from orchestration.engine.json_transform import EXACT_DIGITS
from orchestration.streams.schema import is_json

__all__ = ["NUMBER_WORD_OR_NULL", "Template", "learn", "scalar_pattern"]

#: Longer expressions leave out rare ways to write a value, or outgrow RE2's memory. Such lines
#: take the exact path.
_LONG, _LONGEST = 12000, 24_000

_S = r"[ \t]*"
_HEX = "[0-9a-fA-F]"
_STRING = (
    r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]'
    rf"|u(?:[0-9a-cA-CeEfF]{_HEX}{{3}}|[dD](?:[0-7]{_HEX}{{2}}"
    rf'|[89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}))))*"'
)
_INTEGERS = {
    8: r"-?(?:0|[1-9]\d?|1[01]\d|12[0-7])",
    16: r"-?(?:0|[1-9]\d{0,3}|[12]\d{4})",
    32: r"-?(?:0|[1-9]\d{0,8}|1\d{9})",
    64: r"-?(?:0|[1-9]\d{0,17}|[1-8]\d{18})",
}
_EXPONENT = r"(?:[eE][+-]?\d\d?)?"
_DOUBLE = rf"(?:0|-?[1-9]\d{{0,14}}(?:\.\d+)?{_EXPONENT}|-?0\.\d+{_EXPONENT})"
_FLOAT = r"(?:0|-?[1-9]\d{0,6}|-?(?:0|[1-9]\d{0,6})\.\d+)"
# Every day of the calendar; of leap days only those of years that four divides and 100 does not.
_DAY = (
    r"(?:[1-8]\d{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)|[1-8]\d(?:0[48]|[2468][048]|[13579][26])-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:0\d|1[0-4]):?[0-5]\d)"
_ANY_NUMBER = r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?(?:[eE][+-]?\d\d?)?"
_ANY = rf"(?:{_STRING}|{_ANY_NUMBER}|true|false|null)"
#: Any value that is no string, array or object.
NUMBER_WORD_OR_NULL = f"(?:{_ANY_NUMBER}|true|false|null)"


@dataclass(frozen=True, slots=True)
class Template:
    """What a family of lines has in common.

    Attributes:
        line: Matches one line, with its end.
        lines: Matches one or more of them. Each call costs as much as a short line.
        shape: What it was made from, so that it can be widened.
    """

    line: str
    lines: str
    shape: _Shape


def learn(
    lines: list[str], schema: pa.Schema, *, rescue: bool, known: Template | None = None
) -> Template | None:
    """A template of the lines that are JSON objects; ``None`` where no good one exists.

    Args:
        lines: Some lines that the exact path could read.
        schema: Columns that stand in the data.
        rescue: Unknown fields must be kept, so lines with any do not match.
        known: Widened by the lines, where the order of their keys allows.
    """
    shape = known.shape if known else None
    for line in lines:
        try:
            value = json.loads(line, object_pairs_hook=_Ordered)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, _Ordered):
            continue
        seen = _Shape.of(value, list(schema), rescue=rescue)
        if seen is not None:
            merged = seen if shape is None else shape.merged(seen)
            shape = merged or shape
    if shape is None:
        return None
    inner = shape.pattern(list(schema), rare=True)
    if len(inner) > _LONG:
        inner = shape.pattern(list(schema), rare=False)
    if not inner or len(inner) > _LONGEST:
        return None
    line = rf"{_S}{inner}[ \t\r]*(?:\n|$)"
    return Template(f"^{line}$", f"^(?:{line})+$", shape)


class _Ordered(list[tuple[str, Any]]):
    """An object as its pairs, in order."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Keys of an object in their order, which of them are always there, and what they hold."""

    keys: tuple[str, ...]
    always: frozenset[str]
    inner: dict[str, _Shape]  # of columns that are objects
    depths: dict[str, int]  # of unknown fields: levels of nesting seen

    @classmethod
    def of(cls, pairs: _Ordered, fields: list[pa.Field[Any]], *, rescue: bool) -> _Shape | None:
        columns = {item.name: item for item in fields}
        lower = {item.name.lower() for item in fields}
        inner: dict[str, _Shape] = {}
        depths: dict[str, int] = {}
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            return None
        for key, value in pairs:
            field = columns.get(key)
            if field is None:
                depth = _depth(value)
                if rescue or key.lower() in lower or depth > 2:
                    return None
                depths[key] = depth
                continue
            for item in _structs(value, field.type):
                seen = cls.of(item[0], list(item[1]), rescue=rescue)
                merged = inner[key].merged(seen) if seen and key in inner else seen
                if merged is None:
                    return None
                inner[key] = merged
        return cls(tuple(keys), frozenset(keys), inner, depths)

    def merged(self, other: _Shape) -> _Shape | None:
        """Both in one; ``None`` where their keys come in another order, or none is in both."""
        always = self.always & other.always
        if not always and self.keys and other.keys:
            return None
        mine, theirs = set(self.keys), set(other.keys)
        if [k for k in self.keys if k in theirs] != [k for k in other.keys if k in mine]:
            return None
        keys = list(self.keys)
        at = 0
        for key in other.keys:
            if key in self.keys:
                at = keys.index(key) + 1
            else:
                keys.insert(at, key)
                at += 1
        inner = dict(self.inner)
        for key, shape in other.inner.items():
            both = inner[key].merged(shape) if key in inner else shape
            if both is None:
                return None
            inner[key] = both
        depths = {
            key: max(self.depths.get(key, 0), other.depths.get(key, 0))
            for key in self.depths | other.depths
        }
        return _Shape(tuple(keys), always, inner, depths)

    def pattern(self, fields: list[pa.Field[Any]], *, rare: bool) -> str:
        """An expression for the object; empty where none of its keys is always there.

        Args:
            fields: Its columns.
            rare: Numbers in strings too, and whole numbers written with a point.
        """
        columns = {item.name: item for item in fields}
        pivot = next((key for key in self.keys if key in self.always), None)
        if pivot is None:
            return "" if self.keys else rf"\{{{_S}\}}"
        parts = []
        before = True
        for key in self.keys:
            value = (
                _value(columns[key], self.inner.get(key), rare=rare)
                if key in columns
                else _anything(self.depths[key])
            )
            member = rf'"{_literal(json.dumps(key, ensure_ascii=False)[1:-1])}"{_S}:{_S}{value}{_S}'
            if key == pivot:
                parts.append(member)
                before = False
                continue
            member = rf"{member},{_S}" if before else rf",{_S}{member}"
            parts.append(member if key in self.always else f"(?:{member})?")
        return rf"\{{{_S}{''.join(parts)}\}}"


def _structs(value: Any, kind: Any) -> list[tuple[_Ordered, Any]]:
    """The objects that a struct column, or a list of structs, holds here."""
    if isinstance(value, _Ordered):
        return [(value, kind)] if pa.types.is_struct(kind) else []
    if isinstance(value, list) and pa.types.is_list(kind):
        return [found for item in value for found in _structs(item, kind.value_type)]
    return []


def _depth(value: Any) -> int:
    if isinstance(value, _Ordered):
        return 1 + max((_depth(item) for _, item in value), default=0)
    return 1 + max((_depth(item) for item in value), default=0) if isinstance(value, list) else 0


def _anything(depth: int) -> str:
    """Any JSON value of so many levels at most."""
    if depth == 0:
        return _ANY
    item = _anything(depth - 1)
    member = rf"{_STRING}{_S}:{_S}{item}"
    return (
        rf"(?:{_ANY}|\[{_S}(?:{item}{_S}(?:,{_S}{item}{_S})*)?\]"
        rf"|\{{{_S}(?:{member}{_S}(?:,{_S}{member}{_S})*)?\}})"
    )


def _value(field: pa.Field[Any], shape: _Shape | None, *, rare: bool) -> str:
    """An expression for the values of a column that DuckDB gives back exactly, or null."""
    kind: Any = field.type
    if is_json(field) or pa.types.is_map(kind):
        return "null"
    if pa.types.is_struct(kind):
        inner = shape.pattern(list(kind), rare=rare) if shape else ""
        return f"(?:{inner}|null)" if inner else "null"
    if pa.types.is_list(kind):
        item = _value(kind.value_field, shape, rare=rare)
        return rf"(?:\[{_S}(?:{item}{_S}(?:,{_S}{item}{_S})*)?\]|null)"
    return f"(?:{_scalar(kind, rare=rare)}|null)"


def scalar_pattern(kind: Any) -> str:
    """An expression for texts of numbers that DuckDB casts to ``kind`` exactly."""
    if pa.types.is_decimal(kind):
        return _digits(kind.precision - kind.scale, kind.scale)
    return _FLOAT if pa.types.is_float32(kind) else _DOUBLE


def _scalar(kind: Any, *, rare: bool) -> str:
    if pa.types.is_integer(kind):
        number = _INTEGERS[kind.bit_width]
        if not rare:
            return number
        return rf'{number}|"{number}"|-?(?:0|[1-9]\d{{0,{min(14, kind.bit_width // 4 - 1)}}})\.0'
    if pa.types.is_decimal(kind):
        return _decimal(kind.precision, kind.scale, rare=rare)
    if pa.types.is_float32(kind):
        return _FLOAT
    if pa.types.is_floating(kind):
        return _DOUBLE
    if pa.types.is_boolean(kind):
        return "true|false"
    if pa.types.is_date(kind):
        return f'"{_DAY}"'
    if pa.types.is_timestamp(kind):
        return f'"{_DAY}[T ]{_TIME}"'
    return _STRING


def _decimal(precision: int, scale: int, *, rare: bool) -> str:
    whole = precision - scale
    text = [rf'"{_digits(whole, scale)}"'] if rare or precision > EXACT_DIGITS else []
    if precision <= EXACT_DIGITS:
        return "|".join([_digits(whole, scale), *text])
    # Wide ones come through the shortest text of a double, which fifteen digits survive; a
    # number below 1e-5 would come in a form that DECIMAL(38,38) does not take.
    splits = {min(scale, part) for part in (0, 2, 4, 6)} if whole else set()
    numbers = [_digits(min(whole, EXACT_DIGITS - part), part) for part in sorted(splits)]
    return "|".join([*numbers, *text])


def _digits(whole: int, scale: int) -> str:
    left = rf"(?:0|[1-9]\d{{0,{whole - 1}}})" if whole else "0"
    return rf"-?{left}(?:\.\d{{1,{scale}}})?" if scale else f"-?{left}"


def _literal(text: str) -> str:
    """Text as an expression that matches its UTF-8 bytes."""
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte == 95 else rf"\x{{{byte:02x}}}"
        for byte in text.encode()
    )
