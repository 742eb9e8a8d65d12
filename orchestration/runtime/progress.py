"""What is known of a batch once it is over (semantics §8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.clock import Clock

__all__ = ["BatchProgress", "SinkProgress", "SourceProgress", "Stopwatch"]


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """One source in one batch. Offsets are the source's own JSON."""

    name: str
    description: str
    start_offset: dict[str, Any]
    end_offset: dict[str, Any]
    latest_offset: dict[str, Any]
    num_input_rows: int
    input_rows_per_second: float
    processed_rows_per_second: float
    files: int
    bytes: int
    files_outstanding: int
    bytes_outstanding: int


@dataclass(frozen=True, slots=True)
class SinkProgress:
    """What a batch did to the sink.

    Attributes:
        description: The table's URI.
        num_output_rows, files, bytes: What it added.
        version: The table version that holds everything up to this batch.
    """

    description: str
    num_output_rows: int
    files: int
    bytes: int
    version: int | None


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """One batch, as Structured Streaming's progress reports it.

    Attributes:
        id: The generation (Delta's ``txn.appId``).
        run_id: The run that planned it.
        name: The query.
        batch_id: The batch.
        timestamp: What ``now()`` meant; ISO 8601, UTC.
        num_input_rows: Records read, bad ones among them.
        quarantined_rows: Records set aside.
        batch_duration_ms: From planning to the mark of the commit.
        duration_ms: Milliseconds of latest_offset, plan, log, read_and_compute, seal, commit and
            mark_committed.
        event_time: ``watermark`` in ISO 8601; empty without event time.
        state_operators: One entry per stateful operator.
        sources: One entry per source.
        sink: What was written.
        replayed: True when a crash left this batch and a later run finished it.
        skipped: True when it was set aside by hand.
    """

    id: str
    run_id: str
    name: str
    batch_id: int
    timestamp: str
    num_input_rows: int
    quarantined_rows: int
    batch_duration_ms: float
    duration_ms: dict[str, float]
    event_time: dict[str, str]
    state_operators: tuple[dict[str, Any], ...]
    sources: tuple[SourceProgress, ...]
    sink: SinkProgress
    replayed: bool = False
    skipped: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def num_output_rows(self) -> int:
        """Rows added to the sink."""
        return self.sink.num_output_rows

    @property
    def bytes(self) -> int:
        """Bytes read."""
        return sum(item.bytes for item in self.sources)

    @property
    def files(self) -> int:
        """Files read."""
        return sum(item.files for item in self.sources)

    @property
    def at(self) -> datetime:
        """The batch's timestamp."""
        return datetime.fromisoformat(self.timestamp)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON, with the sums that the cursor store adds up."""
        return {
            **asdict(self),
            "rows_in": self.num_input_rows,
            "rows_out": self.num_output_rows,
            "rows_bad": self.quarantined_rows,
            "bytes_in": self.bytes,
            "files_in": self.files,
            "seconds": round(self.batch_duration_ms / 1000, 6),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        # What a later version adds is left out, so that an older one can still show the rest.
        known = {item.name: value[item.name] for item in fields(cls) if item.name in value}
        known["state_operators"] = tuple(value["state_operators"])
        known["sources"] = tuple(SourceProgress(**item) for item in value["sources"])
        known["sink"] = SinkProgress(**value["sink"])
        return cls(**known)


class Stopwatch:
    """Milliseconds spent in named phases."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._lap = self._started
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Book the time since the last lap on ``name``."""
        now = self._clock.monotonic()
        self.laps[name] = round(self.laps.get(name, 0.0) + (now - self._lap) * 1000, 3)
        self._lap = now

    @property
    def total(self) -> float:
        """Milliseconds since the start."""
        return round((self._clock.monotonic() - self._started) * 1000, 3)
