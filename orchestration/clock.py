"""Time as an object, so that logic never asks the wall clock and tests never sleep."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What logic may know of time."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC, microseconds."""

    def monotonic(self) -> float:
        """Seconds that only grow, for durations."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for ``event``, ``seconds`` at most; true when it was set."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The machine's time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """``time.perf_counter``."""
        return time.perf_counter()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Block until ``event`` is set or the time is over."""
        return event.wait(max(0.0, seconds))


class ManualClock:
    """A clock that moves only when told to.

    Args:
        start: Aware timestamp it shows first.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The time it was moved to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds it was moved by so far."""
        return self._monotonic

    def advance(self, delta: timedelta | float) -> None:
        """Move on by a timedelta, or by seconds."""
        step = delta if isinstance(delta, timedelta) else timedelta(seconds=delta)
        self._now += step
        self._monotonic += step.total_seconds()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Return at once, moved on by ``seconds`` unless the event is set."""
        if event.is_set():
            return True
        self.advance(max(0.0, seconds))
        return event.is_set()
