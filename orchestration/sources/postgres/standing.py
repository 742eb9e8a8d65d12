"""Whether a server can be followed from where a query stands, or something was lost meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestration.errors import ServerChanged, SlotLost, SourceNotReady
from orchestration.sources.postgres.position import SETUP, Position
from orchestration.sources.postgres.preflight import check_server, check_tables
from orchestration.sources.postgres.server import server_of, tables_of
from orchestration.sources.postgres.slot import publication_changed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from orchestration.sources.postgres.server import Server, Table
    from orchestration.sources.postgres.source import PostgresSource

__all__ = ["Standing", "known", "slot_lost", "uncopied"]


class Standing:
    """Looks at server, slot, publication and tables, and holds them against an offset.

    Args:
        source: The declaration.
    """

    def __init__(self, source: PostgresSource) -> None:
        self._source = source

    def server(self, connection: psycopg.Connection[Any]) -> Server:
        """The server and the slot as they are."""
        return server_of(connection, self._source.slot, self._source.publication)

    def checked(
        self, connection: psycopg.Connection[Any], start: Mapping[str, Any]
    ) -> tuple[Server, tuple[Table, ...]]:
        """Server and tables, fit to be followed from an offset."""
        source = self._source
        server = self.server(connection)
        check_server(server)
        slot = server.slot
        if slot is not None:
            self._check_slot(server, slot)
        if server.publication is None and ("lsn" in start or slot is not None):
            raise publication_changed(source.publication, source.slot, None)
        tables = tables_of(connection, source.tables, source.publication)
        check_tables(
            tables,
            server,
            source.publication,
            copies=source.snapshot == "initial",
            publishing=server.publication is None,
        )
        if "lsn" in start:
            self._check_same(server, tables, Position.from_json(start))
        return server, tables

    def _check_slot(self, server: Server, slot: dict[str, Any]) -> None:
        source = self._source
        if slot["plugin"] != "pgoutput" or slot["database"] != server.database:
            raise SourceNotReady(
                f"slot {source.slot!r} is of the plugin {slot['plugin']} in the database "
                f"{slot['database']}; expected pgoutput in {server.database}",
                remedy="name another slot: one that does not exist is made",
            )
        reason = slot.get("invalidation_reason")
        if slot.get("wal_status") == "lost" or reason:
            raise slot_lost(
                source.slot, f"the server invalidated it ({reason or 'its log was removed'})"
            )

    def _check_same(self, server: Server, tables: tuple[Table, ...], at: Position) -> None:
        source = self._source
        if server.system != at.system:
            raise ServerChanged(
                f"the server of slot {source.slot!r} was {at.system}, and {server.system} answers",
                remedy="point the dsn at the old one; or, where this one is its successor, "
                "'headwater reset' the query: it copies the tables anew",
            )
        if server.publication != at.publication:
            raise publication_changed(source.publication, source.slot, server.publication)
        for table in tables:
            before = at.tables.get(table.name)
            if before is not None and before != table.known_as:
                raise publication_changed(
                    f"{source.publication} or its table {table.name}", source.slot, table.known_as
                )
        if server.slot is None:
            raise slot_lost(source.slot, "it does not exist any more")
        if server.confirmed > at.lsn:
            raise slot_lost(
                source.slot, "somebody else moved it on, past changes that were not read here"
            )

    def position(
        self, start: Mapping[str, Any], server: Server, tables: tuple[Table, ...]
    ) -> Position:
        """Where an offset is; right after the set-up it is where the slot begins."""
        copies = self._source.snapshot == "initial"
        if SETUP not in start:
            position = Position.from_json(start)
            if copies:
                return position
            return replace(position, tables=known(tables))
        return Position(
            server.confirmed,
            server.system,
            str(server.publication),
            {} if copies else known(tables),
        )


def slot_lost(slot: str, how: str) -> SlotLost:
    """The error for a slot that does not hold what was not read yet."""
    return SlotLost(
        f"replication slot {slot!r} is lost: {how}",
        remedy=f"drop it where it is still there (SELECT pg_drop_replication_slot('{slot}')), "
        "then 'headwater reset' the query: it makes a new one and copies the tables anew",
    )


def known(tables: Sequence[Table]) -> dict[str, str]:
    """What the tables are known as, by name."""
    return {table.name: table.known_as for table in tables}


def uncopied(position: Position, tables: Sequence[Table]) -> list[Table]:
    """Those that are still to be copied, or to be copied further."""
    return [table for table in tables if table.name not in position.tables]
