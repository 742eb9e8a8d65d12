"""The full-reprocess twin: the same stream over the whole input at once, into its own table."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.engine.base import BatchJob
from orchestration.errors import FileChanged, FileMissing, SourceUnavailable
from orchestration.redaction import redact
from orchestration.runtime.execution import keep
from orchestration.runtime.statics import resolve_statics
from orchestration.runtime.twin_input import Whole, whole_input
from orchestration.runtime.twin_past import Past, last_committed, past_of
from orchestration.runtime.twin_stateful import (
    Recomputed,
    Scratch,
    discard_files,
    in_one_pass,
    replayed,
)
from orchestration.runtime.twin_strategy import reasons_to_replay
from orchestration.sinks.commit import overwrite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestration.cursors.records import BatchRecord
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
        notes: What cannot be equal by nature, named: files rewritten, vanished or skipped. And
            of a stateful query how it was recomputed, and how many late rows were left out.
        late_rows: Rows up to there that the late table has to hold.
        replayed: Whether it ran batch by batch, because one pass would not give the same.
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
    late_rows: int = 0
    replayed: bool = False


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
        last = last_committed(session)
        whole = whole_input(session, last)
        session.twin_table.ensure(None, reclaim=True)
        started = clock.monotonic()
        done = _compute(session, whole, last, clock.now(), run_id)
        lease.check()
        version = overwrite(
            session.twin_table,
            done.made.files,
            # One app id for all its runs: the lease's token only grows.
            transactions={twin_name(query.name): lease.token},
            details={
                "offsets": whole.offsets,
                "generation": generation.app_id if generation else "",
                "through_batch": last.plan.batch_id if last else -1,
                "rows_quarantined": done.made.rows_quarantined,
                "notes": list(done.notes),
                "remarks": list(done.remarks),
                "late_rows": done.late_rows,
                "replayed": done.replayed,
                "run_id": run_id,
            },
            still_ours=lease.check,
        )
        result = Reprocessed(
            whole.offsets,
            last.plan.batch_id if last else None,
            done.made.rows_read,
            sum(item.rows for item in done.made.files),
            done.made.rows_quarantined,
            sum(len(part.files) for part in whole.slices),
            done.made.bytes_read,
            round(clock.monotonic() - started, 6),
            version,
            done.notes + done.remarks,
            done.late_rows,
            done.replayed,
        )
        store.costs.record_reprocess(
            query.name,
            offsets=whole.offsets,
            rows=result.rows_read,
            bytes=result.bytes,
            files=result.files,
            seconds=result.seconds,
            table_version=version,
            finished_at=clock.now(),
            run_id=run_id,
        )
        return result


@dataclass(frozen=True, slots=True)
class _Done:
    """What was computed, and what is to be said of it."""

    made: Recomputed
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    late_rows: int = 0
    replayed: bool = False


def _compute(
    session: Session, whole: Whole, last: BatchRecord | None, now: datetime, run_id: str
) -> _Done:
    with _scratch(session, run_id) as scratch:
        if session.is_plain:
            done = _Done(_plain(session, whole, now, scratch), whole.notes, whole.remarks)
        elif last is None:
            done = _Done(Recomputed(()), whole.notes, whole.remarks)
        else:
            done = _stateful(session, whole, last, now, scratch)
        keep(session.twin_table, scratch.sink_dir, done.made.files)
    return done


@contextmanager
def _scratch(session: Session, run_id: str) -> Iterator[Scratch]:
    stage = session.settings.spool_dir / f"twin-{session.query.name}-{run_id}"
    place = session.twin_table.place
    scratch = Scratch(
        stage, place.local_path if place.is_local else stage / "sink", f"full-{run_id}"
    )
    try:
        for directory in (scratch.sink_dir, stage / "quarantine"):
            directory.mkdir(parents=True, exist_ok=True)
        yield scratch
    except BaseException:
        discard_files(scratch, session.query.sink.partition_by)
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _plain(session: Session, whole: Whole, now: datetime, scratch: Scratch) -> Recomputed:
    (part,) = whole.slices
    given = session.source.open(part, schema=session.data_schema, settings=session.settings)
    output = session.engine.run(
        BatchJob(
            input=given,
            operators=session.stream.operators,
            output_schema=session.output_schema,
            sink_dir=scratch.sink_dir,
            # Counted, and then dropped: the query keeps its own.
            quarantine_dir=scratch.stage / "quarantine",
            file_prefix=scratch.prefix,
            batch_id=-1,
            timestamp=now,
            partition_by=session.query.sink.partition_by,
            target_file_size=session.query.sink.target_file_size,
        )
    )
    return Recomputed(output.sink, output.rows_read, output.bytes_read, output.rows_quarantined)


def _stateful(
    session: Session, whole: Whole, last: BatchRecord, now: datetime, scratch: Scratch
) -> _Done:
    past = past_of(session, last.plan.batch_id)
    notes, remarks = list(whole.notes), list(whole.remarks)
    if past.sources_gone:
        names = ", ".join(past.sources_gone)
        notes.append(f"the query read {names} once, and does not any more")
    reasons = reasons_to_replay(session, past)
    try:
        if reasons:
            made = replayed(session, whole.present, last.plan.batch_id, scratch)
        else:
            made = in_one_pass(session, whole.slices, last, now, scratch, past.statics)
    except (FileChanged, FileMissing, SourceUnavailable) as error:
        if not session.query.statics:
            raise
        # What the batches read is gone; with what is there now the twin is of use all the same.
        discard_files(scratch, session.query.sink.partition_by)
        made = in_one_pass(session, whole.slices, last, now, scratch, resolve_statics(session))
        notes.append(
            "a static table cannot be read any more as the batches read it "
            f"({redact(str(error.args[0]))})"
        )
    if reasons:
        remarks.append(f"recomputed batch by batch: {'; '.join(reasons)}")
    else:
        remarks.append("recomputed in one pass: the result does not depend on the batches")
    if past.late_rows:
        remarks.append(_said_of_late(session, past))
    return _Done(made, tuple(notes), tuple(remarks), past.late_kept, bool(reasons))


def _said_of_late(session: Session, past: Past) -> str:
    rows = f"{past.late_rows:,} late row{'s' if past.late_rows > 1 else ''}"
    left_out = f"{rows} left out, as in the incremental table"
    if past.late_kept == past.late_rows:
        return f"{left_out}: {redact(session.late_table.uri)} holds them"
    return f"{left_out}; {past.late_kept:,} of them are in {redact(session.late_table.uri)}"
