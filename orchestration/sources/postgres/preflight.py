"""What must be so before a server can be followed, each with the command that makes it so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.errors import PublicationChanged, SourceNotReady
from orchestration.sources.postgres.server import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.sources.postgres.server import Server, Table

__all__ = ["check_server", "check_tables"]

_OLDEST = 150_000  # the first whose plugin leaves out transactions without published changes


def check_server(server: Server) -> None:
    """Refuse a server that cannot be followed.

    Raises:
        SourceNotReady: Says what is missing and the command that mends it.
    """
    if server.version < _OLDEST:
        raise SourceNotReady(
            f"the server is PostgreSQL {server.version // 10_000}, and 15 or newer is needed",
            remedy="upgrade it; older ones send transactions of unpublished tables too",
        )
    if server.standby:
        raise SourceNotReady(
            "the server is a standby", remedy="connect to the primary: slots are kept there"
        )
    if server.wal_level != "logical":
        raise SourceNotReady(
            f"the server has wal_level = {server.wal_level}, and logical is needed",
            remedy="ALTER SYSTEM SET wal_level = 'logical', and restart the server",
        )
    if server.encoding == "SQL_ASCII":
        raise SourceNotReady(
            f"the database {server.database} is of encoding SQL_ASCII: its texts may be anything",
            remedy="move it to a database of encoding UTF8",
        )
    if not server.may_replicate:
        raise SourceNotReady(
            f"the role {server.role} may not use replication slots",
            remedy=f"ALTER ROLE {quoted(server.role)} REPLICATION",
        )


def check_tables(
    tables: Sequence[Table], server: Server, publication: str, *, copies: bool, publishing: bool
) -> None:
    """Refuse tables that cannot be followed; before they are published, which could break them.

    Args:
        tables: The declared ones.
        server: Where they are.
        publication: Its name.
        copies: Whether they will be read whole.
        publishing: Whether the publication is still to be made.

    Raises:
        SourceNotReady: Says which and the command that mends it.
        PublicationChanged: The publication lacks one.
    """
    for table in tables:
        if table.oid is None:
            raise SourceNotReady(
                f"there is no table {table.name} in the database {server.database}",
                remedy="correct tables=; write 'schema.table' as the catalogue has it",
            )
        default_without_key = table.identity == "d" and not table.keys
        lost_index = table.identity == "i" and not table.has_index
        bare = table.bare_partition
        if table.kind == "r" and (table.identity == "n" or default_without_key or lost_index):
            bare = table.name
        if bare is not None:
            raise SourceNotReady(
                f"{bare} has no replica identity: no primary key, and none was named. Once it is "
                "published, the server refuses every UPDATE and DELETE on it",
                remedy=f"add a primary key to {table.name}, or ALTER TABLE {bare} REPLICA IDENTITY "
                "FULL",
            )
        if copies and not table.readable:
            raise SourceNotReady(
                f"the role {server.role} may not read {table.name}, which is to be copied first",
                remedy=f'GRANT SELECT ON {table.sql} TO {quoted(server.role)}, or snapshot="never"',
            )
        if publishing:
            continue
        if table.member is None:
            raise PublicationChanged(
                f"publication {publication!r} does not have {table.name}: its changes would be "
                "lost silently",
                remedy=f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {table.sql}; where it "
                "was taken out for a while, reset the query as well, which copies it anew",
            )
        if table.kind == "p" and not server.by_root:
            raise SourceNotReady(
                f"{table.name} is partitioned, and publication {publication!r} sends the changes "
                "of its partitions under their own names",
                remedy=f"ALTER PUBLICATION {quoted(publication)} SET "
                "(publish_via_partition_root = true)",
            )
    if not publishing and not server.publishes_all:
        raise SourceNotReady(
            f"publication {publication!r} leaves out inserts, updates, deletes or truncates",
            remedy=f"ALTER PUBLICATION {quoted(publication)} SET "
            "(publish = 'insert, update, delete, truncate')",
        )
