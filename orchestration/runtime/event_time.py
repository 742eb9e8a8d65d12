"""Event time between batches: what the next plan is told, and whether one is due without data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestration.state.watermarks import (
    EventTimePlan,
    EventTimeSeal,
    idle_inputs,
    next_watermark,
)
from orchestration.streams.modes import needs_no_data_batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.cursors.records import BatchRecord, JsonDict, Plan
    from orchestration.runtime.query import StreamingQuery
    from orchestration.streams.plan import Chain

__all__ = ["closes_something", "instant", "next_event_time", "progress_of", "sealed_event_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_event_time(
    query: StreamingQuery,
    chain: Chain,
    last: BatchRecord | None,
    now: datetime,
    *,
    no_data: bool = False,
    flush_us: int | None = None,
) -> EventTimePlan:
    """What the batch after ``last`` has to know of event time; without static versions.

    Args:
        query: For its watermark policy.
        chain: Its logical plan.
        last: The last batch, sealed; ``None`` at the start.
        now: The timestamp of the batch to plan.
        no_data: Whether it only closes what the watermark has passed.
        flush_us: Close whatever ends by then, whatever the inputs say.
    """
    before = EventTimeSeal.from_json(last.seal.event_time if last and last.seal else {})
    watermarks = chain.watermarks()
    seen = dict(before.seen_at)
    for item in watermarks:
        if item.idle_timeout_us is not None:
            # One that never gives a row is silent since the first batch.
            seen.setdefault(item.id, now.isoformat())
    watermark = before.next_watermark_ms
    idle = idle_inputs(seen, now, watermarks)
    if idle:  # time has passed since the seal, and that alone may let the others go on
        watermark = next_watermark(
            watermark, before.maxima_us, watermarks, query.watermark_policy, idle=idle
        )
    if flush_us is not None:
        watermark = max(watermark, flush_us // 1000)
    return EventTimePlan(
        watermark_ms=watermark,
        late_ms=EventTimePlan.from_json(last.plan.event_time).watermark_ms if last else 0,
        maxima_us=before.maxima_us,
        seen_at=seen,
        no_data=no_data,
        flush_us=flush_us,
    )


def closes_something(
    query: StreamingQuery, chain: Chain, last: BatchRecord | None, now: datetime
) -> bool:
    """Whether a batch without data is due: the watermark has passed what the last one used."""
    if last is None or last.seal is None or not query.no_data_batches:
        return False
    if not needs_no_data_batch(chain, query.sink.output_mode):
        return False
    following = next_event_time(query, chain, last, now)
    return following.watermark_ms > following.late_ms


def sealed_event_time(
    query: StreamingQuery, chain: Chain, plan: Plan, seen_us: dict[str, int]
) -> EventTimeSeal:
    """Where event time stands after a batch.

    Args:
        query: For its watermark policy.
        chain: Its logical plan.
        plan: The batch.
        seen_us: Watermark id to the greatest event time among the batch's rows.
    """
    return EventTimeSeal.after(
        EventTimePlan.from_json(plan.event_time),
        seen_us,
        plan.timestamp,
        chain.watermarks(),
        query.watermark_policy,
    )


def instant(us: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC; the number where no calendar reaches."""
    try:
        moment = _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return f"{us} us"
    return moment.isoformat().replace("+00:00", "Z")


def progress_of(plan: Plan, seen_us: Mapping[str, int]) -> tuple[JsonDict, dict[str, Any]]:
    """What a progress record says of event time, and what it says among its details."""
    at = EventTimePlan.from_json(plan.event_time)
    shown: JsonDict = {"watermark": instant(at.watermark_ms * 1000)}
    if seen_us:
        shown["max"] = instant(max(seen_us.values()))
    details: dict[str, Any] = {"watermark_seconds": at.watermark_ms / 1000}
    if at.no_data:
        details["no_data"] = True
    return shown, details
