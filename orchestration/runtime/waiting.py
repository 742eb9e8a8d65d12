"""What a query holds back until the watermark comes: why its rows are not there yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration.runtime.watermark_report import WatermarkReport, watermark_report
from orchestration.streams.operators import Aggregate, ApplyWithState
from orchestration.streams.plan import JoinRoot

if TYPE_CHECKING:
    from orchestration.runtime.session import Session
    from orchestration.streams.plan import Chain

__all__ = ["Waiting", "waiting"]

_UNNAMED = "what is kept"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where event time stands, and what is held back by it.

    Attributes:
        report: Where it stands.
        sentence: What is held back and when it is given: ``window 14:00 closes at event time
            14:15; the watermark is 14:02``. ``None`` where no row is held back: in other modes
            than append, after a deduplication or an inner join, or when nothing is open.
    """

    report: WatermarkReport
    sentence: str | None

    def said(self, rows: int) -> str | None:
        """The sentence, as the reason why nothing was given where that is so.

        Args:
            rows: What the run has given.
        """
        return f"0 rows: {self.sentence}" if self.sentence and not rows else self.sentence


def waiting(session: Session) -> Waiting | None:
    """What a query holds back; reads the cursor store alone, and takes no lease.

    Returns:
        ``None`` for a query without a watermark, or whose columns are not known yet.
    """
    report = watermark_report(session)
    if report is None:
        return None
    holds = _holds_back(session.chain) if report.output_mode == "append" else None
    if holds is None:
        return Waiting(report, None)
    if report.closes == _UNNAMED:
        report = replace(report, closes=holds)
    return Waiting(report, report.explanation)


def _holds_back(chain: Chain) -> str | None:
    """What waits for the watermark, where it has no name of its own; ``None``: nothing does."""
    for part in chain.walk():
        root = part.root
        if isinstance(root, JoinRoot) and root.how in {"left", "right", "full", "anti"}:
            streams = not any(side.is_static for side in part.inputs)
            if streams:
                return "a row without a match"
        for operator in part.operators:
            if isinstance(operator, Aggregate):
                return "a group"
            if isinstance(operator, ApplyWithState) and operator.timeout is not None:
                return "a timeout"
    return None
