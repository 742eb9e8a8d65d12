"""How a full reprocess of a stateful query is done: in one pass, or batch by batch.

Most results are the same however the input was cut into batches, but for the late rows, which
the late table holds, and for what the watermark has not closed yet. They are computed over the
whole input at once: the stronger proof, and the cheaper one. What depends on where batches were
cut by its nature has to be computed along the same cuts, from an empty state, by the watermarks
and timestamps of the batch log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    Limit,
    MapBatches,
    SessionKey,
    WithWatermark,
)
from orchestration.streams.plan import Chain, JoinRoot, SourceRoot, UnionRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from orchestration.runtime.session import Session
    from orchestration.runtime.twin_past import Past
    from orchestration.streams.operators import Operator

__all__ = ["reasons_to_replay"]

#: Aggregates that tell apart rows of equal values by which came first.
_BY_ARRIVAL = frozenset(
    {"any_value", "first", "last", "list", "max_by", "min_by", "mode", "string_agg"}
)


def reasons_to_replay(session: Session, past: Past) -> tuple[str, ...]:
    """Why one pass over the whole input would not give the same; empty where it does."""
    sink = session.query.sink
    found = list(_of_plan(session.chain, sink.output_mode, session.engine.describe_plan))
    if session.stream.where_is_volatile or session.stream.volatile_columns():
        found.append("now() is the time of each batch")
    if past.late_rows > past.late_kept:
        dropped = past.late_rows - past.late_kept
        found.append(f"{dropped:,} late rows were dropped without being kept (on_late='drop')")
    if past.statics_changed:
        names = ", ".join(past.statics_changed)
        found.append(f"batches read {names} at different versions")
    if past.forgotten:
        found.append("what was deleted was forgotten in its time (tombstone_retention)")
    if past.ranges_skipped:
        found.append("a range of rows was set aside by hand")
    return tuple(dict.fromkeys(found))


def _of_plan(
    plan: Chain, output_mode: str, describe: Callable[[Chain], pa.Schema]
) -> Iterator[str]:
    for chain in plan.walk():
        for place, operator in enumerate(chain.operators):
            before = Chain(chain.root, chain.operators[:place])
            if isinstance(operator, WithWatermark) and operator.max_future_us is not None:
                yield "max_future goes by the time of each batch"
            elif isinstance(operator, ApplyWithState):
                yield "apply_in_arrow_with_state is called batch by batch"
            elif isinstance(operator, DropDuplicates) and operator.within_us is not None:
                yield "drop_duplicates_within_watermark forgets a key as the watermark passes"
            elif (
                isinstance(operator, Aggregate)
                and output_mode != "complete"
                and _of_sessions(operator)
            ):
                yield "a session that was closed is not taken up again by a row that came later"
            elif _goes_by_arrival(operator, output_mode, before, describe) and not (
                _arrives(before) and not _of_sessions(operator)
            ):
                yield "which row comes first depends on where the batches were cut"


def _of_sessions(operator: Operator) -> bool:
    """Sessions that become one keep the order of their own rows, one session after another."""
    return isinstance(operator, Aggregate) and any(
        isinstance(key, SessionKey) for key in operator.keys
    )


def _goes_by_arrival(
    operator: Operator, output_mode: str, before: Chain, describe: Callable[[Chain], pa.Schema]
) -> bool:
    """Whether other rows come out when the rows come in another order."""
    if isinstance(operator, Limit):
        return output_mode != "complete"
    if isinstance(operator, DropDuplicates):
        # Where all columns are the key, the first of equal rows is as good as the second.
        names = {name.lower() for name in operator.keys}
        return any(name.lower() not in names for name in describe(before).names)
    return isinstance(operator, Aggregate) and any(
        call.function in _BY_ARRIVAL and not call.distinct
        for _, text in operator.columns
        for call in parse_aggregate(text).calls
    )


def _arrives(chain: Chain) -> bool:
    """Whether rows come out of a chain in the order of the input, however that was cut.

    Those of several sources come batch by batch, one source after another; results of joins and
    aggregations batch by batch, in the order of their values.
    """
    if any(isinstance(item, Aggregate | ApplyWithState | MapBatches) for item in chain.operators):
        return False
    root = chain.root
    if isinstance(root, UnionRoot):
        return False
    if isinstance(root, JoinRoot):
        for side, outer, other in (
            (root.left, "left", root.right),
            (root.right, "right", root.left),
        ):
            if other.chain.is_static and not side.chain.is_static:
                kept: Any = {"inner", "semi", "anti", outer}
                return root.how in kept and _arrives(side.chain)
        return False
    return isinstance(root, SourceRoot)
