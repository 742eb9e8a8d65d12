"""What a tick decides: ask for a run, or say why not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.clock import Clock, SystemClock
from orchestration.defs.looking import clock_time, look
from orchestration.defs.runs import QUERY_TAG, bury, failures, on_their_way

if TYPE_CHECKING:
    from orchestration.defs.pipeline import Pipeline

__all__ = ["decide"]

# A failure is asked for again after 10 s, 20 s, … and half an hour at most: what a person has to
# decide is not hammered at, and what passes by itself is not waited for long.
_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(minutes=30)


def decide(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    *,
    patient: bool = True,
    clock: Clock | None = None,
) -> dg.RunRequest | dg.SkipReason:
    """Ask for one run when there is something to do and none is on its way.

    Args:
        pipeline: What to look at.
        instance: Where its runs are kept.
        patient: Wait longer after each failure.
        clock: The time.

    Raises:
        HeadwaterError: The cursor store or the source does not answer.
    """
    clock = clock or SystemClock()
    bury(pipeline, instance)
    for run in on_their_way(pipeline, instance):
        status = run.status.value.lower().replace("_", " ")
        return dg.SkipReason(f"run {run.run_id[:8]} is {status} already")
    found = look(pipeline.query, clock=clock)
    continuous = pipeline.query.trigger.kind == "processing_time"
    if not found.wanted and not (continuous and found.counts):
        return dg.SkipReason(found.reason)
    pause = _pause(pipeline, instance, clock.now()) if patient else None
    if pause is not None:
        return dg.SkipReason(f"{found.reason}; {pause}")
    tags = {f"headwater/{name}": value for name, value in found.counts.items()}
    return dg.RunRequest(tags={QUERY_TAG: pipeline.name, **tags})


def _pause(pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime) -> str | None:
    """Why not yet, after failures; ``None`` when it is time."""
    count, ended = failures(pipeline, instance)
    if ended is None:
        return None
    due = ended + min(_FIRST_PAUSE * 2 ** (count - 1), _LONGEST_PAUSE)
    if now >= due:
        return None
    runs = "run" if count == 1 else f"{count} runs"
    return (
        f"the last {runs} failed, and the next is asked for at "
        f"{clock_time(due, now)}:{due:%S} UTC (materialize the asset to try at once)"
    )
