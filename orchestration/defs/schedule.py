"""Jobs to ask for, and schedules that ask at fixed times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from orchestration.defs.keys import full_key, incremental_key
from orchestration.defs.tick import decide

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from orchestration.defs.pipeline import Pipeline

__all__ = ["build_jobs", "build_schedules"]


def build_jobs(pipeline: Pipeline) -> list[UnresolvedAssetJobDefinition]:
    """``run_<name>`` and ``reprocess_<name>``, each in one process: a step costs seconds less."""
    jobs = [
        dg.define_asset_job(
            f"run_{pipeline.name}",
            selection=dg.AssetSelection.assets(incremental_key(pipeline)),
            description=f"Take in what is new for {pipeline.name}.",
            executor_def=dg.in_process_executor,
        )
    ]
    if not pipeline.has_twin:
        return jobs
    return [
        *jobs,
        dg.define_asset_job(
            f"reprocess_{pipeline.name}",
            selection=dg.AssetSelection.assets(full_key(pipeline)),
            description=f"Recompute everything that {pipeline.name} has read, and compare.",
            executor_def=dg.in_process_executor,
        ),
    ]


def build_schedules(pipeline: Pipeline) -> list[dg.ScheduleDefinition]:
    """One for ``schedule=``, one for a cron line in ``verify=``."""
    run, *reprocess = pipeline.jobs
    options = pipeline.options
    schedules = []
    if options.schedule is not None:

        def batches(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
            return decide(pipeline, context.instance, patient=False)

        schedules.append(
            dg.ScheduleDefinition(
                name=f"{pipeline.name}_schedule",
                job=run,
                cron_schedule=options.schedule,
                execution_timezone=options.timezone,
                execution_fn=batches,
                default_status=dg.DefaultScheduleStatus.RUNNING,
                description=f"Runs {pipeline.name} when there is something new at these times.",
            )
        )
    if options.verify.cron is not None and reprocess:
        schedules.append(
            dg.ScheduleDefinition(
                name=f"{pipeline.name}_verify_schedule",
                job=reprocess[0],
                cron_schedule=options.verify.cron,
                execution_timezone=options.timezone,
                default_status=dg.DefaultScheduleStatus.RUNNING,
                description=f"Proves that {pipeline.name} equals a full reprocess.",
            )
        )
    return schedules
