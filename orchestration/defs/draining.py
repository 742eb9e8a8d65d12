"""One run drains many micro-batches, and tells of each when it is done, not at the end.

The query runs in a thread of its own; the thread that asks gets the batches one by one. So each
is in Dagster's event log seconds after its commit, and a run that is told to stop ends after the
batch in hand.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING

from orchestration.clock import Clock, SystemClock
from orchestration.errors import QueryAlreadyRunning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.runtime.progress import BatchProgress
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.runner import RunSummary

__all__ = ["Drain", "Waiting"]

# Another run of the query ends after its backlog or its max_duration; then it is our turn.
_LONGEST_WAIT = timedelta(hours=1)
_PAUSES = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another runner holds the query's lease.

    Attributes:
        reason: Who, and since when.
    """

    reason: str


class Drain:
    """A run of a query, as it goes on.

    Args:
        query: What to run.
        max_duration: Stop after this time, at the end of a batch; ``None`` runs until the
            trigger has enough. Time spent waiting for another runner does not count.
        longest_wait: How long to wait for another runner.
        clock: The time.
    """

    def __init__(
        self,
        query: StreamingQuery,
        *,
        max_duration: timedelta | None = None,
        longest_wait: timedelta = _LONGEST_WAIT,
        clock: Clock | None = None,
    ) -> None:
        self._query = query
        self._max_duration = max_duration
        self._longest_wait = longest_wait + (max_duration or timedelta())
        self._clock = clock or SystemClock()
        self._items: SimpleQueue[BatchProgress | Waiting | BaseException | None] = SimpleQueue()
        self._abort = threading.Event()
        self._stop = threading.Event()
        self._summary: RunSummary | None = None

    @property
    def summary(self) -> RunSummary:
        """What the run did, once it is over."""
        if self._summary is None:
            raise RuntimeError("the run is not over")
        return self._summary

    def __iter__(self) -> Iterator[BatchProgress | Waiting]:
        """Run the query; each finished batch, and once that it waits for another runner.

        Raises:
            QueryAlreadyRunning: The other runner did not end in time.
            HeadwaterError: What the run raised.
        """
        thread = threading.Thread(target=self._work, name=f"drain-{self._query.name}", daemon=True)
        thread.start()
        try:
            while (item := self._items.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:  # told to stop: end after the batch in hand
            self._abort.set()
            self._stop.set()
            thread.join()

    def _work(self) -> None:
        try:
            self._summary = self._run()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._items.put(error)
        else:
            self._items.put(None)

    def _run(self) -> RunSummary:
        give_up = self._clock.monotonic() + self._longest_wait.total_seconds()
        tries = 0
        while True:
            try:
                return self._attempt()
            except QueryAlreadyRunning as error:
                if self._abort.is_set() or self._clock.monotonic() >= give_up:
                    raise
                if not tries:
                    self._items.put(Waiting(str(error.args[0])))
            self._clock.wait(self._abort, _PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    def _attempt(self) -> RunSummary:
        self._stop = threading.Event()
        if self._abort.is_set():  # set before this event was there to be set
            self._stop.set()
        timer = None
        if self._max_duration is not None:
            timer = threading.Timer(self._max_duration.total_seconds(), self._stop.set)
            timer.daemon = True
            timer.start()
        try:
            return self._query.execute(on_batch=self._items.put, stop=self._stop)
        finally:
            if timer is not None:
                timer.cancel()
