"""A query with everything it needs at hand, opened for one operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa

from orchestration.clock import Clock, SystemClock
from orchestration.cursors.logfiles import BatchLog
from orchestration.cursors.store import CursorStore
from orchestration.engine.base import LATE_SCHEMA, QUARANTINE_SCHEMA, Engine
from orchestration.objects import Place
from orchestration.runtime.statics import static_schemas
from orchestration.sinks.scd import ChangeSink
from orchestration.sinks.table import Owner, Role, SinkTable
from orchestration.streams.fingerprint import fingerprint
from orchestration.streams.modes import update_keys
from orchestration.streams.schema import RESERVED, parse_schema

if TYPE_CHECKING:
    from types import TracebackType

    from orchestration.config import Settings
    from orchestration.cursors.records import Generation
    from orchestration.runtime.query import StreamingQuery
    from orchestration.sinks.declaration import DeltaSink
    from orchestration.sources.base import Source
    from orchestration.streams.builder import Stream
    from orchestration.streams.operators import ApplyChanges
    from orchestration.streams.plan import Chain

__all__ = ["Session", "bound_stream", "table_uri"]

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
        self.sources: dict[str, Source] = query.sources
        self.stream: Stream = query.stream
        self._data_schemas: dict[str, pa.Schema] = {}
        self._output_schema: pa.Schema | None = None
        self._chain: Chain | None = None
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
        bound = bound_stream(self.query, recorded)
        if bound is None:
            return False
        self.stream, schemas = bound
        self._chain = None
        self._data_schemas = {
            name: pa.schema([item for item in schema if item.name not in RESERVED])
            for name, schema in schemas.items()
        }
        self._output_schema = self._describe(schemas)
        self._tables = {}
        if not self.is_plain:
            self.query.check_mode(self.chain)
        self.query.check_output(self._output_schema)
        return True

    def _describe(self, schemas: dict[str, pa.Schema]) -> pa.Schema:
        if self.is_plain:
            return self.engine.describe(_only(schemas), self.stream.operators)
        return self.engine.describe_plan(self.chain)

    @property
    def is_plain(self) -> bool:
        """Whether its batches need neither event time nor state nor a second source."""
        return self.query.is_plain

    @property
    def chain(self) -> Chain:
        """The logical plan; once bound, every schema in it is known."""
        if self._chain is None:
            self._chain = self.query.plan_of(self.stream)
        return self._chain

    @property
    def changes(self) -> ApplyChanges | None:
        """How rows are applied to the sink as changes; ``None`` where they are not."""
        return None if self.is_plain else self.chain.changes

    def fingerprint(self) -> dict[str, Any]:
        """What to keep of the declaration; the schemas must be known.

        Raises:
            SchemaError: An output column has a type that no table can keep.
        """
        sink = self.query.sink
        changes = sink.changes.described() if isinstance(sink, ChangeSink) else None
        return fingerprint(
            self.stream, self.output_schema, sink.mode, sink.partition_by, changes=changes
        )

    @property
    def bound(self) -> bool:
        """Whether the schemas are known."""
        return self._output_schema is not None

    @property
    def source(self) -> Source:
        """The only source.

        Raises:
            RuntimeError: There are several.
        """
        return _only(self.sources)

    @property
    def data_schema(self) -> pa.Schema:
        """Columns read from the only source's records and paths."""
        return _only(self.data_schemas)

    @property
    def data_schemas(self) -> dict[str, pa.Schema]:
        """Columns read from each source's records and paths."""
        return _known(self._data_schemas or None)

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
        return self.table_of("sink")

    @property
    def quarantine_table(self) -> SinkTable:
        """The table its bad records go to."""
        return self.table_of("quarantine")

    @property
    def late_table(self) -> SinkTable:
        """The table that rows go to which came after their window closed."""
        return self.table_of("late")

    @property
    def tables(self) -> dict[Role, SinkTable]:
        """The tables that its batches write, in the order of their commits."""
        if self.is_plain:
            return {"quarantine": self.quarantine_table, "sink": self.sink_table}
        return {
            "quarantine": self.quarantine_table,
            "late": self.late_table,
            "sink": self.sink_table,
        }

    @property
    def all_tables(self) -> tuple[SinkTable, ...]:
        """Every table that any batch of the query may ever have written, the sink first."""
        return (self.sink_table, self.quarantine_table, self.late_table)

    @property
    def twin_table(self) -> SinkTable:
        """The full-reprocess twin's table."""
        return self.table_of("twin")

    @property
    def log(self) -> BatchLog:
        """The generation's plans and seals as files."""
        return BatchLog(self.state_place, self.generation)

    @property
    def state_place(self) -> Place:
        """Where plans, seals and state of the query lie."""
        return Place.open(self.settings.state_uri(self.query.name))

    @property
    def update_keys(self) -> tuple[str, ...] | None:
        """Columns by which changed rows replace others; ``None`` where rows are only added."""
        return update_keys(self.chain)

    def owner(self, role: Role) -> Owner:
        """This query as the owner of one of its tables."""
        app_id = self._generation.app_id if self._generation else ""
        return Owner(self.query.name, app_id, self.store.store_id, role)

    def table_of(self, role: Role) -> SinkTable:
        """One of the query's tables."""
        if role not in self._tables:
            sink = self.query.sink
            uri = table_uri(self.settings, sink, role)
            fixed = {"quarantine": QUARANTINE_SCHEMA, "late": LATE_SCHEMA}.get(role)
            if fixed is not None:
                table = SinkTable(uri, self.owner(role), fixed)
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
    suffix = {"sink": "", "quarantine": "__quarantine", "late": "__late", "twin": "__full"}[role]
    if sink.is_location:
        base = sink.table if "://" in sink.table else str(settings.resolve_input(sink.table))
        return base.rstrip("/") + suffix
    return settings.tables_uri(sink.table + suffix)


def bound_stream(
    query: StreamingQuery, recorded: dict[str, str] | None
) -> tuple[Stream, dict[str, pa.Schema]] | None:
    """A query's stream over sources and tables whose columns are known, and those of sources.

    Args:
        query: The query.
        recorded: What was inferred before; only a query of one source infers.

    Returns:
        ``None`` while the schema is still to be inferred.

    Raises:
        ExpressionError: An expression does not fit the schema.
        SourceUnavailable: A static table whose columns were not declared cannot be read.
    """
    schemas: dict[str, pa.Schema] = {}
    for name, source in query.sources.items():
        if source.schema is not None:
            schemas[name] = source.schema
        elif recorded is not None:
            schemas[name] = source.complete_schema(parse_schema(recorded))
        else:
            return None
    return query.stream.bind({**schemas, **static_schemas(query)}), schemas


def _only(by_source: dict[str, _T]) -> _T:
    if len(by_source) != 1:
        raise RuntimeError(f"expected one source, and there are {sorted(by_source)}")
    return next(iter(by_source.values()))


def _known(value: _T | None) -> _T:
    if value is None:
        raise RuntimeError("the session was used before bind() and attach()")
    return value
