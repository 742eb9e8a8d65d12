"""Step 4 of the protocol for a query with event time, state or several sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.cursors.records import DataFile, TableChanges
from orchestration.engine.stateful.job import SourceInput, StatefulJob, StatefulOutput
from orchestration.errors import IncompatibleQuery
from orchestration.runtime.event_time import sealed_event_time
from orchestration.runtime.execution import (
    Written,
    directories,
    keep,
    set_range_aside,
    set_vanished_aside,
    watch,
)
from orchestration.runtime.statics import open_statics
from orchestration.runtime.upsert import OldTable, changed_files, upsert
from orchestration.sinks.snapshot import upsert_snapshot
from orchestration.sources.base import TableInput
from orchestration.state.files import StateFiles
from orchestration.state.watermarks import EventTimePlan

if TYPE_CHECKING:
    from pathlib import Path

    from orchestration.cursors.records import Plan, Seal
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.streams.operators import ApplyChanges

__all__ = ["Attempt", "open_state", "run_stateful", "version_prefix"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a batch.

    Attributes:
        name: What its files and its seal are called after.
        prefix: Start of every file name: batch and attempt.
    """

    name: str
    prefix: str


def open_state(session: Session) -> StateFiles:
    """The state files of the generation in force."""
    cache = session.settings.scratch / "state" / session.query.name
    return StateFiles(session.state_place, session.log.directory, cache)


def version_prefix(batch_id: int) -> str:
    """Start of the names of a batch's state manifests; the attempt follows."""
    return f"state/v{batch_id:010d}-"


def run_stateful(
    session: Session,
    plan: Plan,
    before: Seal | None,
    attempt: Attempt,
    reach: Reach,
    *,
    skip_reason: str | None = None,
) -> Written:
    """Compute a batch from its planned ranges and the state of the batch before.

    Args:
        session: The opened query.
        plan: What to read, and by which watermarks.
        before: The seal of the batch before; ``None`` for the first.
        attempt: Names every file.
        reach: Crash points.
        skip_reason: Set the ranges aside instead of reading them, and only close what the
            watermark has passed: state and event time go on, or a group would never come out.

    Raises:
        SourceError, BadRecords, ExpressionError, CursorStoreError: Nothing of this attempt
            counts; what it left is cleaned when the batch is done.
    """
    prefix = attempt.prefix
    at = EventTimePlan.from_json(plan.event_time)
    files = open_state(session)
    state = files.load(before.state) if before is not None and before.state else None
    given = {} if skip_reason else _open_sources(session, plan, reach)
    if not any(not isinstance(item.data, TableInput) for item in given.values()):
        reach("during_write")
    target = None if session.changes is None else _target(session, session.changes)
    with directories(session, prefix) as places:
        output = session.engine.run_stateful(
            StatefulJob(
                plan=session.chain,
                inputs=given,
                statics=open_statics(session, at.statics),
                output_mode=session.query.sink.output_mode,
                output_schema=session.output_schema,
                watermark_ms=at.watermark_ms,
                late_ms=at.late_ms,
                state=state,
                files=files,
                sink_dir=places["sink"],
                quarantine_dir=places["quarantine"],
                late_dir=places["late"],
                file_prefix=prefix,
                batch_id=plan.batch_id,
                timestamp=plan.timestamp,
                partition_by=session.query.sink.partition_by,
                target_file_size=session.query.sink.target_file_size,
                on_late=session.query.sink.on_late,
                target=target,
            )
        )
        if skip_reason:
            aside = set_range_aside(session, plan, prefix, places["quarantine"], skip_reason)
        else:
            aside = set_vanished_aside(
                (item.data for item in given.values()), plan, prefix, places["quarantine"]
            )
        if target is None or session.changes is None:
            sink = _sink_changes(session, output.sink, places["sink"], prefix)
        else:
            sink = changed_files(
                session.sink_table,
                target.snapshot,
                output.sink,
                output.changed.written,
                output.changed.removed,
                session.changes.spec.identity,
            )
        quarantine = output.quarantine + aside
        keep(session.sink_table, places["sink"], sink.adds)
        keep(session.late_table, places["late"], output.late)
        keep(session.quarantine_table, places["quarantine"], quarantine)
    name = _keep_state(files, output, plan.batch_id, attempt)
    seen = dict(output.maxima_us)
    return Written(
        tables={
            "quarantine": TableChanges(quarantine),
            "late": TableChanges(output.late),
            "sink": sink,
        },
        rows_read=output.rows_read,
        rows_quarantined=output.rows_quarantined + sum(item.rows for item in aside),
        files_read=output.files_read,
        bytes_read=output.bytes_read,
        details=dict(output.details),
        sources={
            name: (counts.good + counts.bad, counts.bytes)
            for name, counts in output.sources.items()
        },
        event_time=sealed_event_time(session.query, session.chain, plan, seen).to_json(),
        state=name,
        operators=output.operators,
        seen_us=seen,
    )


def _open_sources(session: Session, plan: Plan, reach: Reach) -> dict[str, SourceInput]:
    """What is read: sources without anything new are left out."""
    given: dict[str, SourceInput] = {}
    for part in plan.slices:
        if part.start == part.end:
            continue
        source = session.sources.get(part.source)
        if source is None:
            raise IncompatibleQuery(
                f"batch {plan.batch_id} of query {plan.query_id!r} was planned with source "
                f"{part.source!r}, which the query has no more",
                remedy="bring the source back until that batch is done, or "
                f"'headwater skip {plan.query_id} --to-quarantine'",
            )
        data = source.open(
            part, schema=session.data_schemas[part.source], settings=session.settings
        )
        given[part.source] = SourceInput(
            watch(data, reach), source.on_bad_record, source.max_bad_fraction
        )
    return given


def _target(session: Session, changes: ApplyChanges) -> OldTable:
    """The sink's table as the batch finds it: what all batches before made of it."""
    snapshot = upsert_snapshot(session.sink_table, changes.spec.keys)
    return OldTable(session.sink_table, snapshot, session.settings.spool_dir)


def _sink_changes(
    session: Session, emitted: tuple[DataFile, ...], directory: Path, prefix: str
) -> TableChanges:
    """What the batch's rows do to the sink, as the output mode says."""
    mode = session.query.sink.output_mode
    if mode == "complete":
        return TableChanges(emitted, overwrite=True)
    keys = session.update_keys if mode == "update" else None
    if keys is None:
        return TableChanges(emitted)
    return upsert(session, emitted, directory, keys, prefix)


def _keep_state(
    files: StateFiles, output: StatefulOutput, batch_id: int, attempt: Attempt
) -> str | None:
    state = output.state
    if state is None:
        return None
    files.persist(output.new_state)
    name = f"{version_prefix(batch_id)}{attempt.name}.json"
    files.save(state, name)
    return name
