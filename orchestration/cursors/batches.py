"""The batch log: plan, seal, commit, acknowledge, each written once and only under the lease.

Illegal states are refused when they would be written, not found when they are read: a gap in the
batch ids, a plan that does not start where the one before ended, a plan on top of a batch that
was never committed, a seal for another plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from orchestration.cursors.database import load, store, to_us
from orchestration.cursors.failures import Failures
from orchestration.cursors.history import BUG, batch_is, require_batch
from orchestration.cursors.leases import Lease, fenced
from orchestration.cursors.ledger import insert_files, save_source
from orchestration.cursors.models import batches as table
from orchestration.cursors.models import sources
from orchestration.cursors.queries import generation_id, writable_generation_id
from orchestration.errors import CursorStoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from orchestration.clock import Clock
    from orchestration.cursors.database import Database
    from orchestration.cursors.records import Generation, Plan, Seal

__all__ = ["Batches"]

# What the sums over batches are made of: column, and the key in the progress record.
_SUMS = ("rows_in", "rows_out", "rows_bad", "bytes_in", "files_in", "seconds")


class Batches(Failures):
    """The batch log of one cursor store.

    Every write raises :class:`~orchestration.errors.LeaseLost` when the lease is not ours, and
    :class:`~orchestration.errors.CursorStoreError` when it does not fit what is there; both leave
    everything as it was. A write that was made already, with the same content, is done.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database)
        self._clock = clock

    def plan(
        self,
        lease: Lease,
        plan: Plan,
        *,
        listings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Log a plan, its files and the sources' listings, if the batch has none yet.

        Args:
            lease: The query's lease.
            plan: What the batch will read.
            listings: What sources want remembered of their listings, by name.
        """
        listings = listings or {}
        strangers = listings.keys() - {part.source for part in plan.slices}
        if strangers:
            raise CursorStoreError(
                f"Batch {plan.batch_id} of {plan.query_id!r} has a listing of "
                f"{', '.join(sorted(strangers))}, and no slice",
                remedy=BUG,
            )
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, plan.generation)
            if plan.query_id != lease.query_id:
                raise CursorStoreError(
                    f"A plan of {plan.query_id!r} under the lease of {lease.query_id!r}",
                    remedy=BUG,
                )
            if self._is_planned(connection, key, plan):
                return
            self._check_follows(connection, key, plan)
            self._insert(connection, key, plan, self._clock.now())
            for name, listing in listings.items():
                save_source(self._database, connection, key, name, listing=listing)

    def seal(
        self,
        lease: Lease,
        generation: Generation,
        batch_id: int,
        seal: Seal,
        *,
        replaces: str | None = None,
    ) -> None:
        """Decide a batch's result, if it is not decided yet.

        Args:
            lease: The query's lease.
            generation: The query's life.
            batch_id: The batch.
            seal: Its result.
            replaces: The attempt whose seal this one replaces, when a rebuilt upsert must: only
                if that is the one there, and the batch is not committed.
        """
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, generation.number)
            row = require_batch(connection, lease, key, batch_id)
            if row.attempt == seal.attempt:
                return
            if row.plan_hash != seal.plan_hash:
                raise CursorStoreError(
                    f"Batch {batch_id} of {lease.query_id!r} has plan {row.plan_hash}; the seal "
                    f"is for plan {seal.plan_hash}",
                    remedy=BUG,
                )
            if row.attempt != replaces or row.committed_at is not None:
                raise CursorStoreError(
                    f"Batch {batch_id} of {lease.query_id!r} is decided already by attempt "
                    f"{row.attempt}; attempt {seal.attempt} comes too late",
                    remedy="Start the run again; it finishes the batch from its seal.",
                )
            connection.execute(
                update(table)
                .where(batch_is(key, batch_id))
                .values(
                    attempt=seal.attempt,
                    sealed_at=to_us(self._clock.now()),
                    seal=store(seal.to_json()),
                )
            )

    def commit(
        self,
        lease: Lease,
        generation: Generation,
        batch_id: int,
        progress: Mapping[str, Any],
    ) -> None:
        """Mark a sealed batch committed, with its final progress.

        The sums that :meth:`totals` and :meth:`runs` give are taken from the keys ``rows_in``,
        ``rows_out``, ``rows_bad`` (quarantined), ``bytes_in``, ``files_in`` and ``seconds``.
        """
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, generation.number)
            row = require_batch(connection, lease, key, batch_id)
            if row.committed_at is not None:
                return
            if row.attempt is None:
                raise CursorStoreError(
                    f"Batch {batch_id} of {lease.query_id!r} is not sealed, so it cannot be "
                    "committed",
                    remedy=BUG,
                )
            _mark_committed(connection, key, batch_id, progress, self._clock.now())

    def acknowledge(self, lease: Lease, generation: Generation, batch_id: int) -> None:
        """Mark a committed batch as acknowledged to its sources."""
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, generation.number)
            row = require_batch(connection, lease, key, batch_id)
            if row.committed_at is None:
                raise CursorStoreError(
                    f"Batch {batch_id} of {lease.query_id!r} is not committed, so its sources "
                    "must keep it",
                    remedy=BUG,
                )
            if row.acked_at is None:
                connection.execute(
                    update(table)
                    .where(batch_is(key, batch_id))
                    .values(acked_at=to_us(self._clock.now()))
                )

    def forget_commit(self, generation: Generation, batch_id: int) -> None:
        """Undo :meth:`commit` of the last batch, as if the crash had come before it.

        For tests of recovery; it takes no lease, so nothing may be running.
        """
        last = self.last(generation, with_files=False)
        if last is None or last.plan.batch_id != batch_id:
            raise CursorStoreError(
                f"Batch {batch_id} of {generation.query_id!r} is not its last one",
                remedy="Forget the last batch's commit only: the others have successors.",
            )
        with self._database.write() as connection:
            connection.execute(
                update(table)
                .where(table.c.generation_id == generation_id(generation))
                .where(table.c.batch_id == batch_id)
                .values(committed_at=None, acked_at=None, progress=None, **dict.fromkeys(_SUMS, 0))
            )

    def restore(
        self,
        lease: Lease,
        plan: Plan,
        seal: Seal | None,
        *,
        sealed_at: datetime,
        committed: bool,
    ) -> bool:
        """Enter a batch from its log files, or what of it is missing; true when anything was.

        Retired generations are entered too. A batch that is committed counts as acknowledged.
        """
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, plan.generation, retired=True)
            changed = not self._is_planned(connection, key, plan)
            if changed:
                self._check_follows(connection, key, plan)
                self._insert(connection, key, plan, plan.timestamp)
            row = require_batch(connection, lease, key, plan.batch_id)
            if row.committed_at is not None:
                return changed
            if seal is not None and row.attempt != seal.attempt:
                # Also over another seal: a store that is behind may hold one since replaced.
                changed = True
                connection.execute(
                    update(table)
                    .where(batch_is(key, plan.batch_id))
                    .values(
                        attempt=seal.attempt,
                        sealed_at=to_us(sealed_at),
                        seal=store(seal.to_json()),
                        # Or the twin would read what a person had set aside.
                        skip=bool(seal.progress.get("skipped")),
                    )
                )
            if committed:
                changed = True
                row = require_batch(connection, lease, key, plan.batch_id)
                if row.seal is None:
                    raise CursorStoreError(
                        f"Batch {plan.batch_id} of {lease.query_id!r} has a batch after it, and "
                        "no seal",
                        remedy="Bring its .seal.json file back from a backup, or reset the query.",
                    )
                progress = load(row.seal)["progress"]
                _mark_committed(connection, key, plan.batch_id, progress, sealed_at, acked=True)
            return changed

    def _insert(self, connection: Connection, key: int, plan: Plan, planned_at: datetime) -> None:
        connection.execute(
            insert(table).values(
                generation_id=key,
                batch_id=plan.batch_id,
                run_id=plan.run_id,
                plan_hash=plan.hash,
                planned_at=to_us(planned_at),
                blocked=False,
                skip=False,
                plan=store(plan.to_json(with_files=False)),
            )
        )
        for part in plan.slices:
            insert_files(self._database, connection, key, plan.batch_id, part)
            save_source(self._database, connection, key, part.source, end=part.end)

    def _is_planned(self, connection: Connection, key: int, plan: Plan) -> bool:
        query = select(table.c.plan_hash).where(batch_is(key, plan.batch_id))
        found = connection.execute(query).scalar_one_or_none()
        if found is not None and found != plan.hash:
            raise CursorStoreError(
                f"Batch {plan.batch_id} of {plan.query_id!r} is planned already, with another "
                f"range or other files (plan {found}, not {plan.hash})",
                remedy="Start the run again; it runs the batch as it was planned first.",
            )
        return found is not None

    @staticmethod
    def _check_follows(connection: Connection, key: int, plan: Plan) -> None:
        query = (
            select(table.c.batch_id, table.c.committed_at)
            .where(table.c.generation_id == key)
            .order_by(table.c.batch_id.desc())
            .limit(1)
        )
        last = connection.execute(query).one_or_none()
        expected = 0 if last is None else last.batch_id + 1
        if plan.batch_id != expected:
            raise CursorStoreError(
                f"Batch {plan.batch_id} of {plan.query_id!r} would leave a gap: the next one is "
                f"{expected}",
                remedy=BUG,
            )
        if last is not None and last.committed_at is None:
            raise CursorStoreError(
                f"Batch {plan.batch_id} of {plan.query_id!r} cannot be planned: batch "
                f"{last.batch_id} is not committed yet",
                remedy=BUG,
            )
        ends = {
            row.source: load(row.planned_end)
            for row in connection.execute(select(sources).where(sources.c.generation_id == key))
        }
        for part in plan.slices:
            # Where nothing was planned yet, the source says where it starts.
            end = ends.get(part.source)
            if end and part.start != end:
                raise CursorStoreError(
                    f"Batch {plan.batch_id} of {plan.query_id!r} would read {part.source!r} from "
                    f"{part.start}; the batch before ended at {end}",
                    remedy=BUG,
                )


def _mark_committed(
    connection: Connection,
    key: int,
    batch_id: int,
    progress: Mapping[str, Any],
    at: datetime,
    *,
    acked: bool = False,
) -> None:
    connection.execute(
        update(table)
        .where(batch_is(key, batch_id))
        .values(
            committed_at=to_us(at),
            acked_at=to_us(at) if acked else None,
            progress=store(progress),
            failures=0,
            failure_kind=None,
            blocked=False,
            **{name: progress.get(name) or 0 for name in _SUMS},
        )
    )
