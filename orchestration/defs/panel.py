"""Numbers as Markdown: what it costs, and what each batch did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.runtime.change_counts import ChangeCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.runtime.progress import BatchProgress
    from orchestration.runtime.status import CostPanel

__all__ = ["cost_panel", "progress_table", "size"]

_SHOWN = 20
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def cost_panel(costs: CostPanel) -> str:
    """Incremental beside full: last run and all runs; everything measured."""
    if not costs.runs:
        return "No batch was committed yet, so there is nothing to compare."
    measured = bool(costs.full_runs)
    rows: tuple[tuple[str, str, str], ...] = (
        ("**last run**: rows read", f"{costs.last_rows:,}", f"{costs.last_full_rows:,}"),
        ("bytes read", size(costs.last_bytes), size(costs.last_full_bytes)),
        ("seconds", _seconds(costs.last_seconds), _seconds(costs.last_full_seconds)),
        ("**all runs**", f"{costs.runs:,}", f"{costs.full_runs:,}"),
        ("rows read", f"{costs.rows:,}", f"{costs.full_rows:,}"),
        ("bytes read", size(costs.bytes), size(costs.full_bytes)),
        ("seconds", _seconds(costs.seconds), _seconds(costs.full_seconds)),
    )
    lines = ["| | incremental | full reprocess |", "|---|---:|---:|"]
    lines += [f"| {name} | {mine} | {full if measured else '-'} |" for name, mine, full in rows]
    return "\n".join((*lines, "", _said(costs)))


def progress_table(batches: Sequence[BatchProgress]) -> str:
    """One line per batch, the newest last; the first ones are left out where there are many."""
    given = "written"
    if ChangeCounts.of(batches) is not None:
        given = "inserted | updated | deleted | ignored"
    heading = f"| batch | rows | {given} | bad | files | read | seconds | rows/s | left |"
    lines = [heading, "|---:" * (heading.count("|") - 1) + "|"]
    for batch in batches[-_SHOWN:]:
        seconds = batch.batch_duration_ms / 1000
        rate = batch.num_input_rows / seconds if seconds else 0.0
        left = sum(item.files_outstanding for item in batch.sources)
        mark = " (recovered)" if batch.replayed else " (skipped)" if batch.skipped else ""
        lines.append(
            f"| {batch.batch_id}{mark} | {batch.num_input_rows:,} | {_given(batch)} | "
            f"{batch.quarantined_rows:,} | {batch.files:,} | {size(batch.bytes)} | "
            f"{_seconds(seconds)} | {rate:,.0f} | {left:,} |"
        )
    if len(batches) > _SHOWN:
        lines += ["", f"… and {len(batches) - _SHOWN:,} batches before these."]
    return "\n".join(lines)


def _given(batch: BatchProgress) -> str:
    changes = ChangeCounts.of([batch])
    if changes is None:
        return f"{batch.num_output_rows:,}"
    return " | ".join(f"{number:,}" for number in changes.to_json().values())


def size(number: float) -> str:
    """Bytes in powers of ten: ``3.1 MB``."""
    for unit in _UNITS[:-1]:
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def _said(costs: CostPanel) -> str:
    # Dagster does not wrap these lines, so they are short.
    lines = ["No full reprocess was measured yet."]
    times = costs.times_cheaper
    if times is not None and times >= 1:
        lines = [f"The last incremental run was **{times:,.1f} times cheaper** in seconds."]
    elif times is not None:
        share = costs.last_seconds / max(costs.last_full_seconds, 1e-9)
        lines = [f"On so small an input the full reprocess was {share:,.1f} times quicker."]
    if costs.runs > 1 and costs.times_fewer_rows is not None:
        lines += [
            f"A full reprocess after each of the {costs.runs:,} runs would have",
            f"read {costs.rows_if_full:,} rows; the incremental runs read {costs.rows:,}:",
            f"**{costs.times_fewer_rows:,.1f} times fewer**.",
        ]
    return "\n\n".join(lines)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
