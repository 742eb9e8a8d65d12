"""One line of JSON, read exactly: the normal form of a record, or the reason why it is bad.

This is the path of the lines that no template proves (:mod:`.json_template`); it decides what
is right, the template only what is surely right. The normal form is again a line of JSON, of
the types that :func:`.json_transform.transform_spec` names: decimals are strings there, JSON
columns are strings holding the raw text, and a map is a list of its entries.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

import pyarrow as pa

from orchestration.engine.coercions import BadValue, Number, scalar, shown
from orchestration.errors import SchemaError
from orchestration.streams.schema import is_json

__all__ = ["MAX_DEPTH", "JsonRecords", "not_json"]

#: Levels of arrays and objects in one record. Bounds every recursion over it.
MAX_DEPTH = 200

_SPACE = re.compile(r"[ \t\r\n]*")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class _Pairs(dict[str, Any]):
    """A JSON object that remembers which keys came twice."""

    twice: set[str]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked = _Pairs(found)
    counts = Counter(key for key, _ in pairs)
    marked.twice = {key for key, count in counts.items() if count > 1}
    return marked


def not_json(name: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``, which Python's decoder would take."""
    raise BadValue(f"not valid JSON: {name} is no JSON value")


Reader = Callable[[str, int], tuple[Any, int]]
Shape = Callable[[Any], Any]


class JsonRecords:
    """Reads lines of one schema.

    Args:
        schema: Columns that stand in the data.
        timezone: Meaning of timestamps without a zone.
        rescue: Keep unknown fields as JSON text in ``_rescued``.

    Raises:
        SchemaError: A column has a type that JSON cannot carry.
    """

    def __init__(self, schema: pa.Schema, *, timezone: str | None, rescue: bool) -> None:
        decoder: Any = json.JSONDecoder(
            object_pairs_hook=_pairs,
            parse_float=Number,
            parse_int=Number,
            parse_constant=not_json,
        )
        self._scan = decoder.scan_once
        self._rescue = rescue
        fields = list(schema)
        self._columns = {item.name: self._shape(item, timezone, item.name) for item in fields}
        #: Whether raw text is needed, so that positions must be known.
        self._raw = rescue or any(_holds_json(item) for item in fields)
        self._fields = {item.name: item for item in fields}

    def normal(self, line: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The record in normal form, and its unknown fields as raw JSON texts.

        Raises:
            BadValue: Says what is wrong, with the column where it is one.
        """
        if line.count("[") + line.count("{") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
            raise BadValue(f"nested deeper than {MAX_DEPTH} levels")
        rescued: dict[str, Any] = {}
        value: Any
        try:
            start = _SPACE.match(line).end()  # type: ignore[union-attr]
            if self._raw and line[start : start + 1] == "{":
                value, end = self._object(line, start, self._fields, rescued)
            else:
                value, end = self._scan(line, start)
            end = _SPACE.match(line, end).end()  # type: ignore[union-attr]
        except json.JSONDecodeError as error:
            raise BadValue(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
        except StopIteration as error:
            at = int(error.value) + 1
            raise BadValue(f"not valid JSON: a value is missing at character {at}") from None
        except RecursionError:
            raise BadValue(f"nested deeper than {MAX_DEPTH} levels") from None
        if end != len(line):
            raise BadValue(f"not valid JSON: more text after the record, at character {end + 1}")
        if not isinstance(value, dict):
            what = shown(value) if value is not None else "null"
            raise BadValue(f"{what} stands where a JSON object belongs")
        return _members(value, self._columns), rescued

    def line(self, line: str) -> bytes:
        """The record in normal form as a line of JSON.

        Raises:
            BadValue: As :meth:`normal`.
        """
        record, rescued = self.normal(line)
        if rescued:
            record["_rescued"] = _raw_object(rescued)
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()

    # -- values ---------------------------------------------------------------------------------

    def _shape(self, field: pa.Field[Any], timezone: str | None, place: str) -> Shape:
        kind: Any = field.type
        if is_json(field):
            return _raw_text
        if pa.types.is_struct(kind):
            inner = {
                part.name: self._shape(part, timezone, f"{place}.{part.name}") for part in kind
            }
            return lambda value: _members(_an(dict, value, "STRUCT"), inner)
        if pa.types.is_map(kind):
            convert = self._shape(kind.item_field, timezone, place)
            return lambda value: _entries(_an(dict, value, "MAP"), convert)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            convert = self._shape(kind.value_field, timezone, place)
            return lambda value: _elements(_an(list, value, "LIST"), convert)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise SchemaError(
                f'column "{place}": JSON has no bytes, so a BLOB cannot be read from it',
                remedy='declare it VARCHAR and decode it: select(x="from_base64(x)")',
            )
        return scalar(kind, timezone=timezone)

    # -- the same with positions, for raw text -----------------------------------------------------

    def _object(
        self,
        text: str,
        start: int,
        fields: dict[str, pa.Field[Any]],
        rescued: dict[str, Any] | None,
    ) -> tuple[dict[str, Any], int]:
        found: list[tuple[str, Any]] = []
        at = _SPACE.match(text, start + 1).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "}":
            return {}, at + 1
        while True:
            if text[at : at + 1] != '"':
                raise json.JSONDecodeError("a key in double quotes is missing", text, at)
            key, at = scanstring(text, at + 1, True)
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            if text[at : at + 1] != ":":
                raise json.JSONDecodeError("':' is missing", text, at)
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
            begin = at
            field = fields.get(key)
            if field is None:
                _, at = self._scan(text, at)
                if rescued is not None:
                    rescued.setdefault(key, []).append(text[begin:at])
            else:
                deeper: dict[str, Any] = {}
                value, at = self._value(text, at, field, deeper if rescued is not None else None)
                if deeper and rescued is not None:
                    rescued.setdefault(key, []).append(_raw_object(deeper))
                found.append((key, value))
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            mark = text[at : at + 1]
            if mark == "}":
                return _pairs(found), at + 1
            if mark != ",":
                raise json.JSONDecodeError("',' or '}' is missing", text, at)
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]

    def _value(
        self, text: str, at: int, field: pa.Field[Any], rescued: dict[str, Any] | None
    ) -> tuple[Any, int]:
        kind: Any = field.type
        mark = text[at : at + 1]
        if is_json(field):
            value, end = self._scan(text, at)
            return (None if value is None else _Raw(text[at:end])), end
        if mark == "{" and pa.types.is_struct(kind) and (rescued is not None or _holds_json(field)):
            return self._object(text, at, {part.name: part for part in kind}, rescued)
        if mark == "{" and pa.types.is_map(kind) and _holds_json(field):
            return self._object(text, at, _Any(kind.item_field), None)
        if mark == "[" and pa.types.is_list(kind) and _holds_json(field):
            return self._array(text, at, kind.value_field)
        value, end = self._scan(text, at)
        return value, int(end)

    def _array(self, text: str, start: int, field: pa.Field[Any]) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = _SPACE.match(text, start + 1).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self._value(text, at, field, None)
            found.append(value)
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            mark = text[at : at + 1]
            if mark == "]":
                return found, at + 1
            if mark != ",":
                raise json.JSONDecodeError("',' or ']' is missing", text, at)
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]


class _Raw(str):
    """Raw JSON text of a value."""

    __slots__ = ()


class _Any(dict[str, Any]):
    """Fields of an object whose every key has the same type."""

    def __init__(self, field: pa.Field[Any]) -> None:
        super().__init__()
        self._field = field

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002 - a dict's signature
        return self._field


def _holds_json(field: pa.Field[Any]) -> bool:
    kind: Any = field.type
    if is_json(field):
        return True
    if pa.types.is_struct(kind):
        return any(_holds_json(part) for part in kind)
    if pa.types.is_map(kind):
        return _holds_json(kind.item_field)
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _holds_json(
        kind.value_field
    )


def _an(wanted: type, value: Any, name: str) -> Any:
    if isinstance(value, wanted):
        return value
    raise BadValue(f"{shown(value)} is not a {name}")


def _raw_text(value: Any) -> str:
    return str(value)


def _members(value: dict[str, Any], columns: dict[str, Shape]) -> dict[str, Any]:
    twice = getattr(value, "twice", None)
    found: dict[str, Any] = {}
    for name, convert in columns.items():
        given = value.get(name)
        if twice and name in twice:
            raise BadValue("given twice", name)
        if given is None:
            continue
        try:
            found[name] = convert(given)
        except BadValue as error:
            raise error.under(name) from None
    return found


def _elements(values: list[Any], convert: Shape) -> list[Any]:
    found = []
    for number, value in enumerate(values):
        try:
            found.append(None if value is None else convert(value))
        except BadValue as error:
            raise error.under(f"[{number}]") from None
    return found


def _entries(value: dict[str, Any], convert: Shape) -> list[dict[str, Any]]:
    twice = getattr(value, "twice", None)
    if twice:
        raise BadValue(f"{shown(min(twice))} is given twice")
    found = []
    for key, item in value.items():
        try:
            entry = {"k": scalar(pa.string())(key), "v": None if item is None else convert(item)}
        except BadValue as error:
            raise error.under(f"[{shown(key)}]") from None
        found.append(entry)
    return found


def _raw_object(members: dict[str, Any]) -> str:
    texts = (
        f"{json.dumps(key, ensure_ascii=True)}:{text}"
        for key, values in members.items()
        for text in values
    )
    return "{" + ",".join(texts) + "}"


def _depth(line: str) -> int:
    """Greatest number of open brackets at once, outside of strings."""
    depth = deepest = 0
    for mark in _STRINGS.sub("", line):
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest
