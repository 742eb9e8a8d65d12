"""The watermark moved once by hand: what is open at the end of a feed is closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestration.errors import DeclarationError
from orchestration.runtime.crashpoints import Reach, reach_from_environment
from orchestration.runtime.triggers import once

if TYPE_CHECKING:
    from orchestration.clock import Clock
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.session import Session
    from orchestration.runtime.summary import RunSummary

__all__ = ["flush"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def flush(
    query: StreamingQuery,
    until: datetime,
    *,
    clock: Clock | None = None,
    reach: Reach | None = None,
) -> RunSummary:
    """Run one batch without data by which everything closes that ends at ``until`` or before.

    It is recorded as any batch, runs exactly once whatever crashes, and later batches go on from
    its watermark: rows that come after it for what it closed are late. Input that is there and
    was not read yet is not read by it, so run the query first. A batch that a crash had left is
    finished before.

    Args:
        query: The query.
        until: Event time, aware.
        clock: The time.
        reach: Crash points.

    Returns:
        The batches that ran; none where a watermark had passed ``until`` already.

    Raises:
        DeclarationError: The query has no watermark, its output mode closes nothing, or ``until``
            does not say its time zone.
        HeadwaterError: As for a run; the next run or flush goes on from there.
    """
    from orchestration.runtime.runner import MicroBatchRunner

    if until.tzinfo is None:
        raise DeclarationError(
            f"flush(until={until.isoformat()}): the time does not say its zone",
            remedy=f"write e.g. {until.isoformat()}Z",
        )
    with query.open(clock=clock) as session:
        _check(session)
        runner = MicroBatchRunner(session, reach=reach or reach_from_environment())
        return runner.run(once(), flush_us=(until - _EPOCH) // timedelta(microseconds=1))


def _check(session: Session) -> None:
    query = session.query
    generation = session.store.queries.get(query.name)
    known = session.bind(generation.input_schema if generation else None)
    if query.is_plain or (known and not session.chain.watermarks()):
        raise DeclarationError(
            f"query {query.name!r} has no watermark, so nothing waits to be closed",
            remedy='with_watermark("ts", "10 minutes") before the grouping gives it one',
        )
    if query.sink.output_mode == "complete":
        raise DeclarationError(
            f"query {query.name!r} gives all groups in every batch (output mode 'complete'), so "
            "there is nothing to close",
            remedy="read its table",
        )
