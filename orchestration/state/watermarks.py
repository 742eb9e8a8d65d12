"""Where event time stands: the arithmetic of watermarks (semantics §1).

A watermark is a whole number of milliseconds since 1970, starts at 0 and never goes back. A
batch has two: what it closes and emits follows its own, and what is late in it follows that of
the batch before. Both stand in its plan, with the maximum of every input that they came from, so
that a batch that is run again closes and drops the same.

Source: Structured Streaming's ``WatermarkTracker`` and ``WatermarkPropagator``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from orchestration.streams.operators import WithWatermark

__all__ = [
    "EventTimePlan",
    "EventTimeSeal",
    "WatermarkPolicy",
    "idle_inputs",
    "input_watermark",
    "next_watermark",
]

WatermarkPolicy = Literal["min", "max"]
JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventTimePlan:
    """What a stateful batch has to know beside its input: :attr:`Plan.event_time`.

    Attributes:
        watermark_ms: What this batch closes and emits by; milliseconds since 1970.
        late_ms: What it drops late rows by: the watermark of the batch before.
        maxima_us: Watermark id to the greatest event time seen before this batch, microseconds.
        seen_at: Watermark id to the timestamp of the batch that last gave it a row, ISO.
        no_data: True for a batch that only closes what the watermark has passed.
        statics: Static table to the version it is read at.
        flush_us: For a batch that a person asked for: close what ends by then.
    """

    watermark_ms: int = 0
    late_ms: int = 0
    maxima_us: Mapping[str, int] = field(default_factory=dict)
    seen_at: Mapping[str, str] = field(default_factory=dict)
    no_data: bool = False
    statics: Mapping[str, JsonDict] = field(default_factory=dict)
    flush_us: int | None = None

    def to_json(self) -> JsonDict:
        """As it stands in the plan."""
        value: JsonDict = {
            "watermark_ms": self.watermark_ms,
            "late_ms": self.late_ms,
            "maxima_us": dict(self.maxima_us),
            "seen_at": dict(self.seen_at),
            "no_data": self.no_data,
        }
        if self.statics:
            value["statics"] = dict(self.statics)
        if self.flush_us is not None:
            value["flush_us"] = self.flush_us
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(
            int(value.get("watermark_ms", 0)),
            int(value.get("late_ms", 0)),
            dict(value.get("maxima_us", {})),
            dict(value.get("seen_at", {})),
            bool(value.get("no_data", False)),
            dict(value.get("statics", {})),
            value.get("flush_us"),
        )


@dataclass(frozen=True, slots=True)
class EventTimeSeal:
    """Where event time stands after a batch: :attr:`Seal.event_time`.

    Attributes:
        maxima_us, seen_at: As in the plan, with this batch's rows.
        next_watermark_ms: The watermark of the batch after it.
    """

    maxima_us: Mapping[str, int] = field(default_factory=dict)
    seen_at: Mapping[str, str] = field(default_factory=dict)
    next_watermark_ms: int = 0

    def to_json(self) -> JsonDict:
        """As it stands in the seal."""
        return {
            "maxima_us": dict(self.maxima_us),
            "seen_at": dict(self.seen_at),
            "next_watermark_ms": self.next_watermark_ms,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(
            dict(value.get("maxima_us", {})),
            dict(value.get("seen_at", {})),
            int(value.get("next_watermark_ms", 0)),
        )

    @classmethod
    def after(
        cls,
        plan: EventTimePlan,
        seen_us: Mapping[str, int],
        timestamp: datetime,
        watermarks: Iterable[WithWatermark],
        policy: WatermarkPolicy,
    ) -> Self:
        """What a batch's rows make of its plan.

        Args:
            plan: The batch's.
            seen_us: Watermark id to the greatest event time among this batch's rows.
            timestamp: The batch's.
            watermarks: The query's.
            policy: Whether the slowest input holds the others, or the fastest takes them along.
        """
        maxima = dict(plan.maxima_us)
        seen = dict(plan.seen_at)
        for key, value in seen_us.items():
            maxima[key] = max(value, maxima.get(key, value))
            seen[key] = timestamp.isoformat()
        given = tuple(watermarks)
        idle = idle_inputs(seen, timestamp, given)
        return cls(
            maxima, seen, next_watermark(plan.watermark_ms, maxima, given, policy, idle=idle)
        )


def next_watermark(
    current_ms: int,
    maxima_us: Mapping[str, int],
    watermarks: Iterable[WithWatermark],
    policy: WatermarkPolicy = "min",
    *,
    idle: Collection[str] = (),
) -> int:
    """The watermark after a batch; never below ``current_ms``.

    An input without a row counts as 0, so with ``min`` it holds everything at 1970.

    Args:
        current_ms: The batch's own.
        maxima_us: Watermark id to the greatest event time seen so far.
        watermarks: The query's.
        policy: ``min`` or ``max`` of the inputs.
        idle: Ids that do not count, as long as there is another one.
    """
    given = tuple(watermarks)
    counted = [item for item in given if item.id not in idle] or list(given)
    each = [input_watermark(maxima_us.get(item.id), item) for item in counted]
    if not each:
        return current_ms
    return max(current_ms, min(each) if policy == "min" else max(each))


def input_watermark(maximum_us: int | None, watermark: WithWatermark) -> int:
    """One input's own watermark, milliseconds: its maximum, floored, less the delay; 0 at least."""
    if maximum_us is None:
        return 0
    return max(0, maximum_us // 1000 - watermark.delay_us // 1000)


def idle_inputs(
    seen_at: Mapping[str, str], now: datetime, watermarks: Iterable[WithWatermark]
) -> frozenset[str]:
    """Inputs with an ``idle_timeout`` that gave no row for so long, by the batches' timestamps.

    One that never gave a row is not idle: nobody knows since when.
    """
    return frozenset(
        item.id
        for item in watermarks
        if item.idle_timeout_us is not None
        and item.id in seen_at
        and now - datetime.fromisoformat(seen_at[item.id])
        > timedelta(microseconds=item.idle_timeout_us)
    )
