"""The micro-batch loop: exactly once, whatever crashes."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.cursors.records import BatchRecord, Plan, Seal, Slice, TableChanges
from orchestration.errors import BatchBlocked, HeadwaterError, LeaseLost, Transient
from orchestration.redaction import redact
from orchestration.runtime.cleaning import clean_orphans
from orchestration.runtime.execution import Written, run_batch, skip_batch
from orchestration.runtime.history import StoredHistory
from orchestration.runtime.preparation import prepare, remember_listing
from orchestration.runtime.progress import BatchProgress, Stopwatch
from orchestration.runtime.reporting import complete, drafted, measured
from orchestration.sinks.commit import BatchCommit, commit_batch
from orchestration.sources.base import Backlog, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestration.cursors.leases import Lease
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.runtime.triggers import Trigger

__all__ = ["MicroBatchRunner", "RunSummary"]

_EVERYTHING = Limits()
_TRIES = 15  # with the pauses between them a quarter of an hour at least
_LONGEST_PAUSE_SECONDS = 120.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RunSummary:
    """What one run did.

    Attributes:
        run_id: The run.
        batches: Progress of each batch it finished, in order.
        seen_files: Files in the ledger after it, where the source has any.
        backlog: What was left when it ended.
        notes: Named oddities: rewritten or missing files, files still being written.
        waiting: Why nothing could run at all, where that is so.
    """

    run_id: str
    batches: list[BatchProgress] = field(default_factory=list)
    seen_files: int = 0
    backlog: Backlog | None = None
    notes: tuple[str, ...] = ()
    waiting: str | None = None


class MicroBatchRunner:
    """Runs a query's micro-batches.

    The protocol, numbered as in the body:

    0. **Lease.** One runner per query; its fencing token guards every write to the cursor store.
    1. **Recover.** A sealed batch is committed from its seal, nothing is computed. A planned
       batch without a seal is run again, the same range at the same timestamp. A committed batch
       is acknowledged.
    2. **Plan.** Ask the source how far it goes, cut by the limits, fix the timestamp.
    3. **Log.** Insert the plan, put-if-absent: the write-ahead log.
    4. **Run.** Read exactly the range and write files named after batch and attempt.
    5. **Seal.** Put-if-absent: from here the batch's result is decided.
    6. **Commit to Delta**, quarantine before sink, each under ``txn(generation, batch id)``.
    7. **Mark committed** in the cursor store.
    8. **Acknowledge** to the source.
    9. **Next**, as the trigger says.

    Args:
        session: The opened query.
        reach: Called at each crash point.
        on_batch: Called with the progress of each finished batch.
        on_plan: Called with each new plan and what is left after it, before it runs.
        stop: Set it to end after the batch in hand.
    """

    def __init__(
        self,
        session: Session,
        *,
        reach: Reach,
        on_batch: Callable[[BatchProgress], None] | None = None,
        on_plan: Callable[[Plan, Backlog], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._session = session
        self._store = session.store
        self._reach = reach
        self._on_batch = on_batch or (lambda _: None)
        self._on_plan = on_plan or (lambda _plan, _left: None)
        self._stop = stop or threading.Event()
        self._run_id = str(uuid.uuid4())
        self._summary = RunSummary(self._run_id)
        self._rest: Backlog | None = None
        # Since the last thing that worked; None before the first.
        self._failed_tries: int | None = None

    def run(self, trigger: Trigger) -> RunSummary:
        """Recover, then run batches as the trigger says.

        Raises:
            QueryAlreadyRunning: Another runner holds the lease.
            LeaseLost: It was taken over meanwhile; nothing more was written.
            BatchBlocked: A batch failed too often and waits for a person.
            HeadwaterError: Whatever went wrong; the next run goes on from there.
        """
        session = self._session
        # 0. Lease
        with self._store.leases.acquire(session.query.name, self._run_id) as lease:
            if not prepare(session, lease):
                self._summary.waiting = "no file to infer the schema from yet"
                return self._summary
            while True:
                try:
                    # 1. Recover
                    replayed = self._recover(lease)
                    # 9. Next, as the trigger says
                    history = StoredHistory(self._store, session.generation, session.source.name)
                    for watch, part in self._slices(lease, trigger, history, replayed=replayed):
                        self._one_batch(lease, history, watch, part)
                    break
                except HeadwaterError as error:
                    self._outlast(error, trigger)
            self._summary.seen_files = self._store.ledger.count(
                session.generation, session.source.name
            )
            self._summary.backlog = self._rest
        return self._summary

    def _outlast(self, error: HeadwaterError, trigger: Trigger) -> None:
        """Wait where a query that stays up may go on after ``error``; else raise it.

        What fails from the start is a mistake in the set-up and has to show at once; what
        worked before and keeps failing is given up in the end.
        """
        tries = self._failed_tries
        if trigger.interval is None or not isinstance(error, Transient):
            raise error
        if tries is None or tries >= _TRIES or self._stop.is_set():
            raise error
        self._failed_tries = tries + 1
        pause = max(trigger.interval.total_seconds(), min(2.0**tries, _LONGEST_PAUSE_SECONDS))
        _log.warning(
            "query %r goes on in %g s after a failure that may pass: %s",
            self._session.query.name,
            pause,
            redact(str(error)),
        )
        self._session.clock.wait(self._stop, pause)

    # -- 1 ----------------------------------------------------------------------------------------

    def _recover(self, lease: Lease) -> bool:
        """Finish what an earlier run left; true when that was a whole batch."""
        last = self._store.batches.last(self._session.generation, with_files=False)
        if last is None or last.acked_at is not None:
            return False
        record = self._store.batches.get(self._session.generation, last.plan.batch_id) or last
        if record.committed_at is not None:
            self._acknowledge(lease, record.plan)
            return False
        watch = Stopwatch(self._session.clock)
        self._session.log.write_plan(record.plan)  # the crash may have come before its file
        if record.seal is not None:
            self._session.log.write_seal(record.plan.batch_id, record.seal)
            self._finish(lease, record.plan, record.seal, watch, replayed=True)
            return True
        if record.blocked and not record.skip:
            raise self._blocked(record)
        self._carry_out(lease, record.plan, watch, replayed=True, skip=record)
        return True

    # -- 2 ----------------------------------------------------------------------------------------

    def _slices(
        self, lease: Lease, trigger: Trigger, history: StoredHistory, *, replayed: bool
    ) -> Iterator[tuple[Stopwatch, Slice]]:
        """The ranges to run, one at a time, until the trigger has enough."""
        source, clock = self._session.source, self._session.clock
        limits = _EVERYTHING if trigger.kind == "once" else source.limits.tightened(trigger)
        if trigger.kind == "once" and replayed:
            return
        while not self._stop.is_set():
            started = clock.monotonic()
            watch = Stopwatch(clock)
            backlog = source.poll(history, clock=clock, settings=self._session.settings)
            self._summary.notes = backlog.notes
            watch.lap("latest_offset")
            if backlog.empty:
                self._failed_tries = 0
            if backlog.empty and backlog.listing != history.listing:
                remember_listing(self._session, lease, backlog.listing)
                history.remember(backlog.listing)
            while not backlog.empty and not self._stop.is_set():
                part, backlog = source.take(backlog, limits, settings=self._session.settings)
                self._rest = backlog
                yield watch, part
                watch = Stopwatch(clock)
                if trigger.kind != "available_now":
                    break
            self._rest = backlog
            if trigger.interval is None:
                return
            spent = clock.monotonic() - started
            clock.wait(self._stop, trigger.interval.total_seconds() - spent)

    def _one_batch(
        self, lease: Lease, history: StoredHistory, watch: Stopwatch, part: Slice
    ) -> None:
        session = self._session
        # 2. Plan
        last = self._store.batches.last(session.generation, with_files=False)
        plan = Plan(
            query_id=session.query.name,
            generation=session.generation.number,
            batch_id=last.plan.batch_id + 1 if last else 0,
            run_id=self._run_id,
            timestamp=session.clock.now(),
            slices=(part,),
        )
        watch.lap("plan")
        # 3. Log
        listing = self._rest.listing if self._rest else None
        self._store.batches.plan(lease, plan, listing=listing)
        session.log.write_plan(plan)
        history.advance(part, listing)
        watch.lap("log")
        self._reach("after_plan_log")
        if self._rest is not None:
            self._on_plan(plan, self._rest)
        self._carry_out(lease, plan, watch)

    # -- 4 and 5 ----------------------------------------------------------------------------------

    def _carry_out(
        self,
        lease: Lease,
        plan: Plan,
        watch: Stopwatch,
        *,
        replayed: bool = False,
        skip: BatchRecord | None = None,
    ) -> None:
        session = self._session
        lease.check()
        # 4. Run
        # The generation first: file names must not look like those of one before a reset.
        attempt = f"{session.generation.token}-{lease.token}-{uuid.uuid4().hex[:12]}"
        prefix = f"part-{plan.batch_id:010d}-{attempt}"
        written = self._write(lease, plan, prefix, skip)
        watch.lap("read_and_compute")
        self._reach("after_write")
        # 5. Seal
        lease.check()
        seal = Seal(
            plan_hash=plan.hash,
            attempt=attempt,
            tables={
                "quarantine": TableChanges(written.quarantine),
                "sink": TableChanges(written.sink),
            },
            progress=drafted(session, plan, written, watch, skipped=bool(skip and skip.skip)),
        )
        self._store.batches.seal(lease, session.generation, plan.batch_id, seal)
        session.log.write_seal(plan.batch_id, seal)
        watch.lap("seal")
        self._reach("after_seal")
        if replayed:
            clean_orphans(session, lease, plan.batch_id, seal)
        self._finish(lease, plan, seal, watch, replayed=replayed)

    def _write(self, lease: Lease, plan: Plan, prefix: str, skip: BatchRecord | None) -> Written:
        session = self._session
        if skip is not None and skip.skip:
            failure = f"; it had failed: {skip.last_error}" if skip.last_error else ""
            reason = f"batch {plan.batch_id} was skipped by hand{failure}"
            return skip_batch(session, plan, prefix, reason)
        try:
            return run_batch(session, plan, prefix, self._reach)
        except LeaseLost:
            raise
        except Exception as error:
            if not isinstance(error, Transient):
                self._store.batches.fail(
                    lease,
                    session.generation,
                    plan.batch_id,
                    type(error).__name__,
                    redact(str(error)),
                    limit=session.settings.max_failures,
                )
            raise

    # -- 6, 7 and 8 -------------------------------------------------------------------------------

    def _finish(
        self, lease: Lease, plan: Plan, seal: Seal, watch: Stopwatch, *, replayed: bool = False
    ) -> None:
        session = self._session
        # 6. Commit to Delta
        versions: dict[str, int] = {}
        for role in ("quarantine", "late", "sink"):
            changes = seal.tables.get(role)
            if changes:
                versions[role] = self._commit(lease, plan, seal, role)
            self._reach(f"after_{role}_commit")
        watch.lap("commit")
        # 7. Mark committed
        lease.check()
        draft = BatchProgress.from_json(seal.progress)
        version = versions.get("sink", self._last_version(plan.batch_id))
        progress = complete(draft, version, versions, watch, replayed=replayed)
        self._store.batches.commit(lease, session.generation, plan.batch_id, progress.to_json())
        watch.lap("mark_committed")
        self._reach("after_mark_committed")
        # 8. Acknowledge
        self._acknowledge(lease, plan)
        self._reach("after_ack")
        done = measured(progress, watch)
        self._summary.batches.append(done)
        self._failed_tries = 0
        self._on_batch(done)

    def _commit(self, lease: Lease, plan: Plan, seal: Seal, role: str) -> int:
        session = self._session
        generation = session.generation
        table = session.sink_table if role == "sink" else session.quarantine_table
        known = generation.table_ids.get(role)
        if known is None:  # the quarantine table comes with the first bad record
            known = table.ensure(None)
            generation = self._store.queries.update(
                lease, generation, table_ids={**generation.table_ids, role: known}
            )
            session.adopt(generation)
        batch = BatchCommit(
            batch_id=plan.batch_id,
            attempt=seal.attempt,
            plan_hash=seal.plan_hash,
            adds=seal.tables[role].adds,
            details={
                "query": plan.query_id,
                "run_id": plan.run_id,
                "offsets": {
                    part.source: {"start": part.start, "end": part.end} for part in plan.slices
                },
            },
        )
        return commit_batch(table, known, batch, still_ours=lease.check).version

    def _last_version(self, batch_id: int) -> int | None:
        """The sink's version as of the batch before, for a batch that adds nothing to it."""
        if batch_id == 0:
            return None
        before = self._store.batches.get(self._session.generation, batch_id - 1, with_files=False)
        version = before and before.progress.get("sink", {}).get("version")
        return version if isinstance(version, int) else None

    def _acknowledge(self, lease: Lease, plan: Plan) -> None:
        for part in plan.slices:
            self._session.source.acknowledge(part)
        self._store.batches.acknowledge(lease, self._session.generation, plan.batch_id)

    def _blocked(self, record: BatchRecord) -> BatchBlocked:
        plan, name = record.plan, self._session.query.name
        files = [item.path for part in plan.slices for item in part.files]
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        return BatchBlocked(
            f"batch {plan.batch_id} of query {name!r} failed {record.failures} times the same "
            f"way and is blocked; it reads {shown or [part.end for part in plan.slices]}. "
            f"The failure: {record.last_error}",
            remedy=f"mend the cause and 'headwater retry {name}', or "
            f"'headwater skip {name} --to-quarantine' to set these files aside and go on",
        )
