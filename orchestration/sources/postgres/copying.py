"""The first copy of a table: parts by key, each as of one exact place in the log.

The slot exists before the copy begins, so that no change is missed. What a part says holds at the
place of its snapshot: changes before it are older than its rows, changes after it newer. Parts
that another process copies have a place of their own, and that is as exact.
"""

from __future__ import annotations

import os
import secrets
import weakref
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.sources.postgres.connection import talking
from orchestration.sources.postgres.json_text import json_objects
from orchestration.sources.postgres.position import Chunk
from orchestration.sources.postgres.rows import CHANGE_SCHEMA, lsn_number, sequences, slices
from orchestration.sources.postgres.server import safe_end, server_of
from orchestration.sources.postgres.spooled import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import psycopg

    from orchestration.sources.postgres.connection import Dsn
    from orchestration.sources.postgres.server import Table

__all__ = ["Snapshot", "next_chunk"]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_LINE, _TAB, _BACKSLASH = 0x0A, 0x09, 0x5C
#: What COPY writes for characters that would end a field; the backslash itself comes last, through
#: a character that no text of PostgreSQL holds.
_ESCAPES = (
    ("\\\\", "\0"),
    ("\\b", "\b"),
    ("\\f", "\f"),
    ("\\n", "\n"),
    ("\\r", "\r"),
    ("\\t", "\t"),
    ("\\v", "\v"),
    ("\0", "\\"),
)


def next_chunk(
    connection: psycopg.Connection[Any], table: Table, after: tuple[str, ...] | None, rows: int
) -> Chunk:
    """Where the next part of a table ends.

    Args:
        connection: In autocommit.
        table: A table; one without a primary key is one part.
        after: Key of the last row of the part before.
        rows: Rows it should have.
    """
    if not table.keys:
        return Chunk(table.name, None, None)
    from psycopg import sql

    keys = sql.SQL(", ").join(sql.Identifier(key) for key in table.keys)
    texts = sql.SQL(", ").join(
        sql.SQL("format('%s', {})").format(sql.Identifier(key)) for key in table.keys
    )
    query = sql.SQL("SELECT {} FROM {} {} ORDER BY {} OFFSET {} LIMIT 1").format(
        texts, _name(table), _where(table, after, None), keys, sql.Literal(rows - 1)
    )
    with talking():
        row = connection.execute(query).fetchone()
    return Chunk(table.name, after, None if row is None else tuple(row))


class Snapshot:
    """A session that sees the tables as they were at one moment.

    Attributes:
        place: Where in the log that was. Of :meth:`exported` exactly; of :meth:`now` not later.
        moment: When that was.
        close: Call it to let the server forget it.
    """

    def __init__(self, connection: psycopg.Connection[Any], slot: str, place: int) -> None:
        self._connection = connection
        self._slot = slot
        self.place = place
        self.close = weakref.finalize(self, connection.close)
        with talking(slot):
            moment = connection.execute("SELECT now()").fetchone()
        assert moment is not None  # noqa: S101 - a query without a table gives one row
        self.moment: datetime = moment[0]

    @classmethod
    def exported(cls, dsn: Dsn, slot: str) -> Self:
        """At an exact place; making it waits for the transactions that are open.

        Args:
            dsn: The server.
            slot: Name of the query's slot, for messages.
        """
        name = f"headwater_copy_{os.getpid()}_{secrets.token_hex(4)}"
        with closing(dsn.connect(replication=True)) as exporting, talking(slot):
            # Goes with this session; it only serves to know the place that belongs to a snapshot.
            row = exporting.execute(
                f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')"
            ).fetchone()
            assert row is not None  # noqa: S101 - the command gives one row
            connection = dsn.connect()
            connection.execute(_BEGIN)
            connection.execute(f"SET TRANSACTION SNAPSHOT '{row[2]}'")
            return cls(connection, slot, lsn_number(str(row[1])))

    @classmethod
    def now(cls, dsn: Dsn, slot: str, publication: str) -> Self:
        """Of this moment: what it sees was written before its place in the log, at the latest."""
        connection = dsn.connect()
        with talking(slot):
            connection.execute(_BEGIN)
            connection.execute("SELECT count(*) FROM pg_class")  # takes the snapshot
        with closing(dsn.connect()) as other:
            place = safe_end(other, server_of(other, slot, publication))
        return cls(connection, slot, place)

    @property
    def alive(self) -> bool:
        """Whether it can still be read."""
        return not self._connection.closed and not self._connection.broken

    def read(self, table: Table, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        """The rows of a part, as rows of the change log."""
        from psycopg import sql

        columns = sql.SQL(", ").join(sql.Identifier(name) for name in table.columns)
        query = sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT").format(
            columns, _name(table), _where(table, chunk.after, chunk.upto)
        )
        parts: list[bytes] = []
        size = 0
        with talking(self._slot):
            with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                for row in copy:
                    parts.append(bytes(row))
                    size += len(row)
                    if size >= BLOCK_BYTES:
                        yield self._batch(table, b"".join(parts))
                        parts, size = [], 0
            if parts:
                yield self._batch(table, b"".join(parts))

    def _batch(self, table: Table, data: bytes) -> pa.RecordBatch:
        columns = copied_columns(data, len(table.columns))
        rows = len(columns[0])
        moment = pa.scalar(self.moment, pa.timestamp("us", "UTC"))
        place = np.full(rows, self.place, np.int64)
        none = pa.nulls(rows, pa.string())
        arrays: list[Any] = [
            pa.repeat("read", rows),
            sequences(place, np.zeros(rows, np.int64)),
            pa.repeat(moment, rows),
            none,
            pa.repeat(table.name, rows),
            pa.nulls(rows, pa.list_(pa.string())),
            none,
            json_objects(table.columns, columns, rows),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=CHANGE_SCHEMA)


def copied_columns(data: bytes, count: int) -> list[Any]:
    """Whole lines of COPY's text format as text arrays, null for its nulls."""
    found = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((found == _LINE) | (found == _TAB)).astype(np.int32)
    rows = len(ends) // count
    starts = np.concatenate((np.zeros(1, np.int32), ends[:-1] + 1))
    first, last = starts.reshape(rows, count), ends.reshape(rows, count)
    columns = []
    buffer = pa.py_buffer(data)
    for n in range(count):
        head = found[np.minimum(first[:, n], len(found) - 2)]
        after = found[np.minimum(first[:, n] + 1, len(found) - 1)]
        null = (last[:, n] - first[:, n] == 2) & (head == _BACKSLASH) & (after == ord("N"))
        columns.append(_unescaped(slices(buffer, first[:, n], last[:, n], null)))
    return columns


def _unescaped(column: Any) -> Any:
    data = column.buffers()[2]
    if data is None or _BACKSLASH not in np.frombuffer(data, np.uint8):
        return column
    replace: Any = pc.replace_substring
    for written, meant in _ESCAPES:
        column = replace(column, written, meant)
    return column


def _name(table: Table) -> Any:
    from psycopg import sql

    # Tables that inherit from it have changes of their own; partitions are the table itself.
    only = "ONLY {}" if table.kind == "r" else "{}"
    return sql.SQL(only).format(sql.Identifier(*table.name.split(".", 1)))


def _where(table: Table, after: tuple[str, ...] | None, upto: tuple[str, ...] | None) -> Any:
    from psycopg import sql

    keys = sql.SQL(", ").join(sql.Identifier(key) for key in table.keys)
    terms = [sql.SQL("({})").format(sql.SQL(table.filter))] if table.filter else []
    for sign, values in ((">", after), ("<=", upto)):
        if values is not None:
            listed = sql.SQL(", ").join(sql.Literal(value) for value in values)
            terms.append(sql.SQL("({}) " + sign + " ({})").format(keys, listed))
    if not terms:
        return sql.SQL("")
    return sql.SQL("WHERE ") + sql.SQL(" AND ").join(terms)
