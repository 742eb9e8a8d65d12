"""The micro-batch loop: exactly once, whatever crashes."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration.cursors.records import BatchRecord, Plan, Seal
from orchestration.errors import HeadwaterError, LeaseLost, Transient
from orchestration.redaction import redact
from orchestration.runtime.blocked import blocked, skip_reason
from orchestration.runtime.cleaning import clean_orphans, clean_state
from orchestration.runtime.commits import commit_tables, last_version
from orchestration.runtime.event_time import closes_something, next_event_time
from orchestration.runtime.execution import Written, run_batch, skip_batch
from orchestration.runtime.inputs import Backlogs, Inputs, NextBatch
from orchestration.runtime.preparation import prepare, remember_listing
from orchestration.runtime.progress import BatchProgress, Stopwatch
from orchestration.runtime.reporting import complete, drafted, measured
from orchestration.runtime.stateful import Attempt, run_stateful
from orchestration.runtime.statics import resolve_statics
from orchestration.runtime.summary import RunSummary
from orchestration.state.watermarks import EventTimePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import JsonDict
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.runtime.triggers import Trigger
    from orchestration.sources.base import Backlog

__all__ = ["MicroBatchRunner", "RunSummary"]

_TRIES = 15  # with the pauses between them a quarter of an hour at least
_LONGEST_PAUSE_SECONDS = 120.0
_log = logging.getLogger(__name__)


class MicroBatchRunner:
    """Runs a query's micro-batches.

    The protocol, numbered as in the body:

    0. **Lease.** One runner per query; its fencing token guards every write to the cursor store.
    1. **Recover.** A sealed batch is committed from its seal, nothing is computed. A planned
       batch without a seal is run again, the same ranges by the same watermarks at the same
       timestamp. A committed batch is acknowledged.
    2. **Plan.** Ask the sources how far they go, cut by the limits, fix watermarks, versions of
       static tables, and the timestamp. Nothing new, but the watermark has passed what the last
       batch used: a batch without data.
    3. **Log.** Insert the plan, put-if-absent: the write-ahead log.
    4. **Run.** Read exactly the ranges, compute against the state of the batch before, and write
       files named after batch and attempt: for every table, and the state after it.
    5. **Seal.** Put-if-absent: from here the batch's result is decided.
    6. **Commit to Delta**, in the order quarantine, late, sink, each under ``txn(generation,
       batch id)``. An upsert whose table others changed is rebuilt, under a new seal.
    7. **Mark committed** in the cursor store.
    8. **Acknowledge** to the sources.
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
        self._on_plan = on_plan
        self._stop = stop or threading.Event()
        self._run_id = str(uuid.uuid4())
        self._summary = RunSummary(self._run_id)
        self._rest: Backlogs | None = None
        # Since the last thing that worked; None before the first.
        self._failed_tries: int | None = None

    def run(self, trigger: Trigger, *, flush_us: int | None = None) -> RunSummary:
        """Recover, then run batches as the trigger says.

        Args:
            trigger: When to run them, and how many.
            flush_us: Instead of what it says, run one batch without data whose watermark is this
                at least, microseconds since 1970; none where a batch has had such a watermark.

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
                    inputs = self._inputs()
                    for following in (
                        self._following(lease, trigger, inputs, replayed=replayed)
                        if flush_us is None
                        else self._flushing(inputs, flush_us)
                    ):
                        self._one_batch(lease, inputs, following)
                    break
                except HeadwaterError as error:
                    self._outlast(error, trigger)
            self._summary.seen_files = sum(
                self._store.ledger.count(session.generation, name) for name in session.sources
            )
            self._summary.backlog = self._rest.merged if self._rest else None
        return self._summary

    def _inputs(self) -> Inputs:
        session = self._session
        return Inputs.of(session, session.generation)

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
            raise blocked(record)
        before = None
        if not self._session.is_plain and record.plan.batch_id > 0:
            before = self._store.batches.get(
                self._session.generation, record.plan.batch_id - 1, with_files=False
            )
        self._carry_out(lease, record.plan, watch, before=before, replayed=True, skip=record)
        return True

    # -- 2 ----------------------------------------------------------------------------------------

    def _following(
        self, lease: Lease, trigger: Trigger, inputs: Inputs, *, replayed: bool
    ) -> Iterator[NextBatch]:
        """The batches to run, one at a time, until the trigger has enough."""
        clock = self._session.clock
        if trigger.kind == "once" and replayed:
            return
        while not self._stop.is_set():
            started = clock.monotonic()
            watch = Stopwatch(clock)
            waiting = inputs.poll()
            self._summary.notes = waiting.notes
            watch.lap("latest_offset")
            if waiting.empty:
                self._failed_tries = 0
            for name, listing in inputs.new_listings(waiting).items():
                remember_listing(self._session, lease, name, listing)
                inputs.remember(name, listing)
            self._rest = waiting
            while not self._stop.is_set():
                if not waiting.empty:
                    slices, waiting = inputs.take(waiting, trigger)
                    self._rest = waiting
                    yield NextBatch(watch, slices, waiting)
                elif self._closes_something(trigger):
                    yield NextBatch(watch, inputs.nothing(waiting), waiting, no_data=True)
                else:
                    break
                watch = Stopwatch(clock)
                if trigger.kind != "available_now":
                    break
            if trigger.interval is None:
                return
            spent = clock.monotonic() - started
            clock.wait(self._stop, trigger.interval.total_seconds() - spent)

    def _flushing(self, inputs: Inputs, flush_us: int) -> Iterator[NextBatch]:
        """The batch that a person asked for; nothing where it has been run already."""
        last = self._store.batches.last(self._session.generation, with_files=False)
        used = EventTimePlan.from_json(last.plan.event_time).watermark_ms if last else 0
        if flush_us // 1000 > used:
            watch = Stopwatch(self._session.clock)
            yield NextBatch(watch, inputs.nothing(), no_data=True, flush_us=flush_us)

    def _closes_something(self, trigger: Trigger) -> bool:
        """Whether a batch without data is due."""
        session = self._session
        if session.is_plain or trigger.kind == "once":
            return False
        last = self._store.batches.last(session.generation, with_files=False)
        return closes_something(session.query, session.chain, last, session.clock.now())

    def _one_batch(self, lease: Lease, inputs: Inputs, following: NextBatch) -> None:
        session, watch = self._session, following.watch
        # 2. Plan
        last = self._store.batches.last(session.generation, with_files=False)
        now = session.clock.now()
        plan = Plan(
            query_id=session.query.name,
            generation=session.generation.number,
            batch_id=last.plan.batch_id + 1 if last else 0,
            run_id=self._run_id,
            timestamp=now,
            slices=following.slices,
            event_time={} if session.is_plain else self._event_time(last, now, following),
        )
        watch.lap("plan")
        # 3. Log
        rest = following.rest
        listings = inputs.listings(following.slices, rest) if rest else {}
        self._store.batches.plan(lease, plan, listings=listings)
        session.log.write_plan(plan)
        inputs.advance(following.slices, listings)
        watch.lap("log")
        self._reach("after_plan_log")
        if rest is not None and self._on_plan is not None:
            self._on_plan(plan, rest.merged)
        self._carry_out(lease, plan, watch, before=last)

    def _event_time(
        self, last: BatchRecord | None, now: datetime, following: NextBatch
    ) -> JsonDict:
        session = self._session
        planned = next_event_time(
            session.query,
            session.chain,
            last,
            now,
            no_data=following.no_data,
            flush_us=following.flush_us,
        )
        return replace(planned, statics=resolve_statics(session)).to_json()

    # -- 4 and 5 ----------------------------------------------------------------------------------

    def _carry_out(
        self,
        lease: Lease,
        plan: Plan,
        watch: Stopwatch,
        *,
        before: BatchRecord | None,
        replayed: bool = False,
        skip: BatchRecord | None = None,
    ) -> None:
        session = self._session
        lease.check()
        # 4. Run
        # The generation first: file names must not look like those of one before a reset.
        attempt = f"{session.generation.token}-{lease.token}-{uuid.uuid4().hex[:12]}"
        prefix = f"part-{plan.batch_id:010d}-{attempt}"
        written = self._write(lease, plan, Attempt(attempt, prefix), skip, before)
        watch.lap("read_and_compute")
        self._reach("after_write")
        # 5. Seal
        lease.check()
        seal = Seal(
            plan_hash=plan.hash,
            attempt=attempt,
            tables=written.tables,
            progress=drafted(
                session, plan, written, watch, before=before, skipped=bool(skip and skip.skip)
            ),
            event_time=written.event_time,
            state=written.state,
        )
        self._store.batches.seal(lease, session.generation, plan.batch_id, seal)
        session.log.write_seal(plan.batch_id, seal)
        watch.lap("seal")
        self._reach("after_seal")
        if replayed:
            clean_orphans(session, lease, plan.batch_id, seal)
        self._finish(lease, plan, seal, watch, replayed=replayed)

    def _write(
        self,
        lease: Lease,
        plan: Plan,
        attempt: Attempt,
        skip: BatchRecord | None,
        before: BatchRecord | None,
    ) -> Written:
        session = self._session
        reason = None if skip is None else skip_reason(skip)
        if session.is_plain and reason is not None:
            return skip_batch(session, plan, attempt.prefix, reason)
        try:
            if session.is_plain:
                return run_batch(session, plan, attempt.prefix, self._reach)
            state = before.seal if before else None
            return run_stateful(session, plan, state, attempt, self._reach, skip_reason=reason)
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
        seal, versions = commit_tables(session, lease, plan, seal, self._reach)
        watch.lap("commit")
        # 7. Mark committed
        lease.check()
        draft = BatchProgress.from_json(seal.progress)
        version = versions.get("sink", last_version(session, plan.batch_id))
        progress = complete(draft, version, versions, watch, replayed=replayed)
        self._store.batches.commit(lease, session.generation, plan.batch_id, progress.to_json())
        watch.lap("mark_committed")
        self._reach("after_mark_committed")
        # 8. Acknowledge
        self._acknowledge(lease, plan)
        self._reach("after_ack")
        if not session.is_plain:
            clean_state(session, lease, plan.batch_id)
        done = measured(progress, watch)
        self._summary.batches.append(done)
        self._failed_tries = 0
        self._on_batch(done)

    def _acknowledge(self, lease: Lease, plan: Plan) -> None:
        for part in plan.slices:
            source = self._session.sources.get(part.source)
            if source is not None and part.start != part.end:
                source.acknowledge(part)
        self._store.batches.acknowledge(lease, self._session.generation, plan.batch_id)
