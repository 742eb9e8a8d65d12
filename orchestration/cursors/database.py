"""The connection to the cursor store's database: SQLite or PostgreSQL, one way of using both.

- SQLite: write-ahead log, ``synchronous=FULL`` (a committed transaction survives a power cut),
  writers begin with ``BEGIN IMMEDIATE`` so that they queue instead of failing half-way.
- PostgreSQL through psycopg 3. No prepared statements and no session locks, so a transaction
  pooler may stand in between.

Every database error leaves here as a :class:`~orchestration.errors.CursorStoreError`, without
the password and without the statement's parameters.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, create_engine, event, exc, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, Connection, make_url

from orchestration.errors import (
    ConfigError,
    CursorStoreError,
    CursorStoreUnavailable,
)
from orchestration.redaction import redact, remember_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Engine

__all__ = ["Database", "from_us", "load", "store", "to_us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WRITES = "headwater_writes"

# How long a writer waits for others; a write takes milliseconds, a backup of the file seconds.
BUSY_SECONDS = 30

_WAL_ATTEMPTS = 300
_WAL_PAUSE_SECONDS = 0.1

# libpq's defaults would hang for minutes to hours on a server that vanished.
_PG_DEFAULTS: dict[str, str] = {
    "connect_timeout": "10",
    "application_name": "headwater",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(value: int) -> datetime:
    """Inverse of :func:`to_us`, in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def store(value: Mapping[str, Any]) -> str:
    """A JSON document as it is kept: compact and pure ASCII."""
    return json.dumps(value, separators=(",", ":"))


def load(text_value: str) -> dict[str, Any]:
    """Inverse of :func:`store`."""
    value: dict[str, Any] = json.loads(text_value)
    return value


class Database:
    """An engine, and transactions on it.

    Args:
        url: SQLAlchemy URL, ``sqlite:///…`` or ``postgresql://…``.

    Raises:
        ConfigError: The URL makes no sense, or PostgreSQL's driver is not installed.
        CursorStoreUnavailable: SQLite's directory cannot be made.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        remember_secret(self.url.password)
        self.url_redacted = redact(self.url.render_as_string(hide_password=True))
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = self._sqlite() if self.is_sqlite else self._postgres()
        self._driver: Any = self._engine.dialect.loaded_dbapi

    def __repr__(self) -> str:
        return f"Database({self.url_redacted!r})"

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed unless the block raises."""
        with (
            self._translated(),
            self._engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def now_us(self, connection: Connection) -> int:
        """The database's own clock, microseconds since the epoch."""
        clock = (
            "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
            if self.is_sqlite
            else "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
        return int(connection.execute(text(clock)).scalar_one())

    def insert_if_absent(
        self, connection: Connection, table: Table, values: Mapping[str, Any]
    ) -> bool:
        """Insert a row unless its key is there already; true when it was inserted."""
        insert = sqlite_insert if self.is_sqlite else postgresql_insert
        statement = insert(table).values(dict(values)).on_conflict_do_nothing()
        return connection.execute(statement).rowcount == 1

    def _sqlite(self) -> Engine:
        path = self.url.database
        if not path or path == ":memory:":
            raise ConfigError(
                "The cursor store cannot live in memory: it must outlast the process",
                remedy="Set HEADWATER_CURSORS to sqlite:////absolute/path/cursors.db",
            )
        if not path.startswith("file:"):
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CursorStoreUnavailable(
                    f"The cursor store's directory {Path(path).parent} cannot be made: "
                    f"{error.strerror or error}",
                    remedy="Check the path and its permissions (HEADWATER_CURSORS).",
                ) from error
        engine = create_engine(self.url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _postgres(self) -> Engine:
        given = self.url.query
        arguments: dict[str, Any] = {k: v for k, v in _PG_DEFAULTS.items() if k not in given}
        arguments["prepare_threshold"] = None
        try:
            engine = create_engine(self.url, connect_args=arguments, pool_pre_ping=True)
        except ImportError as error:
            raise ConfigError(
                f"The cursor store {self.url_redacted} needs PostgreSQL's driver, psycopg 3, "
                "which is not installed",
                remedy='pip install "headwater[postgres]"',
            ) from error
        event.listen(engine, "connect", _configure_postgres)
        return engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (exc.SQLAlchemyError, self._driver.Error) as error:
            # The chain is cut: it could show the password or a statement's parameters.
            raise self._translate(error) from None

    def _translate(self, error: Exception) -> CursorStoreError:
        original = getattr(error, "orig", None) or error
        lines = str(original).strip().splitlines() or [type(original).__name__]
        reason = redact("; ".join(line.strip() for line in lines[:3]))
        transient = (exc.TimeoutError, self._driver.OperationalError, self._driver.InterfaceError)
        if isinstance(original, transient) or getattr(error, "connection_invalidated", False):
            where = (
                "Check that its disk is there, writable and not full, and that no other program "
                "holds the file locked."
                if self.is_sqlite
                else "Check that the server runs, and the URL in HEADWATER_CURSORS."
            )
            return CursorStoreUnavailable(
                f"The cursor store {self.url_redacted} does not answer: {reason}", remedy=where
            )
        return CursorStoreError(
            f"The cursor store {self.url_redacted} cannot be used: {reason}",
            remedy="If the database is damaged, move it away and run: headwater cursors rebuild",
        )


def _parse(url: str) -> URL:
    example = "sqlite:////absolute/path/cursors.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise ConfigError(
            "HEADWATER_CURSORS is not a database URL", remedy=f"Use {example}"
        ) from None
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise ConfigError(
            f"The cursor store cannot live in {parsed.drivername!r}; it can in SQLite and "
            "PostgreSQL (psycopg 3)",
            remedy=f"Set HEADWATER_CURSORS to {example}",
        )
    return parsed


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would begin transactions by its own rules; see _begin_sqlite.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "synchronous=FULL",
        "fullfsync=ON",  # macOS: through the disk's own cache; elsewhere nothing
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    _enable_wal(connection)


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to its write-ahead log; the mode stays with the file.

    Of two processes that switch a new file together one is told "locked" at once, whatever the
    busy timeout says, because each would have to wait for the other's read lock. So ask again.
    """
    pause = threading.Event()
    for attempt in range(1, _WAL_ATTEMPTS + 1):
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == _WAL_ATTEMPTS:
                raise
        pause.wait(_WAL_PAUSE_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _configure_postgres(connection: Any, _record: Any) -> None:
    before = connection.autocommit
    connection.autocommit = True
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    connection.autocommit = before
