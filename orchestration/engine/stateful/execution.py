"""One stateful batch: the plan carried out over a batch's rows and the state before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.feed import Counts
from orchestration.engine.stateful.aggregate import run_aggregate
from orchestration.engine.stateful.dedup import run_drop_duplicates
from orchestration.engine.stateful.future import set_aside_future
from orchestration.engine.stateful.inputs import Inputs
from orchestration.engine.stateful.job import ChangedFiles, StatefulOutput
from orchestration.engine.stateful.join import run_join
from orchestration.engine.stateful.keyed import KeyedState
from orchestration.engine.stateful.late import Late
from orchestration.engine.stateful.limit import run_limit
from orchestration.engine.stateful.map_pages import mapped_pages
from orchestration.engine.stateful.needed import needed_columns, needs_order, spared_columns
from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.engine.stateful.relation import Relation
from orchestration.engine.stateful.session_aggregate import run_sessions
from orchestration.engine.stateful.user_state import run_apply
from orchestration.engine.writer import write
from orchestration.state.manifest import NEVER, OperatorState, StateVersion
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    Limit,
    MapBatches,
    OrderBy,
    Select,
    SessionKey,
    Where,
    WithWatermark,
)
from orchestration.streams.plan import Chain, JoinRoot, SourceRoot, StaticRoot, UnionRoot
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from orchestration.cursors.records import DataFile
    from orchestration.engine.failures import Caught
    from orchestration.engine.stateful.describe import Describer
    from orchestration.engine.stateful.job import StatefulJob
    from orchestration.engine.stateful.tables import Tables
    from orchestration.state.manifest import Run
    from orchestration.streams.operators import Operator

__all__ = ["Execution"]


class Execution:
    """Carries out one batch.

    Args:
        job: The batch.
        tables: Its connection and scratch tables.
        describer: Knows columns and types.
        threads: Chunks of a file worked on at once.
        caught: Keeps what goes wrong in the reading threads.
        stack: Closed when the batch is over.
    """

    def __init__(
        self,
        job: StatefulJob,
        tables: Tables,
        describer: Describer,
        threads: int,
        caught: Caught,
        stack: ExitStack,
    ) -> None:
        self.job = job
        self.tables = tables
        self.describer = describer
        self.caught = caught
        self.numbered = needs_order(job.plan)
        self.inputs = Inputs(job, tables, threads, caught, stack, numbered=self.numbered)
        self.late = Late(job, tables)
        self._maxima: dict[str, int] = {}
        self._measured: dict[str, str] = {}  # hidden column to the watermark it is measured for
        self._progress: list[dict[str, Any]] = []
        self._state: dict[str, OperatorState] = {}
        self._written: list[str] = []
        self.details: dict[str, object] = {}

    def run(self) -> StatefulOutput:
        """Compute the batch and write its files.

        Raises:
            BadRecords: There are more bad records than allowed.
        """
        job = self.job
        sink, changed = self._sink()
        self.inputs.check()
        late = self.late.write()
        quarantine = self.inputs.set_aside()
        counts = {name: self.inputs.counts.get(name, Counts()) for name in job.inputs}
        state = None
        if job.full is None:
            state = StateVersion(job.batch_id, job.watermark_ms, self._state)
        return StatefulOutput(
            sink=sink,
            quarantine=quarantine,
            late=late,
            rows_read=sum(item.good + item.bad for item in counts.values()),
            rows_quarantined=sum(item.bad for item in counts.values()) + self.inputs.ahead,
            files_read=sum(item.files for item in counts.values()),
            bytes_read=sum(item.bytes for item in counts.values()),
            sources=counts,
            maxima_us=self._maxima,
            state=state,
            new_state=tuple(self._written),
            operators=tuple(self._progress),
            details=self.details,
            changed=changed,
        )

    def _sink(self) -> tuple[tuple[DataFile, ...], ChangedFiles]:
        """Write the result; what else happens to the sink's table."""
        job = self.job
        changes = job.plan.changes
        if changes is not None:
            from orchestration.engine.stateful.changes import run_changes

            rows = self.chain(Chain(job.plan.root, job.plan.operators[:-1]))
            return run_changes(self, rows, changes)
        result = self.chain(job.plan)
        if any(name != SEQUENCE for name in result.hidden):
            result = self.kept(result)
        written = write(
            self.tables.connection,
            result.sql
            if result.order is None
            else f"SELECT * FROM ({result.sql}) ORDER BY {result.order}",
            job.output_schema,
            job.sink_dir,
            job.file_prefix,
            partition_by=job.partition_by,
            target_file_size=job.target_file_size,
        )
        return written, ChangedFiles()

    # -- chains -------------------------------------------------------------------------------------

    def chain(self, chain: Chain) -> Relation:
        """What a chain gives in this batch."""
        relation = self._root(chain)
        for place, operator in enumerate(chain.operators):
            relation = self._after(relation, operator, chain, chain.operators[place + 1 :])
        return relation

    def _root(self, chain: Chain) -> Relation:
        root = chain.root
        if isinstance(root, SourceRoot):
            whole = self.job.plan if chain.root is self.job.plan.root else chain
            wanted = needed_columns(whole, root.schema, late_kept=self.late.keeps)
            spared = None
            if self.job.full is None and self.job.output_mode != "complete":
                spared = spared_columns(whole, wanted, self.late_us())
            return self.inputs.open(root.name, wanted, chain, spared)
        if isinstance(root, StaticRoot):
            rows = self.job.statics[root.name].reader()
            watched = self.caught.watch(iter(rows))  # DuckDB would hide what goes wrong there
            source = self.tables.register(pa.RecordBatchReader.from_batches(rows.schema, watched))
            columns = Relation("", root.schema).listed()
            return Relation(f"SELECT {columns} FROM {source}", root.schema, streamed=True)
        if isinstance(root, UnionRoot):
            return self._union(root)
        return run_join(self, root, self.chain(root.left.chain), self.chain(root.right.chain))

    def _union(self, root: UnionRoot) -> Relation:
        parts = [self.chain(chain) for chain in root.inputs]
        numbered = all(part.numbered for part in parts)
        hidden = tuple(
            dict.fromkeys(name for part in parts for name in part.hidden if name != SEQUENCE)
        )
        if numbered:
            hidden = (SEQUENCE, *hidden)
        selects = []
        for part in parts:
            ours = [
                name if name in part.hidden else f"CAST(NULL AS BIGINT) AS {name}"
                for name in hidden
            ]
            listed = ", ".join([*map(quote_identifier, part.schema.names), *ours])
            selects.append(f"SELECT {listed} FROM ({part.sql})")
        return Relation(
            " UNION ALL ".join(selects),
            parts[0].schema,
            hidden,
            streamed=any(part.streamed for part in parts),
        )

    def _after(
        self, relation: Relation, operator: Operator, chain: Chain, rest: Sequence[Operator]
    ) -> Relation:
        timestamp = self.job.timestamp
        if isinstance(operator, Where):
            return relation.where(operator, timestamp)
        if isinstance(operator, Select):
            schema = self.describer.after(relation.schema, operator)
            return relation.select(operator, schema, timestamp)
        if isinstance(operator, MapBatches):
            return mapped_pages(self, self.kept(relation), operator)
        if isinstance(operator, WithWatermark):
            return self._watermark(relation, operator, rest)
        if isinstance(operator, OrderBy):
            return Relation(
                relation.sql,
                relation.schema,
                relation.hidden,
                relation.streamed,
                ", ".join(operator.terms),
            )
        lag = self.lag(chain.root)
        if isinstance(operator, Aggregate):
            sessions = any(isinstance(key, SessionKey) for key in operator.keys)
            run = run_sessions if sessions else run_aggregate
            return run(self, relation, operator, lag)
        if isinstance(operator, DropDuplicates):
            return run_drop_duplicates(self, relation, operator, lag)
        if isinstance(operator, Limit):
            return run_limit(self, relation, operator)
        if isinstance(operator, ApplyWithState):
            return run_apply(self, relation, operator, lag)
        raise TypeError(f"{type(operator).__name__} is no operator")

    # -- event time ---------------------------------------------------------------------------------

    def lag(self, root: object) -> int:
        """By how much the watermark after a root is behind the query's, microseconds."""
        if isinstance(root, UnionRoot):
            return max(self.lag(chain.root) for chain in root.inputs)
        if isinstance(root, JoinRoot):
            below = max(self.lag(side.chain.root) for side in (root.left, root.right))
            return below + root.output_lag_us
        return 0

    def closing_us(self, lag: int = 0) -> int:
        """What expires by this moment leaves in this batch."""
        return min(self.job.watermark_ms * 1000 - lag, NEVER - 1)

    def late_us(self, lag: int = 0) -> int:
        """What is not after this moment is late in this batch; state is dead up to it."""
        return self.job.late_ms * 1000 - lag

    def _watermark(
        self, relation: Relation, operator: WithWatermark, rest: Sequence[Operator]
    ) -> Relation:
        if self.job.full is not None:
            return relation
        if operator.max_future_us is not None:
            relation = set_aside_future(self, self.kept(relation), operator)
        name = f"headwater_wm{len(self._measured)}"
        self._measured[name] = operator.id
        measured = relation.with_hidden(name, f"epoch_us({quote_identifier(operator.column)})")
        # Measured with the rows that the next table keeps, where nothing takes any away before.
        if any(isinstance(item, Where | MapBatches) for item in _stateless(rest)):
            return self.kept(measured)
        return measured

    def kept(self, relation: Relation, columns: Sequence[str] | None = None) -> Relation:
        """The rows in a scratch table, their event time measured.

        Args:
            relation: The rows.
            columns: Those that are needed; ``None`` for all.
        """
        schema = relation.schema
        if columns is not None:
            wanted = {name.lower() for name in columns}
            found = [item for item in schema if item.name.lower() in wanted]
            schema = pa.schema(found or list(schema)[:1])
        table = self.tables.create(f"SELECT {relation.listed(schema.names)} FROM ({relation.sql})")
        self.measure(table, relation.measured)
        hidden = (SEQUENCE,) if relation.numbered else ()
        return Relation(
            f"SELECT {Relation('', schema, hidden).listed()} FROM {table}", schema, hidden
        )

    def measure(self, table: str, columns: Sequence[str]) -> None:
        """Take down the greatest event times in a table, column by column."""
        for name in columns:
            greatest = self.tables.value(f"SELECT max({name}) FROM {table}")
            if greatest is not None:
                key = self._measured[name]
                self._maxima[key] = max(int(greatest), self._maxima.get(key, int(greatest)))

    def ordered(self, relation: Relation) -> Relation:
        """With an order of arrival, where the plan needs one and the rows have none.

        Rows of a join or an aggregation came in no order; that of their values serves, being
        the same whenever the batch is run again.
        """
        if relation.numbered or not self.numbered:
            return relation
        listed = ", ".join(map(quote_identifier, relation.schema.names))
        number = f"row_number() OVER (ORDER BY {listed}) AS {SEQUENCE}"
        sql = f"SELECT *, {number} FROM ({relation.sql})"
        return Relation(
            sql, relation.schema, (*relation.hidden, SEQUENCE), relation.streamed, relation.order
        )

    # -- state --------------------------------------------------------------------------------------

    def before(self, key: str) -> OperatorState:
        """An operator's state before this batch."""
        if self.job.full is not None or self.job.state is None:
            return OperatorState()
        return self.job.state.operators.get(key, OperatorState())

    def keyed(
        self,
        key: str,
        columns: Sequence[str],
        keys: Sequence[str],
        part: str = "",
        *,
        by_expiry: bool = False,
        kinds: pa.Schema | None = None,
    ) -> KeyedState:
        """One table of an operator's state; see :class:`KeyedState`."""
        return KeyedState(
            self.tables,
            self.job.files,
            self.before(key).of(part),
            name=f"{self.job.file_prefix}-{key}",
            batch_id=self.job.batch_id,
            columns=columns,
            keys=keys,
            part=part,
            by_expiry=by_expiry,
            kinds=kinds,
        )

    def finish(
        self,
        key: str,
        kind: str,
        states: Sequence[KeyedState],
        *,
        rows: int,
        updated: int = 0,
        removed: int = 0,
        late: int = 0,
        next_close_us: int | None = None,
        facts: dict[str, Any] | None = None,
        more: Sequence[Run] = (),
    ) -> None:
        """Keep an operator's state after this batch, and what is to be said of it.

        Further files, ``more``, are kept with this version of the state alone.
        """
        runs = (*(run for state in states for run in state.runs), *more)
        found = OperatorState(rows, runs, facts or {})
        if self.job.full is None:
            self._state[key] = found
            self._written += [name for state in states for name in state.written]
            self._written += [run.path for run in more]
        self._progress.append(
            {
                "id": key,
                "name": kind,
                "rows_total": rows,
                "rows_updated": updated,
                "rows_removed": removed,
                "rows_dropped_by_watermark": late,
                "bytes": found.bytes,
                "next_close_us": next_close_us,
            }
        )


def _stateless(rest: Sequence[Operator]) -> list[Operator]:
    """The operators up to the first stateful one."""
    found: list[Operator] = []
    for operator in rest:
        if isinstance(operator, Aggregate | DropDuplicates | Limit | ApplyWithState):
            break
        found.append(operator)
    return found
