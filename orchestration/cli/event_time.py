"""Event time, late rows and state as people read them; shared by the commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestration.cli.words import count, duration
from orchestration.streams.windows import duration_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.runtime.progress import BatchProgress

__all__ = ["EventTime", "delay", "event_time_of", "instant", "moment", "span"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NONE = "none yet"


@dataclass(frozen=True, slots=True)
class EventTime:
    """What a batch's progress says of event time and state.

    Attributes:
        watermark_at: The watermark it used, ISO 8601; ``None`` without event time.
        late: Rows it dropped as late.
        late_total: Those of all batches so far.
        state_rows, state_bytes: What was kept after it.
        stateful: Whether there is anything to say at all.
    """

    watermark_at: str | None
    late: int
    late_total: int
    state_rows: int
    state_bytes: int
    stateful: bool

    @property
    def watermark(self) -> str:
        """The watermark for people; ``-`` where there is none yet."""
        shown = moment(self.watermark_at)
        return "-" if shown == _NONE else shown

    @property
    def watermark_short(self) -> str:
        """The same to the minute and without its zone, for a table: ``2026-03-02 14:02``."""
        return self.watermark[:16]

    def to_json(self) -> dict[str, Any] | None:
        """As JSON; ``None`` where there is nothing to say."""
        if not self.stateful:
            return None
        return {
            "watermark": self.watermark_at,
            "late_rows_total": self.late_total,
            "state_rows": self.state_rows,
            "state_bytes": self.state_bytes,
        }


def event_time_of(batch: BatchProgress | None) -> EventTime:
    """What a batch says of event time and state."""
    if batch is None:
        return EventTime(None, 0, 0, 0, 0, stateful=False)
    operators: Sequence[dict[str, Any]] = batch.state_operators
    return EventTime(
        watermark_at=batch.event_time.get("watermark"),
        late=int(batch.details.get("late_rows", 0)),
        late_total=int(batch.details.get("late_rows_total", 0)),
        state_rows=sum(int(item.get("rows_total", 0)) for item in operators),
        state_bytes=sum(int(item.get("bytes", 0)) for item in operators),
        stateful=bool(batch.event_time or operators),
    )


def moment(text: str | None) -> str:
    """An ISO 8601 time for people: ``2026-03-02 14:02:00 UTC``; ``none yet`` for 1970."""
    if text is None:
        return "-"
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    if at == _EPOCH:
        return _NONE
    shown = f"{at:%Y-%m-%d %H:%M:%S}"
    return f"{shown}{f'.{at:%f}'.rstrip('0') if at.microsecond else ''} UTC"


def instant(us: int | None) -> str:
    """Microseconds since 1970 for people; ``-`` for none."""
    if us is None:
        return "-"
    try:
        return moment((_EPOCH + timedelta(microseconds=us)).isoformat())
    except OverflowError:
        return f"{us} microseconds"


def delay(seconds: float) -> str:
    """A length of event time as it was declared: ``10 minutes``, ``1 day``."""
    return duration_text(round(seconds * 1_000_000))


def span(seconds: float) -> str:
    """A measured length of event time: ``12.0 s``, ``1 h 30 min``, ``4 days``."""
    days = timedelta(seconds=seconds).days
    return count(days, "day") if days >= 2 else duration(seconds)
