"""Messages of the ``pgoutput`` plugin, protocol version 1: where they lie and what they say.

Rows are never taken apart one by one: numpy looks at the same field of all messages at once. Only
what is rare, descriptions of tables and truncates, is read in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Block", "Cursor", "RelationColumn", "RelationMessage", "ends_of"]

BEGIN, COMMIT, RELATION, INSERT, UPDATE, DELETE, TRUNCATE = (ord(letter) for letter in "BCRIUDT")
#: Microseconds from 1970 to 2000, where PostgreSQL's clock starts.
EPOCH_2000 = 946_684_800_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """Whole messages, one after the other.

    Attributes:
        data: Their bytes; less than 2 GiB.
        lengths: Bytes of each, 32-bit integers.
    """

    data: bytes
    lengths: Any

    @property
    def bytes(self) -> Any:
        """The bytes as an array, with some to spare, so that looking ahead stays inside."""
        return np.frombuffer(self.data, np.uint8)

    @property
    def starts(self) -> Any:
        """Where each message begins."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        return ends - self.lengths

    @property
    def begun(self) -> Any:
        """For each message how many transactions have begun in this block by then."""
        return np.cumsum(self.bytes[self.starts] == BEGIN)


def be32(data: Any, at: Any) -> Any:
    """Unsigned 32-bit numbers at the given places."""
    wide = np.int64
    return (
        (data[at].astype(wide) << 24)
        | (data[at + 1].astype(wide) << 16)
        | (data[at + 2].astype(wide) << 8)
        | data[at + 3]
    )


def be64(data: Any, at: Any) -> Any:
    """Signed 64-bit numbers at the given places."""
    return (be32(data, at) << 32) | be32(data, at + 4)


def ends_of(block: Block) -> Any:
    """The end of each transaction that ends in a block: where the log is after its commit."""
    data, starts = block.bytes, block.starts
    commits = starts[data[starts] == COMMIT]
    return be64(data, commits + 10)  # kind, flags, place of the commit, end


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column as a Relation message has it."""

    name: str
    is_identity: bool
    type_oid: int
    type_modifier: int


@dataclass(frozen=True, slots=True)
class RelationMessage:
    """A table's shape from here on.

    Attributes:
        oid: Its number on the server.
        table: ``schema.name``.
        identity: ``d`` default, ``n`` nothing, ``f`` full, ``i`` an index.
        columns: In the order of the rows that follow.
    """

    oid: int
    table: str
    identity: str
    columns: tuple[RelationColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its columns."""
        return tuple(item.name for item in self.columns)

    @property
    def digest(self) -> str:
        """Eight letters that change when names, types or identity of the columns do."""
        import hashlib

        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


class Cursor:
    """Reads one rare message in Python."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def number(self, size: int, *, signed: bool = False) -> int:
        """An integer of so many bytes."""
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big", signed=signed)

    def text(self) -> str:
        """Up to the zero byte."""
        end = self._data.index(b"\0", self._at)
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def relation(self) -> RelationMessage:
        """A Relation message, after its kind."""
        oid = self.number(4)
        schema, name = self.text() or "pg_catalog", self.text()
        identity = chr(self.number(1))
        columns = tuple(
            RelationColumn(
                is_identity=bool(self.number(1) & 1),
                name=self.text(),
                type_oid=self.number(4),
                type_modifier=self.number(4, signed=True),
            )
            for _ in range(self.number(2))
        )
        return RelationMessage(oid, f"{schema}.{name}", identity, columns)

    def truncated(self) -> tuple[int, ...]:
        """The tables of a Truncate message, after its kind."""
        count = self.number(4)
        self.number(1)  # cascade and restart of identities: the tables are named one by one
        return tuple(self.number(4) for _ in range(count))
