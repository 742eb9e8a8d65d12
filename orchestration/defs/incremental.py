"""The incremental asset: one run drains the backlog, one event a batch, one sum at the end."""

# No postponed annotations: Dagster reads the annotation of `context` as an object.

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.clock import SystemClock
from orchestration.defs.draining import Drain, Waiting
from orchestration.defs.facts import gather
from orchestration.defs.failures import as_failure
from orchestration.defs.keys import CHECK, full_key, incremental_key, incremental_spec
from orchestration.defs.metadata import (
    batch_metadata,
    run_metadata,
    said,
    table_metadata,
    twin_metadata,
)
from orchestration.defs.proof import Proof, prove_if_due, prove_patiently
from orchestration.defs.runs import QUERY_TAG, mark_run
from orchestration.errors import HeadwaterError
from orchestration.redaction import redact

if TYPE_CHECKING:
    from orchestration.defs.pipeline import Pipeline
    from orchestration.runtime.runner import RunSummary

__all__ = ["build_incremental"]

Event = (
    dg.AssetObservation | dg.AssetMaterialization | dg.MaterializeResult[Any] | dg.AssetCheckResult
)


def build_incremental(pipeline: "Pipeline", *, checked: bool) -> dg.AssetsDefinition:
    """The asset ``<name>``.

    Args:
        pipeline: Its declaration.
        checked: With the check ``incremental_equals_full``.
    """
    key = incremental_key(pipeline)
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="The table holds exactly the rows, as a multiset, that a full reprocess of "
        "the same input gives.",
    )

    @dg.multi_asset(
        name=pipeline.name,
        specs=[incremental_spec(pipeline)],
        check_specs=[check] if checked else None,
        # So that the check can be executed alone, and left out.
        can_subset=True,
        pool=f"headwater_{pipeline.name}",
    )
    def incremental(context: dg.AssetExecutionContext) -> Iterator[Event]:
        try:
            if key in context.selected_asset_keys:
                yield from _run(pipeline, context)
            else:
                proof = prove_patiently(pipeline.query, context.log.info)
                yield from _proved(pipeline, proof)
        except HeadwaterError as error:
            raise as_failure(pipeline.name, error) from None

    # `headwater run` looks for it here.
    incremental.query = pipeline.query  # type: ignore[attr-defined]
    return incremental


def _run(pipeline: "Pipeline", context: dg.AssetExecutionContext) -> Iterator[Event]:
    query, key = pipeline.query, incremental_key(pipeline)
    mark_run(context, QUERY_TAG, query.name)
    continuous = query.trigger.kind == "processing_time"
    drain = Drain(query, max_duration=pipeline.options.max_duration if continuous else None)
    for item in drain:
        if isinstance(item, Waiting):
            context.log.info("waiting for another runner: %s", redact(item.reason))
            continue
        yield dg.AssetObservation(
            key,
            description=f"batch {item.batch_id}",
            metadata=batch_metadata(item),
        )
    yield from _summed_up(pipeline, context, drain.summary)


def _summed_up(
    pipeline: "Pipeline", context: dg.AssetExecutionContext, summary: "RunSummary"
) -> Iterator[Event]:
    query, key = pipeline.query, incremental_key(pipeline)
    proof: Proof | None = None
    trouble: HeadwaterError | None = None
    with query.open() as session:
        if context.selected_asset_check_keys:
            try:
                # First, so that the costs below hold what it cost.
                proof = prove_if_due(session, pipeline.options.verify)
            except HeadwaterError as error:
                trouble = error  # the rows are committed, and the run says so
        facts = gather(session, "sink")
    now = SystemClock().now()
    sentence = said(summary, facts, now)
    context.log.info(sentence)
    yield dg.MaterializeResult(
        asset_key=key,
        metadata={
            **run_metadata(summary, facts, now),
            **table_metadata(facts, pipeline.options.column_descriptions),
        },
        data_version=None if facts.version is None else dg.DataVersion(str(facts.version)),
    )
    if trouble is not None:
        context.log.warning("the check could not be made: %s", redact(str(trouble)))
        proof = Proof(False, "WARN", f"Not verified: {redact(str(trouble))}")
    if proof is not None:
        yield from _proved(pipeline, proof)


def _proved(pipeline: "Pipeline", proof: Proof) -> Iterator[Event]:
    if proof.reprocessed is not None:
        with pipeline.query.open() as session:
            facts = gather(session, "twin")
        yield dg.AssetMaterialization(
            full_key(pipeline),
            description="Recomputed for the check.",
            metadata={
                **twin_metadata(proof.reprocessed, facts),
                **table_metadata(facts, pipeline.options.column_descriptions),
                "verified": proof.description,
            },
            tags={"dagster/data_version": str(proof.reprocessed.version)},
        )
    yield proof.result(incremental_key(pipeline), CHECK)
