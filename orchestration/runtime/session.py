"""A query with everything it needs at hand, opened for one operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

import pyarrow as pa

from orchestration.clock import Clock, SystemClock
from orchestration.cursors.logfiles import BatchLog
from orchestration.cursors.store import CursorStore
from orchestration.engine.base import QUARANTINE_SCHEMA, Engine
from orchestration.objects import Place
from orchestration.sinks.table import Owner, Role, SinkTable
from orchestration.streams.schema import RESERVED, parse_schema

if TYPE_CHECKING:
    from types import TracebackType

    from orchestration.config import Settings
    from orchestration.cursors.records import Generation
    from orchestration.runtime.query import StreamingQuery
    from orchestration.sinks.declaration import DeltaSink
    from orchestration.sources.base import Source
    from orchestration.streams.builder import Stream

__all__ = ["Session", "table_uri"]

_T = TypeVar("_T")


class Session:
    """Settings, cursor store, engine, stream and tables of one query.

    Use it as a context manager. The schema-dependent parts are there once :meth:`bind` has run.
    Before it, a table can be opened and its owner looked at, and nothing can be written to it.

    Args:
        query: The declaration.
        settings: Where things live.
        clock: The time.
    """

    def __init__(
        self, query: StreamingQuery, settings: Settings, clock: Clock | None = None
    ) -> None:
        from orchestration.engine.duckdb import DuckDBEngine

        self.query = query
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.store = CursorStore.open(settings.cursors_url, clock=self.clock)
        self.engine: Engine = DuckDBEngine(
            settings.memory_limit, settings.threads, settings.spill_dir
        )
        self.source: Source = query.source
        self.stream: Stream = query.stream
        self._data_schema: pa.Schema | None = None
        self._output_schema: pa.Schema | None = None
        self._generation: Generation | None = None
        self._tables: dict[Role, SinkTable] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the cursor store and the engine."""
        self.store.close()
        self.engine.close()

    # -- schema ---------------------------------------------------------------------------------

    def bind(self, recorded: dict[str, str] | None) -> bool:
        """Fix the schemas, from the declaration or from what was inferred before.

        Args:
            recorded: Column to type as the cursor store remembers them.

        Returns:
            False while the schema is still to be inferred.

        Raises:
            ExpressionError: An expression does not fit the schema.
        """
        declared = self.query.stream.source.schema
        if declared is not None:
            schema = declared
        elif recorded is not None:
            schema = self.source.complete_schema(parse_schema(recorded))
        else:
            return False
        self.stream = self.query.stream.bind(schema)
        self._data_schema = pa.schema([item for item in schema if item.name not in RESERVED])
        self._output_schema = self.engine.describe(schema, self.stream.operators)
        self._tables = {}
        self.query.check_output(self._output_schema)
        return True

    @property
    def bound(self) -> bool:
        """Whether the schemas are known."""
        return self._output_schema is not None

    @property
    def data_schema(self) -> pa.Schema:
        """Columns read from the source's records and paths."""
        return _known(self._data_schema)

    @property
    def output_schema(self) -> pa.Schema:
        """Columns of the sink."""
        return _known(self._output_schema)

    # -- generation and tables ------------------------------------------------------------------

    def attach(self, generation: Generation) -> None:
        """Take the tables as this generation's."""
        self._generation = generation
        self._tables = {}

    def adopt(self, generation: Generation) -> None:
        """Follow a change of the same generation's record; tables stay open."""
        self._generation = generation

    @property
    def generation(self) -> Generation:
        """The generation in force."""
        return _known(self._generation)

    @property
    def sink_table(self) -> SinkTable:
        """The table the query's rows go to."""
        return self._table("sink")

    @property
    def quarantine_table(self) -> SinkTable:
        """The table its bad records go to."""
        return self._table("quarantine")

    @property
    def twin_table(self) -> SinkTable:
        """The full-reprocess twin's table."""
        return self._table("twin")

    @property
    def log(self) -> BatchLog:
        """The generation's plans and seals as files."""
        return BatchLog(Place.open(self.settings.state_uri(self.query.name)), self.generation)

    def owner(self, role: Role) -> Owner:
        """This query as the owner of one of its tables."""
        app_id = self._generation.app_id if self._generation else ""
        return Owner(self.query.name, app_id, self.store.store_id, role)

    def _table(self, role: Role) -> SinkTable:
        if role not in self._tables:
            sink = self.query.sink
            uri = table_uri(self.settings, sink, role)
            if role == "quarantine":
                table = SinkTable(uri, self.owner(role), QUARANTINE_SCHEMA)
            else:
                table = SinkTable(
                    uri,
                    self.owner(role),
                    self._output_schema or pa.schema([]),
                    sink.partition_by,
                    sink.schema_evolution,
                )
            self._tables[role] = table
        return self._tables[role]


def table_uri(settings: Settings, sink: DeltaSink, role: Role) -> str:
    """Where one of a query's tables lies: absolute path or ``s3://`` URI."""
    suffix = {"sink": "", "quarantine": "__quarantine", "twin": "__full"}[role]
    if sink.is_location:
        base = sink.table if "://" in sink.table else str(settings.resolve_input(sink.table))
        return base.rstrip("/") + suffix
    return settings.tables_uri(sink.table + suffix)


def _known(value: _T | None) -> _T:
    if value is None:
        raise RuntimeError("the session was used before bind() and attach()")
    return value
