"""Queries and their generations: what was declared, and which life of it is the current one."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, insert, select, update

from orchestration.cursors.database import from_us, load, store, to_us
from orchestration.cursors.leases import Lease, fenced
from orchestration.cursors.models import batches
from orchestration.cursors.models import generations as table
from orchestration.cursors.records import Generation
from orchestration.errors import CursorStoreError, UnknownQuery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ScalarSelect
    from sqlalchemy.engine import Connection, Row

    from orchestration.clock import Clock
    from orchestration.cursors.database import Database

__all__ = ["Queries", "generation_id", "writable_generation_id"]

_Status = Literal["active", "resetting", "retired"]


class Queries:
    """The queries that one cursor store remembers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, query_id: str) -> Generation | None:
        """The query's current generation, active or resetting; ``None`` if it never ran."""
        with self._database.read() as connection:
            return _current(connection, query_id)

    def all(self) -> list[Generation]:
        """The current generation of every query, by name."""
        query = select(table).where(table.c.status != "retired").order_by(table.c.query_id)
        with self._database.read() as connection:
            return [_generation(row) for row in connection.execute(query)]

    def register(
        self,
        query_id: str,
        fingerprint: Mapping[str, Any],
        *,
        input_schema: Mapping[str, str] | None = None,
    ) -> Generation:
        """Begin the query's first generation, unless it has one; either way return the current.

        No lease is needed: two who register at once get the same generation.
        """
        first = self._new(query_id, 1, "active", fingerprint, input_schema)
        with self._database.write() as connection:
            if _current(connection, query_id) is None:
                self._database.insert_if_absent(connection, table, _values(first))
            return _current(connection, query_id) or first

    def begin_reset(
        self,
        lease: Lease,
        fingerprint: Mapping[str, Any],
        *,
        input_schema: Mapping[str, str] | None = None,
    ) -> Generation:
        """Retire the current generation and begin the next, ``resetting`` and empty.

        While a reset is under way already (its process died) that one is gone on with, with the
        declaration of now.

        Raises:
            UnknownQuery: The query has no generation to retire.
            LeaseLost: The lease is not ours.
        """
        query_id = lease.query_id
        with fenced(self._database, lease) as connection:
            current = _current(connection, query_id)
            if current is None:
                raise UnknownQuery(
                    f"The cursor store does not know a query {query_id!r}, so there is nothing "
                    "to reset",
                    remedy="Run it first, or check the name: headwater status",
                )
            if current.status == "resetting":
                following = replace(
                    current,
                    fingerprint=dict(fingerprint),
                    input_schema=None if input_schema is None else dict(input_schema),
                )
                _update(connection, following)
                return following
            _update(connection, replace(current, status="retired"))
            following = self._new(
                query_id, current.number + 1, "resetting", fingerprint, input_schema
            )
            connection.execute(insert(table).values(_values(following)))
            return following

    def finish_reset(self, lease: Lease, generation: Generation) -> Generation:
        """Make a resetting generation the active one, after its reset was committed."""
        with fenced(self._database, lease) as connection:
            current = _require(connection, lease, generation)
            following = replace(current, status="active")
            _update(connection, following)
            return following

    def previous(self, generation: Generation) -> Generation | None:
        """The generation before, retired by a reset; ``None`` before the first."""
        query = (
            select(table)
            .where(table.c.query_id == generation.query_id)
            .where(table.c.number < generation.number)
            .order_by(table.c.number.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _generation(row)

    def update(
        self,
        lease: Lease,
        generation: Generation,
        *,
        fingerprint: Mapping[str, Any] | None = None,
        input_schema: Mapping[str, str] | None = None,
        table_ids: Mapping[str, str] | None = None,
    ) -> Generation:
        """Replace what is given; what is not stays as it is."""
        with fenced(self._database, lease) as connection:
            current = _require(connection, lease, generation)
            following = replace(
                current,
                fingerprint=current.fingerprint if fingerprint is None else dict(fingerprint),
                input_schema=current.input_schema if input_schema is None else dict(input_schema),
                table_ids=current.table_ids if table_ids is None else dict(table_ids),
            )
            _update(connection, following)
            return following

    def adopt(self, generation: Generation) -> None:
        """Take in a generation as it is, token and all (for rebuilding from the log files).

        One of the same number that never had a batch makes room; so does the status of a lower
        one, as only the highest is current.

        Raises:
            CursorStoreError: A generation of that number, with batches, has another token.
        """
        mine = table.c.query_id == generation.query_id
        with self._database.write() as connection:
            same = mine & (table.c.number == generation.number)
            row = connection.execute(select(table).where(same)).one_or_none()
            if row is None:
                connection.execute(insert(table).values(_values(generation)))
            else:
                if row.token != generation.token and _has_batches(connection, row.id):
                    raise CursorStoreError(
                        f"The cursor store knows generation {row.number} of {row.query_id!r} as "
                        f"{row.token}, and has batches of it; its log files say "
                        f"{generation.token}",
                        remedy="Move the cursor store away and rebuild into an empty one.",
                    )
                connection.execute(update(table).where(same).values(_values(generation)))
            highest = select(func.max(table.c.number)).where(mine).scalar_subquery()
            connection.execute(
                update(table).where(mine & (table.c.number < highest)).values(status="retired")
            )

    def _new(
        self,
        query_id: str,
        number: int,
        status: _Status,
        fingerprint: Mapping[str, Any],
        input_schema: Mapping[str, str] | None,
    ) -> Generation:
        return Generation(
            query_id=query_id,
            number=number,
            token=secrets.token_hex(4),
            status=status,
            fingerprint=dict(fingerprint),
            input_schema=None if input_schema is None else dict(input_schema),
            table_ids={},
            created_at=self._clock.now(),
        )


def generation_id(generation: Generation) -> ScalarSelect[int]:
    """The key of the generation's rows, as a subquery; null where the store does not know it."""
    return (
        select(table.c.id)
        .where(table.c.query_id == generation.query_id)
        .where(table.c.number == generation.number)
        .where(table.c.token == generation.token)
        .scalar_subquery()
    )


def writable_generation_id(
    connection: Connection, lease: Lease, number: int, *, retired: bool = False
) -> int:
    """The key of a generation of the lease's query that may still be written to.

    Args:
        connection: A fenced transaction.
        lease: The query's lease.
        number: The generation's number.
        retired: Take a retired one too (for rebuilding).

    Raises:
        CursorStoreError: The store does not know it, or a reset retired it.
    """
    query = (
        select(table.c.id, table.c.status)
        .where(table.c.query_id == lease.query_id)
        .where(table.c.number == number)
    )
    row = connection.execute(query).one_or_none()
    if row is None or (row.status == "retired" and not retired):
        found = "is not in the cursor store" if row is None else "was retired by a reset"
        raise CursorStoreError(
            f"Generation {number} of {lease.query_id!r} {found}, so no batch of it can be written",
            remedy="Start the run again; it reads which generation is the current one.",
        )
    return int(row.id)


def _current(connection: Connection, query_id: str) -> Generation | None:
    query = (
        select(table)
        .where(table.c.query_id == query_id)
        .where(table.c.status != "retired")
        .order_by(table.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _generation(row)


def _require(connection: Connection, lease: Lease, generation: Generation) -> Generation:
    writable_generation_id(connection, lease, generation.number)
    current = _current(connection, lease.query_id)
    if current is None or (current.app_id != generation.app_id):
        raise CursorStoreError(
            f"{generation.app_id} is not the current generation of {lease.query_id!r}; "
            f"that is {current.app_id if current else 'none'}",
            remedy="Start the run again; it reads which generation is the current one.",
        )
    return current


def _has_batches(connection: Connection, key: int) -> bool:
    query = select(batches.c.batch_id).where(batches.c.generation_id == key).limit(1)
    return connection.execute(query).first() is not None


def _update(connection: Connection, generation: Generation) -> None:
    connection.execute(
        update(table)
        .where(table.c.query_id == generation.query_id)
        .where(table.c.number == generation.number)
        .values(_values(generation))
    )


def _values(generation: Generation) -> dict[str, Any]:
    schema = generation.input_schema
    return {
        "query_id": generation.query_id,
        "number": generation.number,
        "token": generation.token,
        "status": generation.status,
        "created_at": to_us(generation.created_at),
        "fingerprint": store(generation.fingerprint),
        "input_schema": None if schema is None else store(schema),
        "table_ids": store(generation.table_ids),
    }


def _generation(row: Row[Any]) -> Generation:
    return Generation(
        query_id=row.query_id,
        number=row.number,
        token=row.token,
        status=row.status,
        fingerprint=load(row.fingerprint),
        input_schema=None if row.input_schema is None else json.loads(row.input_schema),
        table_ids=load(row.table_ids),
        created_at=from_us(row.created_at),
    )
