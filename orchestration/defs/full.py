"""The full-reprocess twin: everything again, at once, into a table of its own."""

# No postponed annotations: Dagster reads the annotation of `context` as an object.

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.defs.facts import gather
from orchestration.defs.failures import as_failure
from orchestration.defs.keys import CHECK, full_key, full_spec, incremental_key
from orchestration.defs.metadata import table_metadata, twin_metadata
from orchestration.defs.proof import prove_patiently
from orchestration.defs.runs import TWIN_TAG, mark_run
from orchestration.errors import HeadwaterError
from orchestration.runtime.twin import twin_name

if TYPE_CHECKING:
    from orchestration.defs.pipeline import Pipeline

__all__ = ["build_full"]

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetCheckEvaluation


def build_full(pipeline: "Pipeline", *, beside: bool) -> dg.AssetsDefinition:
    """The asset ``<name>__full``.

    Args:
        pipeline: Its declaration.
        beside: The incremental asset is there too and has the check; else the twin has one.
    """
    key = full_key(pipeline)
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description=f"The incremental table of {pipeline.name} holds exactly these rows.",
    )

    @dg.multi_asset(
        name=twin_name(pipeline.name),
        specs=[full_spec(pipeline)],
        check_specs=None if beside else [check],
        can_subset=not beside,
        pool=f"headwater_{twin_name(pipeline.name)}",
    )
    def full(context: dg.AssetExecutionContext) -> Iterator[Event]:
        try:
            yield from _run(pipeline, context, beside=beside)
        except HeadwaterError as error:
            raise as_failure(pipeline.name, error) from None

    return full


def _run(
    pipeline: "Pipeline", context: dg.AssetExecutionContext, *, beside: bool
) -> Iterator[Event]:
    key = full_key(pipeline)
    selected = key in context.selected_asset_keys
    mark_run(context, TWIN_TAG, pipeline.name)
    proof = prove_patiently(pipeline.query, context.log.info, reprocess_always=selected)
    with pipeline.query.open() as session:
        facts = gather(session, "twin")
    done = proof.reprocessed
    if selected:
        metadata = {} if done is None else twin_metadata(done, facts)
        metadata |= table_metadata(facts, pipeline.options.column_descriptions)
        metadata["verified"] = proof.description
        context.log.info(
            "nothing to reprocess: no file was read yet, and the schema is to be inferred"
            if done is None
            else f"{done.rows_read:,} rows of {done.files:,} files in {done.seconds:.2f} s"
        )
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=metadata,
            data_version=None if facts.version is None else dg.DataVersion(str(facts.version)),
        )
    if beside:
        # The incremental asset's page shows it, though that asset was not run.
        yield proof.evaluation(incremental_key(pipeline), CHECK)
    elif context.selected_asset_check_keys:
        yield proof.result(key, CHECK)
