"""Making the publication and then, never before it, the slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.errors import SourceUnavailable
from orchestration.sources.postgres.connection import talking

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

__all__ = ["create_publication", "create_slot"]

_PATIENCE_MS = 60_000
_CANCELLED = "57014"


def create_publication(
    connection: psycopg.Connection[Any], name: str, tables: Sequence[str]
) -> None:
    """Publish the tables; changes of a partition under the name of its table.

    Raises:
        SourceNotReady: The role may not.
    """
    from psycopg import sql

    listed = sql.SQL(", ").join(sql.Identifier(*table.split(".", 1)) for table in tables)
    query = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
    with talking():
        connection.execute(query.format(sql.Identifier(name), listed))


def create_slot(connection: psycopg.Connection[Any], name: str) -> None:
    """Make the slot; that waits for the transactions that are open.

    Raises:
        SourceUnavailable: One stays open for too long.
    """
    import psycopg

    with talking(name):
        connection.execute(f"SET statement_timeout TO {_PATIENCE_MS}")
        try:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        except psycopg.Error as error:
            if error.sqlstate != _CANCELLED:
                raise
            row = connection.execute(
                "SELECT pid, xact_start::text FROM pg_stat_activity WHERE backend_xid IS NOT NULL "
                "AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1"
            ).fetchone()
            who = f"process {row[0]}, since {row[1]}" if row else "one that is prepared, perhaps"
            raise SourceUnavailable(
                f"slot {name!r} cannot be made while a transaction is open: {who}",
                remedy="let it end (SELECT pg_terminate_backend(pid)); the next run tries again",
            ) from None
        finally:
            connection.execute("SET statement_timeout TO 0")
