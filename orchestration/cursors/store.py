"""The cursor store: the database that remembers what was planned and what was committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from orchestration.cursors.batches import Batches
from orchestration.cursors.costs import Costs
from orchestration.cursors.database import Database
from orchestration.cursors.leases import Leases
from orchestration.cursors.ledger import Ledger
from orchestration.cursors.migrate import HEAD, migrate
from orchestration.cursors.queries import Queries

if TYPE_CHECKING:
    from types import TracebackType

    from orchestration.clock import Clock

__all__ = ["CursorStore"]


class CursorStore:
    """An open cursor store; made by :meth:`open`. Threads may share it.

    Attributes:
        store_id: Random, made with the store; tells a store from another, and from none.
        schema_version: Of the tables, such as ``0001``.
        url_redacted: Where it is, without the password.
        queries: Queries and their generations.
        leases: Who runs which query.
        batches: The batch log.
        ledger: The files that were planned.
        costs: What full reprocesses cost and comparisons found.
    """

    def __init__(self, database: Database, store_id: str, clock: Clock) -> None:
        self._database = database
        self.store_id = store_id
        self.schema_version = HEAD
        self.url_redacted = database.url_redacted
        self.queries = Queries(database, clock)
        self.leases = Leases(database)
        self.batches = Batches(database, clock)
        self.ledger = Ledger(database)
        self.costs = Costs(database)

    @classmethod
    def open(cls, url: str, *, clock: Clock) -> CursorStore:
        """Open the store, making or migrating it first where needed.

        Args:
            url: SQLAlchemy URL: ``sqlite:////absolute/path`` (its directory is made) or
                ``postgresql://user@host/database``.
            clock: For the times that are shown; leases go by the database's clock.

        Raises:
            ConfigError: The URL makes no sense, or PostgreSQL's driver is not installed.
            CursorStoreUnavailable: The database does not answer.
            CursorStoreVersion: A newer Headwater wrote it.
        """
        database = Database(url)
        try:
            return cls(database, migrate(database), clock)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the connections; a second time does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CursorStore({self.url_redacted!r})"
