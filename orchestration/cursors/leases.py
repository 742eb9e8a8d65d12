"""Leases: one runner per query, and a number that only grows to tell it from its predecessors.

A lease lasts :data:`TTL_SECONDS` by the **database's** clock and is renewed by a thread. Who
finds it expired, or held by a process that is certainly dead, takes it over and gets the next
token. The former holder, if it lives after all, is refused at its next write: every write of the
cursor store runs inside :func:`fenced`.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import select, update

from orchestration.cursors.database import from_us
from orchestration.cursors.host import Holder, this_process
from orchestration.cursors.models import leases as table
from orchestration.errors import HeadwaterError, LeaseLost, QueryAlreadyRunning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from types import TracebackType

    from sqlalchemy.engine import Connection, Row

    from orchestration.cursors.database import Database

__all__ = ["HEARTBEAT_SECONDS", "TTL_SECONDS", "Lease", "LeaseInfo", "Leases", "fenced"]

# Long enough for six lost heartbeats; the longest that another machine waits for a dead one.
TTL_SECONDS = 60
HEARTBEAT_SECONDS = 10.0
# After a heartbeat that the database did not answer, be quicker about the next.
RETRY_SECONDS = 2.0

_SECOND = 1_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as others see it.

    Attributes:
        query_id: The query.
        token: Its fencing token.
        run_id: The run that holds it.
        holder: The process that holds it.
        acquired_at, renewed_at, expires_at: By the database's clock, aware UTC.
        expired: By the database's clock.
        alive: Whether the process lives; ``None`` where that cannot be seen from here.
    """

    query_id: str
    token: int
    run_id: str
    holder: Holder
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime
    expired: bool
    alive: bool | None

    def __str__(self) -> str:
        return (
            f"process {self.holder.pid} on {self.holder.host} (run {self.run_id}) since "
            f"{self.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
        )

    @property
    def may_be_taken(self) -> bool:
        """True when the next runner takes it over."""
        return self.expired or self.alive is False


class Leases:
    """The leases of one cursor store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, query_id: str, run_id: str) -> Lease:
        """Take the query's lease.

        Raises:
            QueryAlreadyRunning: A runner that may be alive holds it, be it in this process.
        """
        nonce = secrets.token_hex(8)
        with self._database.write() as connection:
            self._database.insert_if_absent(connection, table, {"query_id": query_id, "token": 0})
            row = _row(connection, query_id, lock=True)
            now = self._database.now_us(connection)
            former = _info(row, now) if row is not None else None
            if former is not None and not former.may_be_taken:
                raise _already_running(former)
            # Not simply one more: a store that was lost or brought back from a backup would
            # give a token out twice, and Delta tables remember the greatest.
            token = max(now // _SECOND, 0 if row is None else int(row.token) + 1)
            connection.execute(
                update(table)
                .where(table.c.query_id == query_id)
                .values(
                    token=token,
                    nonce=nonce,
                    run_id=run_id,
                    holder=json.dumps(this_process().to_json()),
                    acquired_at=now,
                    renewed_at=now,
                    expires_at=now + TTL_SECONDS * _SECOND,
                )
            )
        return Lease(self._database, query_id, token, nonce, run_id, taken_over=former)

    def holder(self, query_id: str) -> LeaseInfo | None:
        """Who runs the query; ``None`` when nobody does, or who did is dead or silent."""
        with self._database.read() as connection:
            row = _row(connection, query_id, lock=False)
            info = None if row is None else _info(row, self._database.now_us(connection))
        return None if info is None or info.may_be_taken else info


class Lease:
    """A lease in hand. As a context manager it renews itself, and gives itself back at the end.

    Attributes:
        query_id: The query.
        token: Fencing token: greater than that of every holder before, for ever.
        run_id: The run it was taken for.
        taken_over: The holder that it was taken from because it was dead or silent, if any.
    """

    def __init__(
        self,
        database: Database,
        query_id: str,
        token: int,
        nonce: str,
        run_id: str,
        *,
        taken_over: LeaseInfo | None = None,
    ) -> None:
        self.query_id = query_id
        self.token = token
        self.run_id = run_id
        self.taken_over = taken_over
        self._nonce = nonce
        self._database = database
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Lease({self.query_id!r}, token={self.token})"

    @property
    def lost(self) -> bool:
        """True once it is known that another holder took over; never asks the database."""
        return self._lost.is_set()

    def check(self) -> None:
        """Make sure that the lease is still ours, with at least half of its time left.

        Raises:
            LeaseLost: Another runner took it over, or it was released.
            CursorStoreUnavailable: The database does not answer, so nobody knows.
        """
        with self._database.read() as connection:
            row = _row(connection, self.query_id, lock=False)
            self.verify(row)
            now = self._database.now_us(connection)
        if row is not None and row.expires_at - now < TTL_SECONDS * _SECOND // 2:
            self.renew()

    def renew(self) -> None:
        """Let it last its full time again, from now.

        Raises:
            LeaseLost: Another runner took it over, or it was released.
        """
        with fenced(self._database, self) as connection:
            now = self._database.now_us(connection)
            connection.execute(
                update(table)
                .where(table.c.query_id == self.query_id)
                .values(renewed_at=now, expires_at=now + TTL_SECONDS * _SECOND)
            )

    def release(self) -> None:
        """Give it back, so that the next runner need not wait; nothing if it is lost already."""
        self._stop_heartbeat()
        with self._database.write() as connection:
            connection.execute(
                update(table)
                .where(table.c.query_id == self.query_id)
                .where(table.c.token == self.token)
                .where(table.c.nonce == self._nonce)
                .values(nonce=None, run_id=None, holder=None, expires_at=None)
            )

    def verify(self, row: Row[Any] | None) -> None:
        """Compare with the lease's row as it was just read.

        Raises:
            LeaseLost: It is not ours (any more).
        """
        if row is not None and row.token == self.token and row.nonce == self._nonce:
            return
        self._lost.set()
        if row is None or row.nonce is None:
            who = "it was released"
        else:
            other = Holder.from_json(json.loads(row.holder))
            who = (
                f"run {row.run_id} (process {other.pid} on {other.host}) took it over at "
                f"{from_us(row.acquired_at):%Y-%m-%d %H:%M:%S} UTC"
            )
        raise LeaseLost(
            f"This run lost the lease of {self.query_id!r}: {who}",
            remedy="Nothing was written since. The other run goes on from the last sealed batch.",
        )

    def start_heartbeat(self, interval: float = HEARTBEAT_SECONDS) -> None:
        """Renew every ``interval`` seconds in a thread of its own, until released or lost."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._beat, args=(interval,), name=f"lease-{self.query_id}", daemon=True
            )
            self._thread.start()

    def __enter__(self) -> Self:
        self.start_heartbeat()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.release()
        except HeadwaterError as failure:
            # What the block raised matters more; a dead process's lease is taken over anyway.
            _log.warning("The lease of %r could not be released: %s", self.query_id, failure)

    def _beat(self, interval: float) -> None:
        pause = interval
        # A real wait, not the Clock's: the lease's time passes in the database.
        while not self._stop.wait(pause):
            try:
                self.renew()
                pause = interval
            except LeaseLost as lost:
                _log.error("%s", lost)
                return
            except Exception as failure:  # noqa: BLE001 - the thread must outlive any hiccup
                _log.warning("The lease of %r was not renewed: %s", self.query_id, failure)
                pause = min(interval, RETRY_SECONDS)

    def _stop_heartbeat(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None


@contextmanager
def fenced(database: Database, lease: Lease) -> Iterator[Connection]:
    """A write transaction that exists only while the lease is ours.

    The lease's row stays locked until the end, so nobody can take over in between.

    Raises:
        LeaseLost: The lease is not ours; nothing was written.
    """
    with database.write() as connection:
        lease.verify(_row(connection, lease.query_id, lock=True))
        yield connection


def _row(connection: Connection, query_id: str, *, lock: bool) -> Row[Any] | None:
    query = select(table).where(table.c.query_id == query_id)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def _info(row: Row[Any], now_us: int) -> LeaseInfo | None:
    if row.nonce is None:
        return None
    holder = Holder.from_json(json.loads(row.holder))
    return LeaseInfo(
        query_id=row.query_id,
        token=row.token,
        run_id=row.run_id,
        holder=holder,
        acquired_at=from_us(row.acquired_at),
        renewed_at=from_us(row.renewed_at),
        expires_at=from_us(row.expires_at),
        expired=row.expires_at <= now_us,
        alive=holder.is_alive(),
    )


def _already_running(held: LeaseInfo) -> QueryAlreadyRunning:
    return QueryAlreadyRunning(
        f"{held.query_id!r} is being run by {held}; last sign of life "
        f"{held.renewed_at:%H:%M:%S} UTC",
        remedy=(
            "Wait until it is done, or stop that process. Should it be dead already, its lease "
            f"ends by itself at {held.expires_at:%H:%M:%S} UTC."
        ),
    )
