"""The case table: semantics §9, and more that its rules decide."""

from __future__ import annotations

from tests.event_time.cases import (
    chains,
    dedup,
    joins,
    modes,
    sessions,
    statics,
    triggers,
    windows,
)

__all__ = ["CASES"]

CASES = [
    case
    for module in (windows, modes, sessions, dedup, joins, statics, chains, triggers)
    for case in module.CASES
]
