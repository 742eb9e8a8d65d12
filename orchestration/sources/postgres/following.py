"""What a source does at its server: look, take, read, acknowledge."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.errors import SourceError
from orchestration.sources.postgres.copying import Snapshot, next_chunk
from orchestration.sources.postgres.decoder import Decoder
from orchestration.sources.postgres.naming import TypeNames
from orchestration.sources.postgres.position import SETUP, Chunk, Position
from orchestration.sources.postgres.preflight import check_server
from orchestration.sources.postgres.relations import Relations
from orchestration.sources.postgres.rows import lsn_number
from orchestration.sources.postgres.server import safe_end, tables_of
from orchestration.sources.postgres.setup import create_publication, create_slot
from orchestration.sources.postgres.slot import SlotReader, publication_changed
from orchestration.sources.postgres.spooled import Spooled
from orchestration.sources.postgres.standing import Standing, known, slot_lost, uncopied
from orchestration.sources.postgres.words import about_backlog, about_held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg
    import pyarrow as pa

    from orchestration.config import Settings
    from orchestration.cursors.records import Slice
    from orchestration.sources.base import Backlog, Limits
    from orchestration.sources.postgres.server import Server, Table
    from orchestration.sources.postgres.source import PostgresSource

__all__ = ["Following", "Look", "Taken"]

#: In the end of a backlog: there may be nothing of ours before it.
_IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the server found.

    Attributes:
        end: Offset when all of it is read; the one given where there is nothing.
        bytes: Of the log after the offset.
        oldest_us: When the oldest pending transaction was committed, microseconds since 1970.
        notes: For people.
    """

    end: dict[str, Any]
    bytes: int
    oldest_us: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """The next batch.

    Attributes:
        end: Its end.
        bytes: Of the messages that it reads.
        left: Offset when everything is read.
        left_bytes: Of the log after the batch.
    """

    end: dict[str, Any]
    bytes: int
    left: dict[str, Any]
    left_bytes: int


class Following:
    """The live side of a source: what was fetched and not yet decoded, the open snapshot.

    Args:
        source: The declaration.
    """

    def __init__(self, source: PostgresSource) -> None:
        self._source = source
        self._standing = Standing(source)
        self._fetched: tuple[int, int, Spooled] | None = None
        self._snapshot: Snapshot | None = None

    def server(self, connection: psycopg.Connection[Any]) -> Server:
        """The server and the slot as they are."""
        return self._standing.server(connection)

    # -- looking --------------------------------------------------------------------------------

    def look(self, connection: psycopg.Connection[Any], start: Mapping[str, Any]) -> Look:
        """How far the log goes, and whether there is something in it for us.

        Raises:
            SourceError: It cannot be followed any more; see :meth:`PostgresSource.poll`.
        """
        source = self._source
        server, tables = self._standing.checked(connection, start)
        if not start:
            return Look({}, 0, None, ())
        held = about_held(server, source.slot, source.warn_bytes)
        if server.slot is None:
            raise slot_lost(source.slot, "it does not exist")
        position = self._standing.position(start, server, tables)
        goal = replace(
            position,
            lsn=max(position.lsn, safe_end(connection, server)),
            tables=known(tables),
            chunk=None,
        )
        size = goal.lsn - position.lsn
        if position.tables != goal.tables and uncopied(position, tables):
            names = ", ".join(table.name for table in uncopied(position, tables))
            return Look(goal.to_json(), size, None, (f"to be copied: {names}", *held))
        reader = SlotReader(connection, source.slot, source.publication)
        # No further: a look is cheap however large a transaction is. What lies beyond is read, and
        # where that turns out to be nothing, the slot is moved on.
        reach = min(goal.lsn, server.confirmed + source.idle_bytes)
        pending = reader.first(reach) if server.confirmed < reach else None
        if pending is not None:
            moment, _ = pending
            notes = (about_backlog(size, moment, connection), *held)
            return Look(goal.to_json(), size, moment, notes)
        if goal.lsn - server.confirmed >= source.idle_bytes:
            return Look({**goal.to_json(), _IDLE: True}, size, None, held)
        if SETUP in start:
            return Look(position.to_json(), 0, None, held)
        return Look(dict(start), 0, None, held)

    def warnings(self, connection: psycopg.Connection[Any]) -> tuple[str, ...]:
        """Whether the slot holds back much log."""
        return about_held(self.server(connection), self._source.slot, self._source.warn_bytes)

    # -- taking ---------------------------------------------------------------------------------

    def take(
        self,
        connection: psycopg.Connection[Any],
        backlog: Backlog,
        limits: Limits,
        settings: Settings,
    ) -> Taken:
        """Cut the next batch off a backlog."""
        source = self._source
        server, tables = self._standing.checked(connection, backlog.start)
        if server.slot is None:
            # A dry run before the first: the slot is made when the first batch runs.
            later = {SETUP: source.slot, "then": "copy" if source.snapshot == "initial" else "read"}
            return Taken(later, 0, later, 0)
        position = self._standing.position(backlog.start, server, tables)
        waiting = uncopied(position, tables)
        if waiting:
            return self._take_chunk(connection, position, waiting, limits, server)
        if "lsn" in backlog.end:
            goal = lsn_number(backlog.end["lsn"])
        else:
            goal = max(position.lsn, safe_end(connection, server))
        fetched = self._fetch(connection, position, goal, limits, settings)
        if backlog.end.get(_IDLE) and fetched.end.lsn == position.lsn:
            fetched = replace(fetched, end=replace(fetched.end, lsn=goal))
        self._fetched = (position.lsn, fetched.end.lsn, fetched.spooled)
        end = fetched.end.to_json()
        if fetched.drained:
            return Taken(end, fetched.spooled.bytes, end, 0)
        left = {**end, "lsn": backlog.end.get("lsn", end["lsn"])}
        if backlog.end.get(_IDLE):
            left[_IDLE] = True
        return Taken(end, fetched.spooled.bytes, left, max(0, goal - fetched.end.lsn))

    def _take_chunk(
        self,
        connection: psycopg.Connection[Any],
        position: Position,
        waiting: list[Table],
        limits: Limits,
        server: Server,
    ) -> Taken:
        source = self._source
        table, *rest = waiting
        before = position.chunk
        after = before.upto if before is not None and before.table == table.name else None
        rows = min(limits.max_rows or source.chunk_rows, source.chunk_rows)
        chunk = next_chunk(connection, table, after, rows)
        done = dict(position.tables)
        if chunk.upto is None:
            done[table.name] = table.known_as
        end = replace(position, tables=done, chunk=chunk)
        if not rest and chunk.upto is None:
            reader = SlotReader(connection, source.slot, source.publication)
            if reader.first(safe_end(connection, server)) is None:
                return Taken(end.to_json(), 0, end.to_json(), 0)
        goal = replace(end, chunk=None, lsn=max(position.lsn, server.inserted))
        goal = replace(goal, tables=done | known(rest) | {table.name: table.known_as})
        return Taken(end.to_json(), 0, goal.to_json(), goal.lsn - position.lsn)

    def _fetch(
        self,
        connection: psycopg.Connection[Any],
        position: Position,
        goal: int,
        limits: Limits,
        settings: Settings,
    ) -> _Fetched:
        source = self._source
        reader = SlotReader(connection, source.slot, source.publication)
        until = goal if limits.max_bytes is None else min(goal, position.lsn + limits.max_bytes)
        spooled = self._new_spool(settings)
        reader.fetch(spooled, start=position.lsn, until=until, most=limits.max_rows)
        capped = limits.max_rows is not None and spooled.messages >= limits.max_rows
        if not (spooled.ends > position.lsn).any() and until < goal:
            # The next transaction is larger than a batch should be; it is taken alone.
            spooled = self._new_spool(settings)
            reader.fetch(spooled, start=position.lsn, until=goal, most=1)
            until, capped = goal, True
        reader.check_publication(position.publication)
        ends = spooled.ends
        mine = ends[ends > position.lsn]
        if not len(mine):
            return _Fetched(replace(position, chunk=None), spooled, drained=True)
        last = int(mine.max())
        relations = dict(position.relations)
        self._follow_shapes(spooled, position.lsn, relations)
        end = replace(position, lsn=last, relations=relations, chunk=None)
        drained = last >= goal or (until == goal and not capped)
        return _Fetched(end, spooled, drained=drained)

    def _follow_shapes(self, spooled: Spooled, start: int, relations: dict[str, str]) -> None:
        """Note the shape of each table's last rows, as the decoder will."""
        shapes, ends, done = Relations(), np.append(spooled.ends, 0), -1
        for block in spooled.blocks():
            begun = block.begun
            keep = (
                (ends[np.arange(done, done + begun[-1] + 1)] > start)[begun] if len(begun) else []
            )
            for relation, _ in shapes.groups(block, keep):
                if relation.table in self._source.tables:
                    relations[str(relation.oid)] = relation.digest
            done += int(begun[-1]) if len(begun) else 0

    def _new_spool(self, settings: Settings) -> Spooled:
        self._forget()
        return Spooled(settings.spool_dir)

    def _forget(self) -> None:
        if self._fetched is not None:
            self._fetched[2].close()
            self._fetched = None

    # -- reading --------------------------------------------------------------------------------

    def set_up(self, connection: psycopg.Connection[Any]) -> None:
        """Make the publication, and then the slot; whatever is there already is taken."""
        source = self._source
        server, _ = self._standing.checked(connection, {})
        if server.publication is None:
            create_publication(connection, source.publication, source.tables)
            self._standing.checked(connection, {})
        if server.slot is None:
            create_slot(connection, source.slot)

    def copied(self, part: Slice) -> Iterator[pa.RecordBatch]:
        """The rows of a part of a table."""
        source = self._source
        end = Position.from_json(part.end)
        chunk = end.chunk
        assert chunk is not None  # noqa: S101 - a slice of a copy has one
        with closing(source.dsn.connect()) as connection:
            _, tables = self._standing.checked(connection, part.start)
        if self._snapshot is None or not self._snapshot.alive:
            self._snapshot = Snapshot.exported(source.dsn, source.slot)
        (table,) = (item for item in tables if item.name == chunk.table)
        try:
            yield from self._snapshot.read(table, chunk)
        except SourceError:
            self._close_snapshot()
            raise

    def table_now(self, name: str) -> tuple[int, Iterator[pa.RecordBatch]]:
        """A table as it is now: a place in the log that is not before it, and its rows.

        Read the rows to the end.
        """
        source = self._source
        with closing(source.dsn.connect()) as connection:
            check_server(self.server(connection))
            (table,) = tables_of(connection, [name], source.publication)
        if table.member is None:
            raise publication_changed(f"{source.publication} of {name}", source.slot, None)
        snapshot = Snapshot.now(source.dsn, source.slot, source.publication)

        def rows() -> Iterator[pa.RecordBatch]:
            try:
                yield from snapshot.read(table, Chunk(name, None, None))
            finally:
                snapshot.close()

        return snapshot.place, rows()

    def pending(self, until: int, settings: Settings) -> Iterator[pa.RecordBatch]:
        """Changes up to a place in the log that nobody has landed yet; the slot stays."""
        source = self._source
        with (
            closing(source.dsn.connect()) as connection,
            closing(Spooled(settings.spool_dir)) as spooled,
        ):
            server, tables = self._standing.checked(connection, {})
            if server.slot is None:
                raise slot_lost(source.slot, "it does not exist")
            reader = SlotReader(connection, source.slot, source.publication)
            reader.fetch(spooled, start=server.confirmed, until=until, most=None)
            yield from self._decoded(connection, spooled, Position(0, "", ""), until, tables)

    def changes(self, part: Slice, settings: Settings) -> Iterator[pa.RecordBatch]:
        """The rows of the transactions of a slice."""
        source = self._source
        end = Position.from_json(part.end)
        with closing(source.dsn.connect()) as connection:
            server, tables = self._standing.checked(connection, part.start)
            if server.slot is None:
                raise slot_lost(source.slot, "it does not exist")
            start = self._standing.position(part.start, server, tables)
            fetched = self._fetched
            if fetched is not None and fetched[:2] == (start.lsn, end.lsn):
                spooled = fetched[2]
            else:
                spooled = self._new_spool(settings)
                reader = SlotReader(connection, source.slot, source.publication)
                reader.fetch(spooled, start=start.lsn, until=end.lsn, most=None)
                reader.check_publication(end.publication)
                self._fetched = (start.lsn, end.lsn, spooled)
            yield from self._decoded(connection, spooled, start, end.lsn, tables)

    def _decoded(
        self,
        connection: psycopg.Connection[Any],
        spooled: Spooled,
        start: Position,
        end: int,
        tables: tuple[Table, ...],
    ) -> Iterator[pa.RecordBatch]:
        names = TypeNames(connection)
        keys = {table.name: table.keys for table in tables}
        decoder = Decoder(
            start.lsn,
            end,
            spooled.ends,
            start.relations,
            tables=self._source.tables,
            keys=lambda relation: keys.get(relation.table, ()),
            types=names.of,
        )
        for block in spooled.blocks():
            yield decoder.decode(block)

    def acknowledge(self, part: Slice) -> None:
        """Move the slot on, and let go of what served to read the slice."""
        source = self._source
        if "lsn" not in part.end:
            return
        end = Position.from_json(part.end)
        self._forget()
        if set(source.tables) <= set(end.tables):
            self._close_snapshot()  # it keeps the server from cleaning up, and locks the tables
        if end.chunk is not None:
            return
        with closing(source.dsn.connect()) as connection:
            SlotReader(connection, source.slot, source.publication).advance(end.lsn)

    def _close_snapshot(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None


@dataclass(frozen=True, slots=True)
class _Fetched:
    end: Position
    spooled: Spooled
    drained: bool
