"""Reading a replication slot without moving it, and moving it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.errors import PublicationChanged, SlotInUse, SourceError
from orchestration.sources.postgres.connection import talking
from orchestration.sources.postgres.rows import lsn_number, lsn_text
from orchestration.sources.postgres.server import quoted
from orchestration.sources.postgres.spooled import BLOCK_BYTES, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from orchestration.sources.postgres.spooled import Spooled
    from orchestration.sources.postgres.wire import Block

__all__ = ["SlotReader", "publication_changed"]

_PEEK = "pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s::int, {options})"
#: Bytes of log whose changes are asked for in one piece: a third faster, and the server holds them
#: in memory while it does.
_ONE_PIECE = 256 * 1024 * 1024
_TOO_LARGE = ("54000", "53200")  # more than the server can hold in one value
_TRIES = 20
_COPY_HEAD = 19  # signature, flags and length of the extension
_FIELD = 6  # the number of columns and the length of the only one


class SlotReader:
    """One session's view of a slot and its publication.

    Args:
        connection: In autocommit.
        slot: Name of the slot.
        publication: Name of the publication.
    """

    def __init__(self, connection: psycopg.Connection[Any], slot: str, publication: str) -> None:
        self._connection = connection
        self.slot = slot
        self.publication = publication

    def first(self, until: int) -> tuple[int, int] | None:
        """When the first pending transaction was committed, and where it ends.

        Args:
            until: Look no further than there.

        Returns:
            Microseconds since 1970, and its place in the log; ``None`` where nothing is pending.
        """
        rows = self._rows(
            "SELECT data FROM {peek} WHERE get_byte(data, 0) IN (66, 67)", until, most=1
        )
        data = [bytes(row[0]) for row in rows]
        if len(data) < 2:
            return None
        from orchestration.sources.postgres.wire import EPOCH_2000

        moment = int.from_bytes(data[0][9:17], "big", signed=True) + EPOCH_2000
        return moment, int.from_bytes(data[1][10:18], "big")

    def fetch(self, into: Spooled, *, start: int, until: int, most: int | None) -> None:
        """Read whole transactions.

        Args:
            into: Takes them.
            start: Where reading begins; only to know how much it may be.
            until: Ends once the log was read up to there.
            most: Or with the transaction that makes it so many messages.

        Raises:
            SlotInUse, SlotLost, PublicationChanged: The slot cannot be read.
        """
        if until - start <= _ONE_PIECE:
            try:
                self._fetch_piece(into, until, most)
                return
            except _TooLargeError:
                pass
        for block in self._stream(until, most):
            into.add(block)

    def advance(self, place: int) -> None:
        """Acknowledge everything up to a place; nothing where that was done before."""
        with talking(self.slot):
            row = self._connection.execute(
                "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s",
                (self.slot,),
            ).fetchone()
        if row is None or lsn_number(row[0]) >= place:
            return  # one that is gone is told by the next look at it
        self._patiently("SELECT pg_replication_slot_advance(%s, %s::pg_lsn)", lsn_text(place))

    def check_publication(self, expected: str) -> None:
        """Make sure, after reading, that what was read was all.

        Raises:
            PublicationChanged: While it was away its changes were passed over.
        """
        with talking(self.slot):
            row = self._connection.execute(
                "SELECT oid::text FROM pg_publication WHERE pubname = %s", (self.publication,)
            ).fetchone()
        if row is None or row[0] != expected:
            raise publication_changed(self.publication, self.slot, row[0] if row else None)

    def _fetch_piece(self, into: Spooled, until: int, most: int | None) -> None:
        rows = self._rows(
            "SELECT string_agg(data, ''::bytea), array_agg(octet_length(data)) FROM {peek}",
            until,
            most=most,
            raw=True,
        )
        result = rows.pgresult
        data, lengths = result.get_value(0, 0), result.get_value(0, 1)
        result.clear()
        if data is None or lengths is None:
            return
        # An array on the wire: five numbers of head, then length and value of each element.
        counts = np.frombuffer(lengths, ">i4", offset=20).reshape(-1, 2)[:, 1].astype(np.int32)
        for block in blocks_of(memoryview(data), counts):
            into.add(block)

    def _stream(self, until: int, most: int | None) -> Iterator[Block]:
        """Message by message: slower, and of any size."""
        from psycopg import sql

        options = [sql.Literal(item) for item in self._options]
        query = sql.SQL(
            "COPY (SELECT data FROM pg_logical_slot_peek_binary_changes("
            "{slot}, {until}::pg_lsn, {most}::int, {options})) TO STDOUT (FORMAT binary)"
        ).format(
            slot=sql.Literal(self.slot),
            until=sql.Literal(lsn_text(until)),
            most=sql.Literal(most),
            options=sql.SQL(", ").join(options),
        )
        parts: list[bytes] = []
        size = 0
        with (
            talking(self.slot),
            self._connection.cursor() as cursor,
            cursor.copy(query) as copy,
        ):
            head = _COPY_HEAD
            for row in copy:
                # Begins with the file's head; ends with a number of columns of -1.
                body = bytes(row)[head + _FIELD :]
                head = 0
                if body:
                    parts.append(body)
                    size += len(body)
                if size >= BLOCK_BYTES:
                    yield from _joined(parts)
                    parts, size = [], 0
        yield from _joined(parts)

    def _rows(self, query: str, until: int, *, most: int | None, raw: bool = False) -> Any:
        options = ", ".join(["%s"] * len(self._options))
        text = query.format(peek=_PEEK.format(options=options))
        return self._patiently(text, lsn_text(until), most, *self._options, raw=raw)

    @property
    def _options(self) -> tuple[str, ...]:
        return ("proto_version", "1", "publication_names", quoted(self.publication))

    def _patiently(self, query: str, *values: object, raw: bool = False) -> Any:
        """Run a query on the slot; another look at it, such as a sensor's, is waited out."""
        import psycopg

        for left in reversed(range(_TRIES)):
            try:
                with talking(self.slot):
                    try:
                        return self._connection.cursor(binary=raw).execute(
                            query, (self.slot, *values)
                        )
                    except psycopg.Error as error:
                        if raw and error.sqlstate in _TOO_LARGE:
                            raise _TooLargeError(str(error.sqlstate)) from None
                        raise
            except SlotInUse as error:
                if not left or not self._short_look():
                    raise self._named(error) from None
                self._connection.execute("SELECT pg_sleep(0.1)")
        raise AssertionError("the last try returns or raises")

    def _short_look(self) -> bool:
        """Whether it is one of ours that reads the slot: those are done soon."""
        row = self._reader()
        return row is None or row[1] == "headwater"

    def _named(self, error: SlotInUse) -> SlotInUse:
        row = self._reader()
        if row is None:
            return error
        who = f"process {row[0]} ({row[1] or 'unnamed'}, {row[2] or 'a local socket'})"
        return SlotInUse(f"replication slot {self.slot!r} is read by {who}", remedy=error.remedy)

    def _reader(self) -> Any:
        return self._connection.execute(
            "SELECT a.pid, a.application_name, a.client_addr::text FROM pg_replication_slots s "
            "JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = %s",
            (self.slot,),
        ).fetchone()


class _TooLargeError(SourceError):
    """The server cannot hold the changes in one value."""


def publication_changed(publication: str, slot: str, found: str | None) -> PublicationChanged:
    """The error for a publication that is not the one that was read so far."""
    now = "was dropped" if found is None else "was dropped and made again"
    return PublicationChanged(
        f"publication {publication!r} {now}: changes of the time between may be lost, and the "
        "server does not say so",
        remedy=f"drop the slot (SELECT pg_drop_replication_slot('{slot}')) and 'headwater reset' "
        "the query: publication, slot and copy are made anew, in that order",
    )


def _joined(parts: list[bytes]) -> Iterator[Block]:
    if parts:
        lengths = np.fromiter((len(part) for part in parts), np.int32, len(parts))
        yield from blocks_of(b"".join(parts), lengths)
