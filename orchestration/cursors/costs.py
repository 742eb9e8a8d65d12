"""What full reprocesses cost, and what the comparisons with them found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from orchestration.cursors.database import from_us, load, store, to_us
from orchestration.cursors.models import reprocesses, verifications

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestration.cursors.database import Database

__all__ = ["Costs", "Reprocess", "Verification"]


@dataclass(frozen=True, slots=True)
class Reprocess:
    """One full reprocess.

    Attributes:
        query_id: The query that it is the twin of.
        run_id: The run that did it.
        finished_at: Aware UTC.
        rows: Rows read.
        bytes: Bytes read.
        files: Files read.
        seconds: Time it took.
        table_version: Delta version of the twin's table that it committed.
        offsets: End offset by source: how much of the input it covers.
    """

    query_id: str
    run_id: str
    finished_at: datetime
    rows: int
    bytes: int
    files: int
    seconds: float
    table_version: int | None
    offsets: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verification:
    """One comparison of the incremental table with its twin.

    Attributes:
        query_id: The query.
        run_id: The run that compared.
        checked_at: Aware UTC.
        verdict: ``equal``, ``different`` or ``not comparable``.
        table_version: Delta version of the incremental table.
        twin_version: Delta version of the twin's table.
        offsets: End offset by source that both were held against.
        detail: Counts and sample rows, for people.
    """

    query_id: str
    run_id: str
    checked_at: datetime
    verdict: str
    table_version: int | None
    twin_version: int | None
    offsets: dict[str, Any]
    detail: dict[str, Any]


class Costs:
    """The records of one cursor store. They take no lease: the twin runs beside the query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_reprocess(
        self,
        query_id: str,
        *,
        offsets: Mapping[str, Any],
        rows: int,
        bytes: int,  # noqa: A002 - the word of the progress record
        files: int,
        seconds: float,
        table_version: int | None,
        finished_at: datetime,
        run_id: str,
    ) -> None:
        """Keep what a full reprocess cost; see :class:`Reprocess`."""
        with self._database.write() as connection:
            connection.execute(
                insert(reprocesses).values(
                    query_id=query_id,
                    run_id=run_id,
                    finished_at=to_us(finished_at),
                    rows=rows,
                    bytes=bytes,
                    files=files,
                    seconds=seconds,
                    table_version=table_version,
                    offsets=store(offsets),
                )
            )

    def reprocesses(self, query_id: str, limit: int | None = None) -> list[Reprocess]:
        """The query's full reprocesses, the newest first."""
        query = (
            select(reprocesses)
            .where(reprocesses.c.query_id == query_id)
            .order_by(reprocesses.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                Reprocess(
                    query_id=row.query_id,
                    run_id=row.run_id,
                    finished_at=from_us(row.finished_at),
                    rows=row.rows,
                    bytes=row.bytes,
                    files=row.files,
                    seconds=row.seconds,
                    table_version=row.table_version,
                    offsets=load(row.offsets),
                )
                for row in connection.execute(query)
            ]

    def record_verification(
        self,
        query_id: str,
        *,
        verdict: str,
        offsets: Mapping[str, Any],
        table_version: int | None,
        twin_version: int | None,
        detail: Mapping[str, Any],
        checked_at: datetime,
        run_id: str,
    ) -> None:
        """Keep what a comparison found; see :class:`Verification`."""
        with self._database.write() as connection:
            connection.execute(
                insert(verifications).values(
                    query_id=query_id,
                    run_id=run_id,
                    checked_at=to_us(checked_at),
                    verdict=verdict,
                    table_version=table_version,
                    twin_version=twin_version,
                    offsets=store(offsets),
                    detail=store(detail),
                )
            )

    def latest_verification(self, query_id: str) -> Verification | None:
        """The query's newest comparison; ``None`` if it was never compared."""
        query = (
            select(verifications)
            .where(verifications.c.query_id == query_id)
            .order_by(verifications.c.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Verification(
            query_id=row.query_id,
            run_id=row.run_id,
            checked_at=from_us(row.checked_at),
            verdict=row.verdict,
            table_version=row.table_version,
            twin_version=row.twin_version,
            offsets=load(row.offsets),
            detail=load(row.detail),
        )
