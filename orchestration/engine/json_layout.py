"""The layout of a line: the bytes that every line of its kind has, and the places of its values.

Machines write records of one kind alike: the same keys in the same order with the same blanks.
A layout is learned from one such line. A line fits it where all its bytes outside of the values
are those of the layout; what stands at the values is then known without parsing
(:mod:`.json_cut`). Like a template (:mod:`.json_template`), a layout decides about speed, never
about right and wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.cut_values import UNWANTED, Kind, cut_type, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MOST_BYTES", "Layout", "Slot", "learn_layout"]

_BLANKS = re.compile(rb"[ ]*")
# No escapes and no control characters, so that a quote can only be an end of a string.
_TEXT = re.compile(rb'"([^"\\\x00-\x1f]*)"')
_BARE = re.compile(rb"[-+.0-9A-Za-z]+")
_MOMENT = re.compile(rb"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.\d+)?(Z|([+-])(\d\d):(\d\d))")
_NUMBER = re.compile(rb"-?[0-9][-+.0-9eE]*")
#: Bytes of a layout outside of its values. Longer ones would be mostly padding when compared.
MOST_BYTES = 4096
_MOST_SLOTS = 200


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value.

    Attributes:
        path: Column and members down to it; empty for a value that is not wanted.
        kind: How it is read.
        quoted: It stands in quotes; only one that does not may be ``null``.
        offset: Minutes that a timestamp is ahead of UTC.
        mark: What stands between date and time of a timestamp.
    """

    path: tuple[str, ...]
    kind: Kind
    quoted: bool
    offset: int = 0
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What lines of one kind have in common.

    Attributes:
        literals: The bytes before, between and after the values; one more than there are slots.
            Quotes around values belong to them, as does the zone of a timestamp.
        slots: The values, in order.
        present: Columns and members that are objects here, so that they are not null even where
            all of their members are.
    """

    literals: tuple[bytes, ...]
    slots: tuple[Slot, ...]
    present: frozenset[tuple[str, ...]]

    @property
    def quotes(self) -> int:
        """How many quotes a line has."""
        return sum(literal.count(b'"') for literal in self.literals)


class _Unlike(Exception):
    """The line has something that no layout can have."""


def learn_layout(line: bytes, schema: pa.Schema, *, rescue: bool) -> Layout | None:
    """The layout of a line that the exact path could read, ``None`` where it can have none.

    Args:
        line: Without its newline.
        schema: Columns that stand in the data.
        rescue: Unknown fields must be kept, so a line with any has no layout.
    """
    scanner = _Scanner(line, rescue=rescue)
    try:
        scanner.members(_fields(schema), ())
        end = line[scanner.at :]
        if end not in {b"", b"\r"}:
            return None
    except _Unlike:
        return None
    literals = (*scanner.literals, line[scanner.since :])
    if sum(map(len, literals)) > MOST_BYTES or not 0 < len(scanner.slots) <= _MOST_SLOTS:
        return None
    # Every value is found by the quotes around it: of its own, or of the keys beside it.
    if not all(b'"' in literal for literal in literals[:-1]):
        return None
    return Layout(literals, tuple(scanner.slots), frozenset(scanner.present))


def _fields(parts: Any) -> dict[str, pa.Field[Any]]:
    return {item.name: item for item in parts}


class _Scanner:
    def __init__(self, line: bytes, *, rescue: bool) -> None:
        self._line = line
        self._rescue = rescue
        self.at = 0
        self.since = 0  # where the literal in hand began
        self.literals: list[bytes] = []
        self.slots: list[Slot] = []
        self.present: set[tuple[str, ...]] = set()

    def members(self, fields: Mapping[str, pa.Field[Any]], path: tuple[str, ...]) -> None:
        """Go over an object."""
        self._take(b"{")
        seen: set[bytes] = set()
        while True:
            self._blanks()
            found = self._match(_TEXT)
            raw = found[1]
            if raw in seen:
                raise _Unlike
            seen.add(raw)
            self._blanks()
            self._take(b":")
            self._blanks()
            try:
                field = fields.get(raw.decode())
            except UnicodeDecodeError:
                raise _Unlike from None
            if field is not None:
                self._value(field, (*path, field.name))
            elif self._rescue:
                raise _Unlike
            else:
                self._unwanted()
            self._blanks()
            if self._line[self.at : self.at + 1] == b",":
                self.at += 1
                continue
            self._take(b"}")
            return

    def _value(self, field: pa.Field[Any], path: tuple[str, ...]) -> None:
        mark = self._line[self.at : self.at + 1]
        if mark == b"{" and pa.types.is_struct(field.type):
            if cut_type(field) is None:
                raise _Unlike  # nothing would tell it from null
            self.present.add(path)
            self.members(_fields(field.type), path)
            return
        kind = kind_of(field)
        bare = _BARE.match(self._line, self.at)
        if bare is not None and bare[0] == b"null" and not (kind and kind.bare):
            self.at = bare.end()  # a part of the literal: lines with a value there are of another
            return
        if kind is None:
            raise _Unlike
        if mark != b'"':
            if bare is None or not kind.bare:
                raise _Unlike
            self._slot(Slot(path, kind, quoted=False), self.at, bare.end(), bare.end())
            return
        text = self._match(_TEXT)
        if not kind.quoted or (kind.number and not _NUMBER.fullmatch(text[1])):
            raise _Unlike
        start, end, after = text.start(1), text.end(1), text.end()
        if kind.name != "timestamp":
            self._slot(Slot(path, kind, quoted=True), start, end, after)
            return
        moment = _MOMENT.fullmatch(text[1])
        if moment is None:
            raise _Unlike
        offset = 0
        if moment[3]:
            hours, minutes = int(moment[4]), int(moment[5])
            if hours > 14 or minutes > 59:
                raise _Unlike
            offset = (60 * hours + minutes) * (-1 if moment[3] == b"-" else 1)
        slot = Slot(path, kind, quoted=True, offset=offset, mark=moment[1][0])
        self._slot(slot, start, end - len(moment[2]), after)

    def _unwanted(self) -> None:
        if self._line[self.at : self.at + 1] == b'"':
            text = self._match(_TEXT)
            self._slot(Slot((), UNWANTED, quoted=True), text.start(1), text.end(1), text.end())
            return
        bare = self._match(_BARE)
        self._slot(Slot((), UNWANTED, quoted=False), bare.start(), bare.end(), bare.end())

    def _slot(self, slot: Slot, start: int, end: int, after: int) -> None:
        self.literals.append(self._line[self.since : start])
        self.slots.append(slot)
        self.since = end
        self.at = after

    def _take(self, mark: bytes) -> None:
        if self._line[self.at : self.at + 1] != mark:
            raise _Unlike
        self.at += 1

    def _blanks(self) -> None:
        self.at = self._match(_BLANKS).end()

    def _match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        found = pattern.match(self._line, self.at)
        if found is None:
            raise _Unlike
        self.at = found.end()
        return found
