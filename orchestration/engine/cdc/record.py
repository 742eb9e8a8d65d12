"""One record of changes, read exactly: its JSON with every digit, and the rows that it gives."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestration.engine.coercions import BadValue, Number, shown
from orchestration.engine.json_records import MAX_DEPTH, not_json

if TYPE_CHECKING:
    from orchestration.sources.cdc_format import ChangeFormat

__all__ = [
    "Change",
    "Image",
    "Shape",
    "dumped",
    "member",
    "moment",
    "number",
    "object_of",
    "parsed",
    "text_or_none",
    "word",
]

#: Values of a row by column, and columns that are not carried.
Image = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"\d{1,19}", re.ASCII)


@dataclass(slots=True)
class Change:
    """One row of the change format, its values not yet brought into the declared types.

    Attributes:
        op, sequence, time, transaction, table: As :mod:`orchestration.sources.cdc_format` says.
        image: Values as the record has them; a column that it lacks is null.
        unchanged: Columns whose value the record does not carry, in the schema's order.
        encodings: How the record's own schema says that a column is written.
    """

    op: str
    sequence: str
    time: datetime | None
    transaction: str | None
    table: str | None
    image: Image
    unchanged: list[str] = field(default_factory=list)
    encodings: dict[str, str] = field(default_factory=dict)


class Shape(ABC):
    """How the records of one tool are read.

    Args:
        changes: Options.
        columns: Declared columns.
    """

    def __init__(self, changes: ChangeFormat, columns: list[str]) -> None:
        self._changes = changes
        self._columns = columns

    @abstractmethod
    def read(self, record: Any) -> list[Change]:
        """The changes of a record; none where it is about something else.

        Raises:
            BadValue: It is no record of the tool's, or not one that can be put in order.
        """


def object_of(record: Any) -> dict[str, Any]:
    """A record that is an object.

    Raises:
        BadValue: It is something else.
    """
    if not isinstance(record, dict):
        raise BadValue(f"{shown(record)} stands where a JSON object belongs")
    return record


def parsed(text: str) -> Any:
    """The JSON value of a line, numbers digit for digit as they were written.

    Raises:
        BadValue: It is no JSON, an object has a key twice, or it is nested too deep.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_float=Number,
            parse_int=Number,
            parse_constant=not_json,
        )
    except json.JSONDecodeError as error:
        raise BadValue(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise BadValue(f"nested deeper than {MAX_DEPTH} levels") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
        raise BadValue(f"{shown(twice)} is given twice")
    return found


def dumped(value: Any) -> str:
    """A parsed value as JSON text, its numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(k, ensure_ascii=False)}:{dumped(v)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dumped(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def member(record: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A member that is an object; ``None`` where it is null or lacks.

    Raises:
        BadValue: It is something else.
    """
    value = record.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadValue(f"{shown(value)} is no object", name)
    return value


def number(record: dict[str, Any], name: str, *, where: str = "") -> int | None:
    """A member that is a whole number from 0 to 19 digits; ``None`` where it is null or lacks.

    Raises:
        BadValue: It is something else.
    """
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    raise BadValue(f"{shown(value)} is not a whole number", f"{where}{name}")


def text_or_none(record: dict[str, Any], name: str) -> str | None:
    """A member that is text or a number, as text; ``None`` where it is null, empty or lacks.

    Raises:
        BadValue: It is something else.
    """
    value = record.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return str(value)
    raise BadValue(f"{shown(value)} is no text", name)


def word(value: Any) -> str | None:
    """A value that is a text; ``None`` for anything else."""
    return value if type(value) is str else None


def moment(count: int | None, per_second: int) -> datetime | None:
    """The moment so many parts of a second after the epoch; nothing for 0.

    Raises:
        BadValue: It is none of the years 1 to 9999.
    """
    if not count:
        return None
    try:
        return _EPOCH + timedelta(microseconds=count * 1_000_000 // per_second)
    except OverflowError:
        raise BadValue(f"{count} is not a moment of the years 1 to 9999") from None
