"""The job that keeps a query's tables small."""

# No postponed annotations: Dagster reads the annotation of `context` as an object.

from typing import TYPE_CHECKING

import dagster as dg

from orchestration.defs.failures import as_failure
from orchestration.errors import HeadwaterError
from orchestration.runtime.maintenance import RETENTION

if TYPE_CHECKING:
    from orchestration.defs.pipeline import Pipeline

__all__ = ["build_maintenance"]


def build_maintenance(pipeline: "Pipeline") -> dg.JobDefinition:
    """``maintain_<name>``: small files packed, an old log and old files deleted.

    It waits in the pool of the query's runs, so it comes between two of them. Its op takes the
    configuration ``retention``, a duration such as ``"14 days"``.
    """
    name = pipeline.name

    @dg.op(
        name=f"maintain_{name}_tables",
        pool=f"headwater_{name}",
        config_schema={
            "retention": dg.Field(
                str,
                default_value=f"{RETENTION.days} days",
                description="What was current in this time stays readable; a day at least.",
            )
        },
        description=f"Keep the tables of {name} small.",
    )
    def tables(context: dg.OpExecutionContext) -> None:
        try:
            done = pipeline.query.maintain(retention=context.op_config["retention"])
        except HeadwaterError as error:
            raise as_failure(name, error) from None
        context.add_output_metadata(
            {
                "seconds": done.seconds,
                "tables": dg.MetadataValue.json(done.to_json()["tables"]),
                **{
                    f"{item.role}: files": f"{item.files_before:,} → {item.files_after:,}"
                    for item in done.tables
                },
            }
        )
        for note in (*done.notes, *(note for item in done.tables for note in item.notes)):
            context.log.warning(note)

    @dg.job(
        name=f"maintain_{name}",
        executor_def=dg.in_process_executor,
        description=f"Keep the tables of {name} small: pack files, delete what nobody needs.",
    )
    def job() -> None:
        tables()

    return job
