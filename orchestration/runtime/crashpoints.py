"""The named moments of the protocol at which a crash is worth testing.

``HEADWATER_CRASH_AT=after_seal`` kills the process (SIGKILL, as the machine would) when that
point is reached; ``after_seal@3`` when it is reached for the third time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable

from orchestration.errors import ConfigError

__all__ = ["CRASH_POINTS", "Reach", "check_crash_point", "reach_from_environment"]

CRASH_POINTS = (
    "after_plan_log",
    "during_write",
    "after_write",
    "after_seal",
    "after_quarantine_commit",
    "after_late_commit",
    "after_sink_commit",
    "after_mark_committed",
    "after_ack",
)

#: Called with the name of each point as the runner reaches it.
Reach = Callable[[str], None]

_VARIABLE = "HEADWATER_CRASH_AT"


def check_crash_point(point: str) -> str:
    """The point itself.

    Raises:
        ConfigError: It is none of :data:`CRASH_POINTS`.
    """
    if point not in CRASH_POINTS:
        raise ConfigError(
            f"{point!r} is no crash point", remedy=f"choose one of {', '.join(CRASH_POINTS)}"
        )
    return point


def reach_from_environment() -> Reach:
    """What a real process does at each point: nothing, unless told to die there."""
    wanted = os.environ.get(_VARIABLE, "")
    if not wanted:
        return lambda _point: None
    point, _, nth = wanted.partition("@")
    check_crash_point(point)
    if nth and not nth.isdigit():
        raise ConfigError(f"{_VARIABLE}={wanted!r}: {nth!r} is not a count", remedy="e.g. @3")
    count = int(nth or 1)
    reached: Counter[str] = Counter()

    def reach(name: str) -> None:
        reached[name] += 1
        if name == point and reached[name] == count:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
