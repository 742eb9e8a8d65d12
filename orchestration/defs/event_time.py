"""Event time and state on asset pages: numbers to plot, and what is waited for in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.runtime.progress import BatchProgress
    from orchestration.runtime.waiting import Waiting

__all__ = ["batch_event_time", "run_event_time"]

_GROUPED = {"aggregate", "session"}


def batch_event_time(batch: BatchProgress) -> dict[str, Any]:
    """What one micro-batch did by event time; nothing for a query that knows none."""
    metadata: dict[str, Any] = {}
    if len(batch.sources) > 1:
        metadata |= {f"batch_rows_from_{item.name}": item.num_input_rows for item in batch.sources}
    operators = batch.state_operators
    if not batch.event_time and not operators:
        return metadata
    metadata |= _watermark(batch)
    metadata |= {
        "late_rows": int(batch.details.get("late_rows", 0)),
        "state_rows": _sum(operators, "rows_total"),
        "state_bytes": _sum(operators, "bytes"),
        "state_rows_removed": _sum(operators, "rows_removed"),
    }
    if any(item.get("name") in _GROUPED for item in operators):
        metadata["groups_emitted"] = batch.num_output_rows
    if batch.details.get("no_data"):
        metadata["no_new_data"] = True
    return metadata


def run_event_time(batches: Sequence[BatchProgress], held: Waiting | None) -> dict[str, Any]:
    """What one run did by event time, summed up.

    Args:
        batches: Those of the run, in order.
        held: Where event time stands after it; ``None`` without a watermark.
    """
    metadata: dict[str, Any] = {}
    if held is not None:
        report = held.report
        at = _moment(report.next_watermark_ms / 1000)
        if at is not None:
            metadata["watermark"] = dg.MetadataValue.timestamp(at)
        metadata["late_rows_total"] = report.late_rows
        if held.sentence is not None:
            # Dagster does not wrap such lines, so it is two.
            metadata["waiting_for"] = dg.MetadataValue.md(held.sentence.replace("; ", ";\n\n"))
        holding = report.holding
        if holding is not None and len(report.inputs) > 1:
            metadata["watermark_held_by"] = " and ".join(holding.sources) or holding.id
        if report.idle:
            silent = ", ".join(" and ".join(item.sources) or item.id for item in report.idle)
            metadata["idle_inputs"] = silent
    if not batches:
        return metadata
    last = batches[-1]
    if len(last.sources) > 1:
        for index, source in enumerate(last.sources):
            metadata[f"rows_from_{source.name}"] = sum(
                item.sources[index].num_input_rows
                for item in batches
                if len(item.sources) > index and item.sources[index].name == source.name
            )
    operators = last.state_operators
    if not last.event_time and not operators:
        return metadata
    metadata = {**_watermark(last), **metadata}
    metadata |= {
        "late_rows": sum(int(item.details.get("late_rows", 0)) for item in batches),
        "state_rows": _sum(operators, "rows_total"),
        "state_bytes": _sum(operators, "bytes"),
    }
    if any(item.get("name") in _GROUPED for item in operators):
        metadata["groups_emitted"] = sum(item.num_output_rows for item in batches)
    return metadata


def _watermark(batch: BatchProgress) -> dict[str, Any]:
    """The watermark that a batch used, and how far behind its own time that is."""
    seconds = float(batch.details.get("watermark_seconds", 0.0))
    at = _moment(seconds)
    if at is None:
        return {}
    return {
        "watermark": dg.MetadataValue.timestamp(at),
        "watermark_seconds": seconds,
        "watermark_lag_seconds": round((batch.at - at).total_seconds(), 3),
    }


def _moment(seconds: float) -> datetime | None:
    """Seconds since 1970; ``None`` for 1970 itself, which means none yet, or what no date holds."""
    if seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _sum(operators: Sequence[dict[str, Any]], name: str) -> int:
    return sum(int(item.get(name, 0)) for item in operators)
