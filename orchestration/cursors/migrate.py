"""Brings a cursor store's schema to this version when it is opened.

Alembic is loaded only when there is something to migrate: opening a store that is up to date
costs one query.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from orchestration.cursors.models import VERSION_TABLE, meta
from orchestration.errors import CursorStoreVersion

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from orchestration.cursors.database import Database

__all__ = ["HEAD", "REVISIONS", "migrate"]

# Oldest first; the names of the files in migrations/versions.
REVISIONS = ("0001",)
HEAD = REVISIONS[-1]

MIGRATIONS = Path(__file__).parent / "migrations"

# Any constant will do: it keeps two processes from migrating one PostgreSQL database at once.
_MIGRATION_LOCK = 0x48656164_77617465  # "Headwate"


def migrate(database: Database) -> str:
    """Create or migrate the schema, once, however many processes open the store together.

    Returns:
        The store's id: random, made with the store, the same ever after.

    Raises:
        CursorStoreVersion: The schema is one that this version of Headwater does not know.
        CursorStoreUnavailable: The database does not answer.
    """
    with database.read() as connection:
        revision = _revision(connection)
        if _is_current(revision, database):
            return _store_id(connection)
    with database.write() as connection:
        if not database.is_sqlite:  # SQLite's writers exclude each other anyway
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        # Another process may have been faster while this one waited.
        if not _is_current(_revision(connection), database):
            _upgrade(connection)
            database.insert_if_absent(
                connection, meta, {"key": "store_id", "value": secrets.token_hex(16)}
            )
        return _store_id(connection)


def _is_current(revision: str | None, database: Database) -> bool:
    if revision is not None and revision not in REVISIONS:
        raise CursorStoreVersion(
            f"The cursor store {database.url_redacted} has schema version {revision!r}; this "
            f"Headwater knows versions up to {HEAD!r}",
            remedy="Install the Headwater that wrote it, or a newer one. Nothing was changed.",
        )
    return revision == HEAD


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _store_id(connection: Connection) -> str:
    query = meta.select().where(meta.c.key == "store_id")
    return str(connection.execute(query).one().value)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic's configuration takes "%" for its own.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
