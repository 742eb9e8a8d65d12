"""The full-reprocess twin: the same stream over the whole input at once, into its own table."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.cursors.records import BatchRecord, Slice
from orchestration.engine.base import BatchJob
from orchestration.runtime.execution import keep
from orchestration.sinks.commit import overwrite

if TYPE_CHECKING:
    from datetime import datetime

    from orchestration.runtime.session import Session

__all__ = ["Reprocessed", "reprocess", "twin_name"]


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """What one full reprocess did.

    Attributes:
        offsets: Source to the offset up to which it read: what the incremental table held.
        batch_id: The last incremental batch it covers; ``None`` when there was none.
        rows_read, rows_written, rows_quarantined, files, bytes: Counts; bytes as stored.
        seconds: From reading to the commit.
        version: The twin table's version.
        notes: What cannot be equal by nature, named: files rewritten, vanished or skipped.
    """

    offsets: dict[str, Any]
    batch_id: int | None
    rows_read: int
    rows_written: int
    rows_quarantined: int
    files: int
    bytes: int
    seconds: float
    version: int
    notes: tuple[str, ...]


def twin_name(query: str) -> str:
    """Name of a query's full-reprocess twin: its table, its asset and its lease."""
    return f"{query}__full"


def reprocess(session: Session) -> Reprocessed | None:
    """Read ``[start, E)`` anew, E being the last offset the incremental table has committed.

    The twin's table is replaced in one commit that carries E. The incremental table is not
    touched, and the two may run at the same time.

    Returns:
        ``None`` when the schema is to be inferred and nothing was read yet.

    Raises:
        QueryAlreadyRunning: Another full reprocess of this query runs.
    """
    query, store, clock = session.query, session.store, session.clock
    run_id = str(uuid.uuid4())
    with store.leases.acquire(twin_name(query.name), run_id) as lease:
        generation = store.queries.get(query.name)
        if not session.bind(generation.input_schema if generation else None):
            return None
        if generation is not None:
            session.attach(generation)
        last = _last_committed(session)
        part, notes, remarks = _whole_input(session, last)
        session.twin_table.ensure(None, reclaim=True)
        started = clock.monotonic()
        now = clock.now()
        files, counts = _compute(session, part, now, run_id)
        offsets = {part.source: part.end}
        lease.check()
        version = overwrite(
            session.twin_table,
            files,
            # One app id for all its runs: the lease's token only grows.
            transactions={twin_name(query.name): lease.token},
            details={
                "offsets": offsets,
                "generation": generation.app_id if generation else "",
                "through_batch": last.plan.batch_id if last else -1,
                "rows_quarantined": counts[2],
                "notes": list(notes),
                "remarks": list(remarks),
                "run_id": run_id,
            },
            still_ours=lease.check,
        )
        result = Reprocessed(
            offsets,
            last.plan.batch_id if last else None,
            counts[0],
            sum(item.rows for item in files),
            counts[2],
            len(part.files),
            counts[1],
            round(clock.monotonic() - started, 6),
            version,
            notes + remarks,
        )
        store.costs.record_reprocess(
            query.name,
            offsets=offsets,
            rows=result.rows_read,
            bytes=result.bytes,
            files=result.files,
            seconds=result.seconds,
            table_version=version,
            finished_at=clock.now(),
            run_id=run_id,
        )
        return result


def _last_committed(session: Session) -> BatchRecord | None:
    generation = session.store.queries.get(session.query.name)
    if generation is None:
        return None
    last = session.store.batches.last(generation, with_files=False)
    if last is None or last.committed_at is not None:
        return last
    if last.plan.batch_id == 0:
        return None
    return session.store.batches.get(generation, last.plan.batch_id - 1, with_files=False)


def _whole_input(
    session: Session, last: BatchRecord | None
) -> tuple[Slice, tuple[str, ...], tuple[str, ...]]:
    """Everything up to E; why it cannot be equal, and what neither side has read."""
    source = session.source
    if last is None:
        return Slice(source.name, {}, {}), (), ()
    (end,) = [part.end for part in last.plan.slices if part.source == source.name]
    ledger = session.store.ledger.files(
        session.generation, source.name, 0, int(end.get("files", 0))
    )
    skipped = session.store.batches.skipped_files(session.generation, source.name)
    wanted = tuple(item for item in ledger if item.path not in skipped)
    present, notes = source.whole(wanted, clock=session.clock, settings=session.settings)
    remarks: tuple[str, ...] = ()
    if skipped:
        remarks = (f"{len(skipped)} files were skipped to quarantine by hand: neither holds them",)
    if len(ledger) - len(wanted) > len(skipped):
        notes = (*notes, "an earlier version of a skipped file was read, and is not there any more")
    size = sum(item.size for item in present)
    return Slice(source.name, {}, end, present, size, end), notes, remarks


def _compute(
    session: Session, part: Slice, now: datetime, run_id: str
) -> tuple[tuple[Any, ...], tuple[int, int, int]]:
    stage = session.settings.spool_dir / f"twin-{session.query.name}-{run_id}"
    table = session.twin_table
    sink_dir = table.place.local_path if table.place.is_local else stage / "sink"
    quarantine_dir = stage / "quarantine"  # counted, and then dropped: the query keeps its own
    try:
        for directory in (sink_dir, quarantine_dir):
            directory.mkdir(parents=True, exist_ok=True)
        given = session.source.open(part, schema=session.data_schema, settings=session.settings)
        output = session.engine.run(
            BatchJob(
                input=given,
                operators=session.stream.operators,
                output_schema=session.output_schema,
                sink_dir=sink_dir,
                quarantine_dir=quarantine_dir,
                file_prefix=f"full-{run_id}",
                batch_id=-1,
                timestamp=now,
                partition_by=session.query.sink.partition_by,
                target_file_size=session.query.sink.target_file_size,
            )
        )
        keep(table, sink_dir, output.sink)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return output.sink, (output.rows_read, output.bytes_read, output.rows_quarantined)
