"""Progress records from what a batch planned, wrote and took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestration.redaction import redact
from orchestration.runtime.event_time import progress_of
from orchestration.runtime.progress import BatchProgress, SinkProgress, SourceProgress, Stopwatch

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord, JsonDict, Plan, Slice
    from orchestration.runtime.execution import Written
    from orchestration.runtime.session import Session

__all__ = ["complete", "drafted", "measured"]


def drafted(
    session: Session,
    plan: Plan,
    written: Written,
    watch: Stopwatch,
    *,
    before: BatchRecord | None,
    skipped: bool,
) -> JsonDict:
    """The progress record as far as it is decided when the batch is sealed.

    Args:
        session: The opened query.
        plan: The batch.
        written: What it wrote.
        watch: Time spent so far.
        before: The batch before it, whose running totals it takes on.
        skipped: Whether its input was set aside by hand.
    """
    seconds = max(watch.laps.get("read_and_compute", 0.0), 0.001) / 1000
    elapsed = max(watch.total, 0.001) / 1000
    sources = tuple(
        _source(session, part, *written.of_source(part.source), total=elapsed, seconds=seconds)
        for part in plan.slices
    )
    event_time: JsonDict = {}
    about_it: JsonDict = {}
    if plan.event_time:
        event_time, about_it = progress_of(plan, written.seen_us)
        late = sum(int(item.get("rows_dropped_by_watermark", 0)) for item in written.operators)
        total = int(
            (before.progress if before else {}).get("details", {}).get("late_rows_total", 0)
        )
        about_it |= {"late_rows": late, "late_rows_total": total + late}
    return BatchProgress(
        id=session.generation.app_id,
        run_id=plan.run_id,
        name=plan.query_id,
        batch_id=plan.batch_id,
        timestamp=plan.timestamp.isoformat(),
        num_input_rows=written.rows_read,
        quarantined_rows=written.rows_quarantined,
        batch_duration_ms=watch.total,
        duration_ms=dict(watch.laps),
        event_time=event_time,
        state_operators=written.operators,
        sources=sources,
        sink=SinkProgress(
            description=redact(session.sink_table.uri),
            num_output_rows=sum(item.rows for item in written.given),
            files=len(written.tables["sink"].adds),
            bytes=sum(item.size for item in written.tables["sink"].adds),
            version=None,
        ),
        skipped=skipped,
        details={**written.details, **about_it},
    ).to_json()


def complete(
    draft: BatchProgress,
    version: int | None,
    versions: dict[str, int],
    watch: Stopwatch,
    *,
    replayed: bool,
) -> BatchProgress:
    """The record with what committing it added.

    Args:
        draft: As it was sealed.
        version: The sink's version that holds everything up to this batch.
        versions: Versions this batch made, by role.
        watch: Time spent; a batch whose seal another run left counts what that run spent too.
        replayed: Whether a crash had left it.
    """
    laps = {**draft.duration_ms, **watch.laps}
    details: dict[str, Any] = {**draft.details, "versions": versions}
    return replace(
        draft,
        sink=replace(draft.sink, version=version),
        replayed=replayed,
        details=details,
        batch_duration_ms=round(sum(laps.values()), 3),
        duration_ms=laps,
    )


def measured(progress: BatchProgress, watch: Stopwatch) -> BatchProgress:
    """The record with the time of this run's phases."""
    laps = {**progress.duration_ms, **watch.laps}
    return replace(progress, batch_duration_ms=round(sum(laps.values()), 3), duration_ms=laps)


def _source(
    session: Session, part: Slice, rows: int, size: int, *, total: float, seconds: float
) -> SourceProgress:
    source = session.sources.get(part.source)  # none: it was taken out of the query since
    return SourceProgress(
        name=part.source,
        description=redact(source.description) if source else part.source,
        start_offset=part.start,
        end_offset=part.end,
        latest_offset=part.latest,
        num_input_rows=rows,
        input_rows_per_second=round(rows / total, 3),
        processed_rows_per_second=round(rows / seconds, 3),
        files=len(part.files),
        bytes=size,
        files_outstanding=_outstanding(part.latest, part.end),
        bytes_outstanding=int(part.latest.get("bytes_outstanding", 0)),
    )


def _outstanding(latest: dict[str, Any], end: dict[str, Any]) -> int:
    return max(0, int(latest.get("files", 0)) - int(end.get("files", 0)))
