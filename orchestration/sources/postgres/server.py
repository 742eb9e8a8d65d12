"""What the server says of itself, of the slot, and of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.sources.postgres.connection import talking
from orchestration.sources.postgres.rows import lsn_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

__all__ = [
    "Server",
    "Table",
    "quoted",
    "safe_end",
    "server_of",
    "tables_of",
]


_LOOKS = 25  # half a second: a server at work brings its log to disk sooner

_SERVER = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('wal_level') AS wal_level,
       current_setting('server_encoding') AS encoding,
       current_database() AS database,
       current_user AS role,
       pg_is_in_recovery() AS standby,
       (SELECT system_identifier::text FROM pg_control_system()) AS system,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text END AS inserted,
       r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication'
           AND pg_has_role(current_user, g.oid, 'member')) AS may_replicate,
       p.oid::text AS publication,
       p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS publishes_all,
       p.pubviaroot AS by_root,
       to_jsonb(s) AS slot
FROM pg_roles r
LEFT JOIN pg_publication p ON p.pubname = %(publication)s
LEFT JOIN pg_replication_slots s ON s.slot_name = %(slot)s
WHERE r.rolname = current_user
"""

_TABLES = """
SELECT wanted.schema || '.' || wanted.name AS name, c.oid::text AS oid, c.relkind::text AS kind,
       c.relreplident::text AS identity, pr.oid::text AS member,
       pt.attnames::text[] AS columns, pt.rowfilter AS filter,
       has_table_privilege(c.oid, 'SELECT') AS readable,
       ARRAY(SELECT a.attname::text
             FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(number, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place) AS keys,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) AS has_index,
       (SELECT min(l.oid::regclass::text)
        FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid
        WHERE c.relkind = 'p' AND t.isleaf AND (l.relreplident = 'n' OR l.relreplident = 'd' AND
              NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid AND i.indisprimary)))
       AS bare_partition
FROM unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY wanted(schema, name, place)
LEFT JOIN pg_namespace n ON n.nspname = wanted.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
                    AND c.relkind IN ('r', 'p')
LEFT JOIN pg_publication p ON p.pubname = %(publication)s
LEFT JOIN pg_publication_rel pr ON pr.prpubid = p.oid AND pr.prrelid = c.oid
LEFT JOIN pg_publication_tables pt ON pt.pubname = p.pubname AND pt.schemaname = n.nspname
                                  AND pt.tablename = c.relname
ORDER BY wanted.place
"""


@dataclass(frozen=True, slots=True)
class Server:
    """The server and the slot, as one query found them.

    Attributes:
        version: As ``server_version_num``.
        wal_level, encoding, database, role, standby: As the server says.
        system: Its identity: copies of its files share it, other servers do not.
        inserted: Where its log ends, a boundary between records; 0 on a standby.
        flushed: What of it is safe on disk; read after ``inserted``.
        may_replicate: Whether the role may read slots.
        publication: The publication's number; ``None`` where there is none.
        publishes_all: Whether it has inserts, updates, deletes and truncates.
        by_root: Whether changes of partitions are those of their table.
        slot: The row of ``pg_replication_slots``; ``None`` where there is none.
    """

    version: int
    wal_level: str
    encoding: str
    database: str
    role: str
    standby: bool
    system: str
    inserted: int
    flushed: int
    may_replicate: bool
    publication: str | None
    publishes_all: bool
    by_root: bool
    slot: dict[str, Any] | None

    @property
    def confirmed(self) -> int:
        """Up to where the slot's changes were acknowledged; 0 without a slot."""
        return self._place("confirmed_flush_lsn")

    @property
    def behind(self) -> int:
        """Bytes of the log after that."""
        return max(0, self.flushed - self.confirmed) if self.slot else 0

    @property
    def held(self) -> int:
        """Bytes of the log that the server keeps for the slot."""
        place = self._place("restart_lsn")
        return max(0, self.flushed - place) if place else 0

    def _place(self, name: str) -> int:
        text = (self.slot or {}).get(name)
        return lsn_number(text) if text else 0


@dataclass(frozen=True, slots=True)
class Table:
    """A declared table.

    Attributes:
        name: ``schema.name``.
        oid: Its number; ``None`` where it does not exist.
        kind: ``r``, or ``p`` for a partitioned one.
        identity: What updates and deletes say of the row before: ``d``, ``n``, ``f``, ``i``.
        member: Number of its membership in the publication; of a publication of all tables or
            of a schema ``""``; ``None`` where it is not published.
        columns: The published ones.
        filter: The condition of published rows.
        readable: Whether the role may select from it.
        keys: Columns of its primary key.
        has_index: Whether an index was named as its identity.
        bare_partition: A partition without an identity; ``None`` where there is none.
    """

    name: str
    oid: str | None
    kind: str
    identity: str
    member: str | None
    columns: tuple[str, ...]
    filter: str | None
    readable: bool
    keys: tuple[str, ...]
    has_index: bool
    bare_partition: str | None

    @property
    def known_as(self) -> str:
        """Changes when the table, or its place in the publication, is another one."""
        return f"{self.oid}.{self.member}"

    @property
    def sql(self) -> str:
        """Its name for SQL."""
        return ".".join(quoted(part) for part in self.name.split(".", 1))


def quoted(name: str) -> str:
    """A name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def server_of(connection: psycopg.Connection[Any], slot: str, publication: str) -> Server:
    """Ask the server about itself and the slot."""
    from psycopg.rows import dict_row

    with talking(slot), connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_SERVER, {"slot": slot, "publication": publication}).fetchone()
        assert found is not None  # noqa: S101 - a session's role exists
        flushed = 0
        if not found["standby"]:
            # Asked second: what was inserted before may be on disk by now.
            row = cursor.execute("SELECT pg_current_wal_flush_lsn()::text AS place").fetchone()
            flushed = lsn_number(row["place"]) if row else 0
    found["inserted"] = lsn_number(found["inserted"]) if found["inserted"] else 0
    return Server(**{**found, "flushed": flushed, "by_root": bool(found["by_root"])})


def safe_end(connection: psycopg.Connection[Any], server: Server) -> int:
    """How far the log may be read and acknowledged: between two records, and safe on disk.

    What is only inserted a crash of the server may take back. What is on disk may end within a
    record: reading it would wait for the rest, and a slot that is moved into the middle of a
    commit passes over that transaction.
    """
    flushed = server.flushed
    with talking():
        for _ in range(_LOOKS):
            if flushed >= server.inserted:
                return server.inserted
            connection.execute("SELECT pg_sleep(0.02)")
            row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            flushed = lsn_number(row[0]) if row else 0
        # Nobody commits, and a transaction that is open has filled the last page in part: the
        # commit of a message that nobody reads brings it to disk.
        connection.execute("SELECT pg_logical_emit_message(true, 'headwater', '')")
    return server.inserted


def tables_of(
    connection: psycopg.Connection[Any], names: Sequence[str], publication: str
) -> tuple[Table, ...]:
    """Ask about the declared tables, in their order."""
    from psycopg.rows import dict_row

    parts = [name.split(".", 1) for name in names]
    given = {
        "schemas": [schema for schema, _ in parts],
        "names": [name for _, name in parts],
        "publication": publication,
    }
    with talking(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_TABLES, given).fetchall()
    return tuple(
        Table(
            name=row["name"],
            oid=row["oid"],
            kind=row["kind"] or "",
            identity=row["identity"] or "",
            member=row["member"] or ("" if row["columns"] is not None else None),
            columns=tuple(row["columns"] or ()),
            filter=row["filter"],
            readable=bool(row["readable"]),
            keys=tuple(row["keys"] or ()),
            has_index=bool(row["has_index"]),
            bare_partition=row["bare_partition"],
        )
        for row in rows
    )
