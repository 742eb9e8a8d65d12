"""Dagster's runs of a query: which are on their way, which are dead, how often they failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.cursors.host import Holder, this_process
from orchestration.defs.keys import full_key, incremental_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.defs.pipeline import Pipeline

__all__ = ["HOLDER_TAG", "QUERY_TAG", "TWIN_TAG", "bury", "failures", "mark_run", "on_their_way"]

#: Tag of every run that takes in what is new for a query.
QUERY_TAG = "headwater/query"
#: Tag of every run of a query's full reprocess.
TWIN_TAG = "headwater/twin_of"
#: Tag of the process at work, so that a killed one is noticed at the next tick. Dagster does not
#: show tags that begin like this.
HOLDER_TAG = ".dagster/headwater_process"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LOOKED_AT = 12


def mark_run(context: dg.AssetExecutionContext, tag: str, name: str) -> None:
    """Make the run of this step found by what it works for, and by the process it lives in."""
    holder = json.dumps(this_process().to_json(), separators=(",", ":"))
    context.instance.add_run_tags(context.run.run_id, {tag: name, HOLDER_TAG: holder})


def bury(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    """Declare runs failed whose process was killed and could not say so.

    They would count as running for ever, and hold their place in the pool.
    """
    keys = {incremental_key(pipeline), full_key(pipeline)}
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        ours = pipeline.name in {run.tags.get(QUERY_TAG), run.tags.get(TWIN_TAG)}
        if (ours or keys & (run.asset_selection or frozenset())) and _is_dead(run):
            instance.report_run_failed(run, "The process of this run is gone; it was killed.")


def on_their_way(pipeline: Pipeline, instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """Runs that will take in what is new, whoever asked for them."""
    key = incremental_key(pipeline)
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if run.tags.get(QUERY_TAG) == pipeline.name or key in (run.asset_selection or ()):
            yield run


def failures(pipeline: Pipeline, instance: dg.DagsterInstance) -> tuple[int, datetime | None]:
    """How many of the newest runs failed in a row, and when the last of them ended."""
    records = instance.get_run_records(
        dg.RunsFilter(tags={QUERY_TAG: pipeline.name}), limit=_LOOKED_AT
    )
    count = 0
    for record in records:
        if record.dagster_run.status is not dg.DagsterRunStatus.FAILURE:
            break
        count += 1
    if not count:
        return 0, None
    newest = records[0]
    if newest.end_time is not None:
        return count, datetime.fromtimestamp(newest.end_time, UTC)
    return count, newest.update_timestamp.replace(tzinfo=UTC)


def _is_dead(run: dg.DagsterRun) -> bool:
    try:
        return Holder.from_json(json.loads(run.tags[HOLDER_TAG])).is_alive() is False
    except (KeyError, TypeError, ValueError):
        return False
