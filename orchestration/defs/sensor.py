"""The sensor: new files become one run, whatever became of the run before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from orchestration.defs.failures import as_failure
from orchestration.defs.tick import decide
from orchestration.errors import HeadwaterError

if TYPE_CHECKING:
    from orchestration.defs.pipeline import Pipeline

__all__ = ["build_sensor"]


def build_sensor(pipeline: Pipeline) -> dg.SensorDefinition:
    """The sensor ``<name>_sensor``, on from the start."""

    @dg.sensor(
        name=f"{pipeline.name}_sensor",
        job=pipeline.jobs[0],
        minimum_interval_seconds=pipeline.options.sensor_interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks for a run when there is something new for {pipeline.name}. What is new "
        "is decided by the cursor store, so a failed run is asked for again.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            return decide(pipeline, context.instance)
        except HeadwaterError as error:
            raise as_failure(pipeline.name, error) from None

    return sensor
