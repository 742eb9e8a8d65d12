"""What asset pages show. Plain numbers are plotted by Dagster, so they stay plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.defs.event_time import batch_event_time, run_event_time
from orchestration.defs.looking import clock_time, number
from orchestration.defs.panel import cost_panel, progress_table
from orchestration.redaction import redact
from orchestration.runtime.change_counts import ChangeCounts
from orchestration.sources.delta_standing import versions_behind
from orchestration.streams.change_spec import END_AT, SEQUENCE, START_AT
from orchestration.streams.schema import schema_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestration.defs.facts import Facts
    from orchestration.runtime.progress import BatchProgress
    from orchestration.runtime.runner import RunSummary
    from orchestration.runtime.twin import Reprocessed

__all__ = ["batch_metadata", "run_metadata", "said", "table_metadata", "twin_metadata"]

Metadata = dict[str, Any]

#: Columns that Headwater itself gives a table.
_OWN_COLUMNS = {
    SEQUENCE: "Sequence of the newest change that the row is made of.",
    START_AT: "Sequence of the change that began this row.",
    END_AT: "Sequence of the change that ended it; null while it holds.",
}


def batch_metadata(batch: BatchProgress) -> Metadata:
    """One micro-batch, as numbers to plot."""
    seconds = batch.batch_duration_ms / 1000
    return {
        "batch": str(batch.batch_id),
        "batch_rows": batch.num_input_rows,
        "batch_rows_written": batch.num_output_rows,
        "batch_quarantined_rows": batch.quarantined_rows,
        "batch_files": batch.files,
        "batch_bytes": batch.bytes,
        "batch_seconds": round(seconds, 3),
        "batch_rows_per_second": round(batch.num_input_rows / seconds, 1) if seconds else 0.0,
        "backlog_files": sum(item.files_outstanding for item in batch.sources),
        "backlog_bytes": sum(item.bytes_outstanding for item in batch.sources),
        "offsets": {
            item.name: {"from": item.start_offset, "to": item.end_offset} for item in batch.sources
        },
        "milliseconds": dict(batch.duration_ms),
        **_changed("batch_rows_", [batch]),
        **_versions(
            {item.name: item.end_offset for item in batch.sources},
            {item.name: item.latest_offset for item in batch.sources},
        ),
        **batch_event_time(batch),
        **({} if batch.sink.version is None else {"delta_version": batch.sink.version}),
        **({"recovered": True} if batch.replayed else {}),
        **({"skipped": True} if batch.skipped else {}),
    }


def run_metadata(summary: RunSummary, facts: Facts, now: datetime) -> Metadata:
    """One run of the incremental asset, summed up.

    Args:
        summary: What it did.
        facts: The table after it.
        now: The time, for the lag.
    """
    batches = summary.batches
    seconds = sum(item.batch_duration_ms for item in batches) / 1000
    rows = sum(item.num_input_rows for item in batches)
    left = summary.backlog
    oldest = left.oldest if left is not None else None
    timed = run_event_time(batches, facts.held)
    metadata: Metadata = {
        "summary": said(summary, facts, now),
        # First, because it is asked first.
        **{name: timed[name] for name in ("waiting_for", "watermark") if name in timed},
        "cost": dg.MetadataValue.md(cost_panel(facts.costs)),
        "batches": len(batches),
        "rows": rows,
        "rows_written": sum(item.num_output_rows for item in batches),
        "quarantined_rows": sum(item.quarantined_rows for item in batches),
        "files": sum(item.files for item in batches),
        "bytes": sum(item.bytes for item in batches),
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1) if seconds else 0.0,
        "backlog_files": len(left.files) if left is not None else 0,
        "backlog_bytes": left.bytes if left is not None else 0,
        **({} if left is None else _versions(left.start, left.end)),
        "lag_seconds": round(max(0.0, (now - oldest).total_seconds()), 3) if oldest else 0.0,
        "quarantined_rows_total": facts.status.rows_quarantined,
        **_changed("rows_", batches),
        **timed,
    }
    if batches:
        metadata["progress"] = dg.MetadataValue.md(progress_table(batches))
        metadata["offsets"] = {
            first.name: {"from": first.start_offset, "to": last.end_offset}
            for first, last in zip(batches[0].sources, batches[-1].sources, strict=False)
        }
    if summary.notes:
        metadata["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in summary.notes))
    if facts.status.rows_quarantined:
        metadata["quarantine_table"] = dg.MetadataValue.path(
            redact(facts.status.tables["quarantine"])
        )
    if facts.held is not None and facts.held.report.late_rows:
        metadata["late_table"] = dg.MetadataValue.path(redact(facts.status.tables["late"]))
    return metadata


def _versions(end: Mapping[str, Any], latest: Mapping[str, Any]) -> Metadata:
    """How many versions of the Delta tables that are followed are not read."""
    behind = versions_behind(end, latest)
    return {} if behind is None else {"backlog_versions": behind}


def twin_metadata(done: Reprocessed, facts: Facts) -> Metadata:
    """One full reprocess."""
    return {
        "cost": dg.MetadataValue.md(cost_panel(facts.costs)),
        "rows": done.rows_read,
        "rows_written": done.rows_written,
        "quarantined_rows": done.rows_quarantined,
        "files": done.files,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
        "rows_per_second": round(done.rows_read / done.seconds, 1) if done.seconds else 0.0,
        "offsets": dict(done.offsets),
        "through_batch": "none" if done.batch_id is None else done.batch_id,
        **(
            {"notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in done.notes))}
            if done.notes
            else {}
        ),
    }


def table_metadata(facts: Facts, descriptions: Mapping[str, str]) -> Metadata:
    """The table itself, and a look inside."""
    costs = facts.costs
    metadata: Metadata = {
        "dagster/uri": redact(facts.uri),
        "dagster/row_count": facts.rows,
        "table_files": facts.files,
        "table_bytes": facts.bytes,
    }
    if costs.times_cheaper is not None:
        metadata["times_cheaper"] = costs.times_cheaper
    if costs.times_fewer_rows is not None:
        metadata["times_fewer_rows"] = costs.times_fewer_rows
    if facts.version is not None:
        metadata["delta_version"] = facts.version
    if facts.schema is None:
        return metadata
    columns = [
        dg.TableColumn(name, kind, description=descriptions.get(name, _OWN_COLUMNS.get(name)))
        for name, kind in schema_to_json(facts.schema).items()
    ]
    metadata["dagster/column_schema"] = dg.TableSchema(columns=columns)
    if facts.preview:
        metadata["preview"] = dg.MetadataValue.table(
            [dg.TableRecord(row) for row in facts.preview], dg.TableSchema(columns=columns)
        )
    return metadata


def _changed(prefix: str, batches: Sequence[BatchProgress]) -> Metadata:
    """What changes did to the table, as numbers to plot; nothing where there are none."""
    found = ChangeCounts.of(batches)
    return {} if found is None else {f"{prefix}{k}": v for k, v in found.to_json().items()}


def said(summary: RunSummary, facts: Facts, now: datetime) -> str:
    """The run in one sentence."""
    status = facts.status
    if summary.waiting:
        return f"nothing was read: {summary.waiting}"
    if not summary.batches:
        seen = summary.seen_files
        text = f"nothing new: 0 of {number(seen, 'file')}" if seen else "nothing new"
        if status.last_batch_at is None or status.last_batch_id is None:
            return f"{text}; the table is there, and empty"
        at = clock_time(status.last_batch_at, now)
        held = facts.held.sentence if facts.held is not None else None
        text = f"{text}; last batch {status.last_batch_id} at {at}"
        return f"{text}; {held}" if held else text
    rows = sum(item.num_input_rows for item in summary.batches)
    bad = sum(item.quarantined_rows for item in summary.batches)
    files = sum(item.files for item in summary.batches)
    first, last = summary.batches[0].batch_id, summary.batches[-1].batch_id
    which = f"batch {first}" if first == last else f"batches {first} to {last}"
    counted = (
        f"{number(rows, 'row')} from {number(files, 'file')}" if files else number(rows, "row")
    )
    text = f"{which}: {counted}, {bad:,} of them set aside"
    changes = ChangeCounts.of(summary.batches)
    if changes is not None:
        text += f"; {changes.sentence}"
    late = sum(int(item.details.get("late_rows", 0)) for item in summary.batches)
    if late:
        text += f", {late:,} too late"
    given = sum(item.num_output_rows for item in summary.batches)
    held = facts.held.said(given) if facts.held is not None else None
    return f"{text}; {held}" if held else text
