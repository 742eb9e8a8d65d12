"""What users test their own pipelines with: rows in memory, a drain, and crashes on demand.

::

    src = MemoryStream({"ts": "TIMESTAMPTZ", "v": "BIGINT"})
    test = StreamTest(stream(src).where("v > 0"))
    src.add([{"ts": "1970-01-01T00:00:15Z", "v": 1}])
    assert [batch.rows for batch in test.drain()] == [[{"ts": ..., "v": 1}]]

    test.crash_at("after_sink_commit")
    src.add([{"ts": 20, "v": 2}])
    with pytest.raises(SimulatedCrash):
        test.drain()
    test.restart()
    test.drain()          # finishes that batch, once
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet, finalize

from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.runtime.crashpoints import CRASH_POINTS, check_crash_point
from orchestration.runtime.query import StreamingQuery
from orchestration.runtime.triggers import Trigger
from orchestration.runtime.triggers import available_now as _available_now
from orchestration.sinks.declaration import OutputMode, delta_sink
from orchestration.sources.base import UNLIMITED, Limits
from orchestration.sources.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from orchestration.runtime.progress import BatchProgress
    from orchestration.runtime.session import Session
    from orchestration.sinks.declaration import DeltaSink
    from orchestration.state.watermarks import WatermarkPolicy
    from orchestration.streams.builder import Stream

__all__ = [
    "CRASH_POINTS",
    "ManualClock",
    "MemoryStream",
    "SimulatedCrash",
    "StreamTest",
    "TestBatch",
]


class SimulatedCrash(BaseException):
    """The process would be dead now. Not an ``Exception``, so that nothing tidies up after it."""


class MemoryStream(MemorySource):
    """A source of rows that a test adds.

    Args:
        schema: Column to DuckDB type.
        name: Unique within the query, and what its offsets are kept under. By default
            ``memory``, then ``memory_2``, …: the first that no other living one has.
        limits: How much a batch reads; only ``max_rows`` means anything.
    """

    _living: ClassVar[WeakSet[MemoryStream]] = WeakSet()

    def __init__(
        self,
        schema: Mapping[str, str] | pa.Schema,
        *,
        name: str | None = None,
        limits: Limits = UNLIMITED,
    ) -> None:
        super().__init__(schema, name=name or self._free_name(), limits=limits)
        self._living.add(self)

    @classmethod
    def _free_name(cls) -> str:
        taken = {item.name for item in cls._living}
        return next(
            name
            for number in count(1)
            if (name := "memory" if number == 1 else f"memory_{number}") not in taken
        )


@dataclass(frozen=True, slots=True)
class TestBatch:
    """One batch that ran.

    Attributes:
        batch_id: Its id.
        rows: What it gave to the sink, in any order: in update mode the groups that changed, in
            complete mode all of them; timestamps are aware, in UTC.
        watermark: The one it used, in seconds since the epoch; 0.0 without event time.
        late_rows: Rows dropped as late, over all operators.
        state_rows: Rows kept as state after it, over all operators.
        operators: Progress of each stateful operator.
        quarantined: Records set aside.
        progress: Everything else there is to know.
    """

    __test__ = False  # pytest would take it for a test class

    batch_id: int
    rows: list[dict[str, Any]]
    watermark: float
    late_rows: int
    state_rows: int
    operators: list[dict[str, Any]]
    quarantined: int
    progress: BatchProgress = field(repr=False)


class StreamTest:
    """Runs a stream against a throwaway cursor store, state and sink.

    Args:
        stream: The stream under test.
        output_mode: As for :func:`~orchestration.delta_sink`.
        sink: Instead of such a sink: ``scd1_sink(...)``, ``scd2_sink(...)``.
        no_data_batches: Whether a batch without input may run to close what a watermark passed.
        watermark_policy: ``min`` or ``max`` of several watermarked inputs.
        home: Directory for everything; a temporary one, deleted with the test, by default.
        cursors: SQLAlchemy URL of the cursor store; SQLite in ``home`` by default.
        tables, state: Where they go instead of ``home``; ``s3://`` works.
        name: The query's name.
        sink_options: Passed on to ``delta_sink``.
    """

    __test__ = False

    def __init__(
        self,
        stream: Stream,
        output_mode: OutputMode = "append",
        *,
        sink: DeltaSink | None = None,
        no_data_batches: bool = True,
        watermark_policy: WatermarkPolicy = "min",
        home: Path | None = None,
        cursors: str | None = None,
        tables: str | None = None,
        state: str | None = None,
        name: str = "stream_test",
        **sink_options: Any,
    ) -> None:
        self.home = home or Path(mkdtemp(prefix="headwater-test-"))
        if home is None:
            finalize(self, shutil.rmtree, str(self.home), ignore_errors=True)
        places = {"cursors": cursors, "tables": tables, "state": state}
        self.settings = Settings.load(
            home=self.home, **{key: value for key, value in places.items() if value is not None}
        )
        self.clock = ManualClock()
        self.query = StreamingQuery(
            name,
            stream,
            sink=sink or delta_sink(name, output_mode=output_mode, **sink_options),
            settings=self.settings,
            watermark_policy=watermark_policy,
            no_data_batches=no_data_batches,
        )
        self._crash: str | None = None
        self._hooks: dict[str, list[Callable[[], None]]] = {}

    def drain(self, trigger: Trigger | None = None) -> list[TestBatch]:
        """Run everything that is there now.

        Args:
            trigger: ``available_now()`` by default.

        Returns:
            Every batch that ran.

        Raises:
            SimulatedCrash: A point given to :meth:`crash_at` was reached.
        """
        self.clock.advance(1)
        finished: list[BatchProgress] = []
        self.query.execute(
            trigger or _available_now(),
            on_batch=finished.append,
            clock=self.clock,
            reach=self._reach,
        )
        if not finished:
            return []
        with self.query.open(clock=self.clock) as session:
            return [_batch(session, progress) for progress in finished]

    def crash_at(self, point: str) -> None:
        """Let the next drain die when it reaches ``point``, one of :data:`CRASH_POINTS`."""
        self._crash = check_crash_point(point)

    def at(self, point: str, action: Callable[[], None]) -> None:
        """Do something when ``point`` is reached, once: what another process might do then."""
        self._hooks.setdefault(check_crash_point(point), []).append(action)

    def restart(self) -> None:
        """Go on as a new process would: only cursor store, state and tables are left."""
        self.query = StreamingQuery(
            self.query.name,
            self.query.stream,
            sink=self.query.sink,
            settings=self.settings,
            watermark_policy=self.query.watermark_policy,
            no_data_batches=self.query.no_data_batches,
        )
        self._crash = None

    def lose_commit(self, batch_id: int) -> None:
        """Forget that a batch was committed, as if the crash had come before step 7."""
        with self.query.open(clock=self.clock) as session:
            generation = session.store.queries.get(self.query.name)
            if generation is not None:
                session.store.batches.forget_commit(generation, batch_id)

    def table(self) -> list[dict[str, Any]]:
        """Every row of the sink."""
        return self._read(self.settings.tables_uri(self.query.sink.table))

    def quarantine(self) -> list[dict[str, Any]]:
        """Every row of the quarantine table."""
        return self._read(self.settings.tables_uri(self.query.sink.table) + "__quarantine")

    def late(self) -> list[dict[str, Any]]:
        """Every row of the late table: what came after its window had closed."""
        return self._read(self.settings.tables_uri(self.query.sink.table) + "__late")

    def _reach(self, point: str) -> None:
        for action in self._hooks.pop(point, ()):
            action()
        if self._crash == point:
            self._crash = None
            raise SimulatedCrash(point)

    def _read(self, uri: str) -> list[dict[str, Any]]:
        from orchestration.runtime.contents import table_rows

        return table_rows(uri)


def _batch(session: Session, progress: BatchProgress) -> TestBatch:
    from orchestration.runtime.contents import batch_rows

    operators = [dict(item) for item in progress.state_operators]
    return TestBatch(
        batch_id=progress.batch_id,
        rows=batch_rows(session, progress.batch_id),
        watermark=float(progress.details.get("watermark_seconds", 0.0)),
        late_rows=sum(int(item.get("rows_dropped_by_watermark", 0)) for item in operators),
        state_rows=sum(int(item.get("rows_total", 0)) for item in operators),
        operators=operators,
        quarantined=progress.quarantined_rows,
        progress=progress,
    )
