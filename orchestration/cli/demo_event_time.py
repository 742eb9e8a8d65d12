"""The demo's last act: windows by event time, rows that come too late, and the proof again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.cli.late import show_late
from orchestration.cli.verify import show_verification
from orchestration.cli.watermark import show_watermark
from orchestration.clock import SystemClock
from orchestration.runtime.holding import held_by
from orchestration.runtime.late_rows import late_rows
from orchestration.runtime.twin import reprocess
from orchestration.runtime.verify import verify
from orchestration.runtime.waiting import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestration.cli.demo_stage import Stage
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.summary import RunSummary

__all__ = ["play_event_time"]

_SHOWN = 2


def play_event_time(
    stage: Stage,
    query: StreamingQuery,
    *,
    run: Callable[[], RunSummary],
    land_late: Callable[[], None],
) -> None:
    """Page views per five minutes.

    Args:
        stage: Where it is played.
        query: A windowed query over the files of the first act.
        run: Runs it, and shows the batches.
        land_late: Lets files land whose windows are closed by then.

    Raises:
        BrokenPromiseError: Something is not as it must be.
    """
    name = query.name
    stage.title("By event time: page views per five minutes", f"headwater run {name}")
    first = run()
    rows = sum(batch.num_output_rows for batch in first.batches)
    stage.expect(rows > 0, "windows that the watermark has passed are given")
    stage.title("The last windows are not there: why?", f"headwater watermark {name}")
    _watermark(stage, query)
    stage.title("Files of yesterday land, when their windows are closed", f"headwater late {name}")
    land_late()
    run()
    with query.open() as session:
        late = late_rows(session, _SHOWN)
    show_late(stage.console, name, late)
    stage.expect(late.total == late.dropped > 0, "every late row is kept, once")
    stage.title("Is every window right, and given once?", f"headwater verify {name}")
    with query.open() as session:
        full = reprocess(session)
        result = verify(session)
    show_verification(stage.console, name, full, result)
    stage.expect(result.passed, f"{name} equals its full reprocess")


def _watermark(stage: Stage, query: StreamingQuery) -> None:
    with query.open() as session:
        held = waiting(session)
        late = late_rows(session, 0)
        holding = held.report.holding if held is not None else None
        brought = held_by(session, holding) if holding is not None else None
    if held is not None:
        now = SystemClock().now()
        show_watermark(stage.console, query.name, held, late, brought, now)
    waits = held is not None and held.sentence is not None
    stage.expect(waits, "the windows that are still open are named")
