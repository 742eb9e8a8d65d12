"""Reading the batch log: single batches, histories, sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from orchestration.cursors.database import from_us, load
from orchestration.cursors.ledger import read_files
from orchestration.cursors.models import batches as table
from orchestration.cursors.models import files
from orchestration.cursors.queries import generation_id
from orchestration.cursors.records import BatchRecord, FileEntry, Generation, Plan, Seal
from orchestration.errors import CursorStoreError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.engine import Connection, Row

    from orchestration.cursors.database import Database
    from orchestration.cursors.leases import Lease

__all__ = ["BUG", "History", "RunTotals", "batch_is", "require_batch"]

#: Remedy for what only a mistake of ours can bring about.
BUG = "This is a bug in Headwater. Nothing was written; please report it."


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What one run committed.

    Attributes:
        run_id: The run that planned the batches.
        started: When it planned its first batch, aware UTC.
        finished: When its last batch was committed, aware UTC.
        batches: Batches committed.
        rows: Rows read.
        rows_out: Rows written to the sink.
        rows_quarantined: Records set aside.
        bytes: Bytes read.
        files: Files read.
        seconds: Time that the batches took.
    """

    run_id: str
    started: datetime
    finished: datetime
    batches: int
    rows: int
    rows_out: int
    rows_quarantined: int
    bytes: int
    files: int
    seconds: float


def _sums() -> list[ColumnElement[Any]]:
    names = ("rows_in", "rows_out", "rows_bad", "bytes_in", "files_in", "seconds")
    columns = [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in names]
    return [func.count().label("batches"), *columns]


class History:
    """What the batch log tells. Reads need no lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, generation: Generation, *, with_files: bool = True) -> BatchRecord | None:
        """The batch of the highest id; ``None`` before the first."""
        query = _of(generation).order_by(table.c.batch_id.desc()).limit(1)
        return self._one(generation, query, with_files=with_files)

    def get(
        self, generation: Generation, batch_id: int, *, with_files: bool = True
    ) -> BatchRecord | None:
        """One batch, or ``None``."""
        query = _of(generation).where(table.c.batch_id == batch_id)
        return self._one(generation, query, with_files=with_files)

    def history(
        self,
        generation: Generation,
        limit: int | None = None,
        *,
        newest_first: bool = True,
        with_files: bool = False,
    ) -> list[BatchRecord]:
        """Batches in order of their ids.

        Args:
            generation: The query's life.
            limit: How many at most.
            newest_first: From the highest id downwards.
            with_files: With the plans' lists of files. Without them :attr:`Plan.hash` is another.
        """
        order = table.c.batch_id.desc() if newest_first else table.c.batch_id
        query = _of(generation).order_by(order).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            return [_record(connection, generation, row, with_files=with_files) for row in rows]

    def count(self, generation: Generation) -> int:
        """How many batches were planned."""
        query = select(func.max(table.c.batch_id)).where(_is_of(generation))
        with self._database.read() as connection:
            highest = connection.execute(query).scalar()
            return 0 if highest is None else int(highest) + 1

    def skipped_files(self, generation: Generation, source: str) -> frozenset[str]:
        """Paths whose latest version went to quarantine unread, because a person said so."""
        mine = files.c.generation_id == generation_id(generation)
        skipped = select(table.c.batch_id).where(_is_of(generation), table.c.skip.is_(True))
        with self._database.read() as connection:
            batch_ids = connection.execute(skipped).scalars().all()
            if not batch_ids:
                return frozenset()
            latest = (
                select(func.max(files.c.seq))
                .where(mine, files.c.source == source)
                .group_by(files.c.path)
            )
            query = select(files.c.path).where(
                mine,
                files.c.source == source,
                files.c.batch_id.in_(batch_ids),
                files.c.seq.in_(latest),
            )
            return frozenset(connection.execute(query).scalars())

    def totals(self, generation: Generation) -> dict[str, int | float]:
        """Sums over all committed batches.

        Returns:
            ``batches``, ``runs``, ``rows`` (read), ``rows_out`` (written), ``rows_quarantined``,
            ``bytes`` and ``files`` (read), ``seconds``.
        """
        query = select(*_sums(), func.count(table.c.run_id.distinct()).label("runs")).where(
            _is_of(generation), table.c.committed_at.is_not(None)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one()
        return {"runs": int(row.runs), **_totals(row)}

    def rows_through(self, generation: Generation, batch_id: int) -> int:
        """Rows written to the sink by the committed batches up to and with ``batch_id``."""
        query = select(func.coalesce(func.sum(table.c.rows_out), 0)).where(
            _is_of(generation), table.c.committed_at.is_not(None), table.c.batch_id <= batch_id
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def runs(self, generation: Generation, limit: int | None = None) -> list[RunTotals]:
        """Sums per run over its committed batches, the newest run first."""
        query = (
            select(
                table.c.run_id,
                func.min(table.c.planned_at).label("started"),
                func.max(table.c.committed_at).label("finished"),
                *_sums(),
            )
            .where(_is_of(generation), table.c.committed_at.is_not(None))
            .group_by(table.c.run_id)
            .order_by(func.max(table.c.batch_id).desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                RunTotals(
                    run_id=row.run_id,
                    started=from_us(row.started),
                    finished=from_us(row.finished),
                    **_totals(row),
                )
                for row in connection.execute(query)
            ]

    def _one(
        self, generation: Generation, query: Select[Any], *, with_files: bool
    ) -> BatchRecord | None:
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            return _record(connection, generation, row, with_files=with_files)


def batch_is(key: int, batch_id: int) -> ColumnElement[bool]:
    """The condition that picks one batch; ``key`` is the generation's."""
    return (table.c.generation_id == key) & (table.c.batch_id == batch_id)


def require_batch(connection: Connection, lease: Lease, key: int, batch_id: int) -> Row[Any]:
    """The batch's row.

    Raises:
        CursorStoreError: It was never planned.
    """
    row = connection.execute(select(table).where(batch_is(key, batch_id))).one_or_none()
    if row is None:
        raise CursorStoreError(
            f"Batch {batch_id} of {lease.query_id!r} was never planned", remedy=BUG
        )
    return row


def _is_of(generation: Generation) -> ColumnElement[bool]:
    return table.c.generation_id == generation_id(generation)


def _of(generation: Generation) -> Select[Any]:
    return select(table).where(_is_of(generation))


def _totals(row: Any) -> dict[str, Any]:
    # PostgreSQL sums BIGINT into NUMERIC.
    return {
        "batches": int(row.batches),
        "rows": int(row.rows_in),
        "rows_out": int(row.rows_out),
        "rows_quarantined": int(row.rows_bad),
        "bytes": int(row.bytes_in),
        "files": int(row.files_in),
        "seconds": float(row.seconds),
    }


def _record(
    connection: Connection, generation: Generation, row: Row[Any], *, with_files: bool
) -> BatchRecord:
    plan = load(row.plan)
    entries: dict[str, tuple[FileEntry, ...]] = {}
    if with_files:
        for part in plan["slices"]:
            if part["n_files"]:
                first = part["start"].get("files", 0)
                entries[part["source"]] = read_files(
                    connection, generation, part["source"], first, first + part["n_files"]
                )
    progress = {} if row.progress is None else load(row.progress)
    return BatchRecord(
        plan=Plan.from_json(plan, entries),
        seal=None if row.seal is None else Seal.from_json(load(row.seal)),
        planned_at=from_us(row.planned_at),
        sealed_at=_moment(row.sealed_at),
        committed_at=_moment(row.committed_at),
        acked_at=_moment(row.acked_at),
        failures=row.failures,
        last_error=row.last_error,
        blocked=row.blocked,
        progress=progress,
        skip=row.skip,
    )


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_us(value)
