"""A stream with a sink, a trigger and a name: what runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from orchestration.errors import DeclarationError, OutputModeError, SchemaError
from orchestration.runtime.crashpoints import Reach, reach_from_environment
from orchestration.runtime.triggers import Trigger, available_now
from orchestration.sinks.scd import ChangeSink
from orchestration.streams.columns import Columns
from orchestration.streams.durations import parse_duration
from orchestration.streams.plan import Chain

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import Generation, Plan
    from orchestration.runtime.maintained import Maintenance
    from orchestration.runtime.progress import BatchProgress
    from orchestration.runtime.runner import RunSummary
    from orchestration.runtime.session import Session
    from orchestration.runtime.twin import Reprocessed
    from orchestration.runtime.verify import Verification
    from orchestration.sinks.declaration import DeltaSink
    from orchestration.sources.base import Backlog, Source
    from orchestration.state.watermarks import WatermarkPolicy
    from orchestration.streams.builder import Stream
    from orchestration.streams.static import StaticTable

__all__ = ["StreamingQuery"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED_ENDINGS = ("__full", "__quarantine", "__late")


class StreamingQuery:
    """A query that can be run, asked and reset, with or without Dagster.

    Args:
        name: Identifies the query for ever: its offsets, its tables' owner, its asset key.
            Letters, digits and underscores.
        stream: What it computes.
        sink: Where its rows go.
        trigger: When its batches run, where a run does not say otherwise.
        settings: Where things live; by default what the environment says when it is used.
        watermark_policy: With several watermarked inputs, whether the slowest holds the others
            back (``min``), or the fastest takes them along (``max``), which loses rows of the
            slower ones as late.
        no_data_batches: Whether a batch without input runs to close what the watermark has
            passed; without them a window waits for the next input.

    Attributes:
        warnings: What works, but not for ever: a sentence each.

    Raises:
        DeclarationError: The declaration cannot run, and why.
        OutputModeError: The output mode cannot hold what the stream computes.

    Example::

        query = StreamingQuery("clicks", stream(files("landing/clicks", schema={...})),
                               sink=delta_sink("clicks"))
        for batch in query.run():
            print(batch.batch_id, batch.num_output_rows)
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        *,
        sink: DeltaSink,
        trigger: Trigger | None = None,
        settings: Settings | None = None,
        watermark_policy: WatermarkPolicy = "min",
        no_data_batches: bool = True,
    ) -> None:
        if not _NAME.fullmatch(name) or name.endswith(_RESERVED_ENDINGS):
            raise DeclarationError(
                f"{name!r} is not a query name",
                remedy="use letters, digits and '_', not starting with a digit and not ending in "
                + ", ".join(_RESERVED_ENDINGS),
            )
        self.name = name
        self.stream = stream
        self.sink = sink
        self.trigger = trigger or available_now()
        self._settings = settings
        if watermark_policy not in {"min", "max"}:
            raise DeclarationError(
                f"query {name!r}: watermark_policy={watermark_policy!r} is unknown",
                remedy='choose "min" or "max"',
            )
        self.watermark_policy: WatermarkPolicy = watermark_policy
        self.no_data_batches = no_data_batches
        self.warnings: tuple[str, ...] = ()
        self._check_mode()
        if stream.columns is not None:
            columns = tuple(stream.columns)
            if isinstance(sink, ChangeSink):
                columns = sink.changes.resolved(_columns_of(stream)).table_columns
            self._check_columns(columns)

    def __repr__(self) -> str:
        return f"StreamingQuery({self.name!r}, {self.stream!r}, sink={self.sink.table!r})"

    @property
    def is_plain(self) -> bool:
        """Whether it reads one source and keeps nothing between batches."""
        return self.stream.is_plain and not isinstance(self.sink, ChangeSink)

    @property
    def sources(self) -> dict[str, Source]:
        """The sources it reads, by name."""
        return {item.name: cast("Source", item) for item in self.stream.sources}

    @property
    def statics(self) -> dict[str, StaticTable]:
        """The static tables it reads, by name."""
        return {item.name: item for item in self.stream.statics}

    @property
    def source(self) -> Source:
        """The only source it reads.

        Raises:
            DeclarationError: There are several; ask for :attr:`sources`.
        """
        sources = self.sources
        if len(sources) != 1:
            raise DeclarationError(
                f"query {self.name!r} reads {len(sources)} sources: {', '.join(sources)}",
                remedy="this works for queries of one source only",
            )
        return next(iter(sources.values()))

    @property
    def reads(self) -> str:
        """What it reads, for people, without secrets."""
        return " and ".join(source.description for source in self.sources.values())

    @property
    def settings(self) -> Settings:
        """Where things live."""
        from orchestration.config import Settings

        return self._settings or Settings.load()

    def open(self, *, clock: Clock | None = None) -> Session:
        """Everything the query needs at hand; close it after use."""
        from orchestration.runtime.session import Session

        return Session(self, self.settings, clock)

    def run(
        self,
        trigger: Trigger | None = None,
        *,
        on_batch: Callable[[BatchProgress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> list[BatchProgress]:
        """Run micro-batches as the trigger says.

        Args:
            trigger: Instead of the declared one.
            on_batch: Called with each finished batch's progress.
            stop: Set it, from a signal handler or another thread, to end after the batch in hand.

        Returns:
            Progress of each batch, in order; empty when nothing was new.

        Raises:
            QueryAlreadyRunning: Another runner of this query is alive.
            BatchBlocked: A batch failed too often and waits for ``retry`` or ``skip``.
            HeadwaterError: Anything else; the next run goes on where this one stopped.
        """
        return self.execute(trigger, on_batch=on_batch, stop=stop).batches

    def execute(
        self,
        trigger: Trigger | None = None,
        *,
        on_batch: Callable[[BatchProgress], None] | None = None,
        on_plan: Callable[[Plan, Backlog], None] | None = None,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
        reach: Reach | None = None,
    ) -> RunSummary:
        """Like :meth:`run`, with everything there is to say about the run."""
        from orchestration.runtime.runner import MicroBatchRunner

        with self.open(clock=clock) as session:
            runner = MicroBatchRunner(
                session,
                reach=reach or reach_from_environment(),
                on_batch=on_batch,
                on_plan=on_plan,
                stop=stop,
            )
            return runner.run(trigger or self.trigger)

    def flush(self, until: datetime, *, clock: Clock | None = None) -> RunSummary:
        """Close everything that ends at ``until`` or before, in one recorded batch.

        For the end of a feed: nothing comes any more that would move the watermark.

        Args:
            until: Event time, aware.
            clock: The time.

        Returns:
            The batches that ran; none where the watermark had passed ``until`` already.
        """
        from orchestration.runtime.flush import flush

        return flush(self, until, clock=clock)

    def reprocess(self) -> Reprocessed | None:
        """Recompute everything the query has read so far into its full-reprocess twin."""
        from orchestration.runtime.twin import reprocess

        with self.open() as session:
            return reprocess(session)

    def verify(self) -> Verification:
        """Compare the incremental table with its twin, as of the input the twin has read."""
        from orchestration.runtime.verify import verify

        with self.open() as session:
            return verify(session)

    def maintain(
        self,
        *,
        retention: str = "7 days",
        dry_run: bool = False,
        clock: Clock | None = None,
    ) -> Maintenance:
        """Pack small files of the query's tables, and delete what nobody needs any more.

        Args:
            retention: What was current in this time stays readable; a day at least.
            dry_run: Only say what would be done.
            clock: The time.
        """
        from orchestration.runtime.maintenance import maintain

        with self.open(clock=clock) as session:
            return maintain(session, retention=parse_duration(retention), dry_run=dry_run)

    def reset(self) -> Generation:
        """Start anew: empty the tables, forget the offsets. The next run reads everything."""
        from orchestration.runtime.reset import reset

        with self.open() as session:
            return reset(session, "reset")

    def check_mode(self, chain: Chain) -> None:
        """Hold the logical plan against the output mode.

        Raises:
            OutputModeError: It cannot hold it; says what can.
        """
        from orchestration.streams.modes import check_output_mode

        self.warnings = check_output_mode(chain, self.sink.output_mode)

    def plan_of(self, stream: Stream) -> Chain:
        """The logical plan over a stream of this query whose columns are known.

        Raises:
            DeclarationError: Columns are not known yet, or the sink's do not fit them.
        """
        chain = stream.plan()
        if not isinstance(self.sink, ChangeSink):
            return chain
        operator = self.sink.changes.operator(_columns_of(stream))
        return Chain(chain.root, (*chain.operators, operator))

    def _check_mode(self) -> None:
        stream, mode = self.stream, self.sink.output_mode
        if stream.is_static:
            raise DeclarationError(
                f"query {self.name!r} reads static tables alone, so nothing of it ever grows",
                remedy="begin with stream(...); a result over static tables is computed at once",
            )
        if mode == "complete" and self.is_plain:
            raise OutputModeError(
                f"query {self.name!r}: output mode 'complete' holds the whole result of an "
                "aggregation, and this query has none",
                remedy='use delta_sink(..., output_mode="append")',
            )
        # With columns that are still to be found out, it is looked at when they are known.
        known = all(item.schema is not None for item in (*stream.sources, *stream.statics))
        if known and not self.is_plain:
            self.check_mode(self.plan_of(stream))

    def check_output(self, schema: pa.Schema) -> None:
        """Hold the computed columns against what the sink wants of them.

        Raises:
            SchemaError: A partition column is missing, or nothing but partitions is left.
        """
        self._check_columns(tuple(schema.names))
        for column in self.sink.partition_by:
            kind = schema.field(column).type
            if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_floating(kind):
                raise SchemaError(
                    f"query {self.name!r}: {column!r} is a {kind}, which makes no directory name",
                    remedy="partition by a date, a text or an integer",
                )

    def _check_columns(self, columns: tuple[str, ...]) -> None:
        missing = [name for name in self.sink.partition_by if name not in columns]
        if missing:
            raise SchemaError(
                f"query {self.name!r}: partition_by names {missing}, and the columns are "
                f"{list(columns)}",
                remedy="select the columns you partition by",
            )
        if columns and len(columns) == len(self.sink.partition_by):
            raise SchemaError(
                f"query {self.name!r}: every column is a partition column, so no file would "
                "hold a column",
                remedy="keep at least one column out of partition_by",
            )

    def describe(self) -> dict[str, Any]:
        """The declaration as JSON, without secrets."""
        return {
            "name": self.name,
            "stream": self.stream.describe(),
            "sink": {
                "table": self.sink.table,
                "output_mode": self.sink.mode,
                **(
                    {"changes": self.sink.changes.described()}
                    if isinstance(self.sink, ChangeSink)
                    else {}
                ),
                "partition_by": list(self.sink.partition_by),
                "schema_evolution": self.sink.schema_evolution,
            },
            "trigger": str(self.trigger),
        }


def _columns_of(stream: Stream) -> Columns:
    """A stream's columns, once known, with their types as far as they are."""
    columns = stream.body.scope.columns
    return columns if columns is not None else Columns(())
