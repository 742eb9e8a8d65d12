"""The last step of a batch of changes: what becomes of the sink's table, and of the memory.

The batch's changes are kept in a scratch table and looked at before anything is written. Then
the rows that the table holds of their keys are put together with them, by
:mod:`orchestration.engine.changes`: that gives rows to add, and which rows to take out. Files
that hold one of the latter are written anew without them; no other file is touched, and few others
are opened: their statistics say that they hold none of the keys.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.engine.changes.apply import (
    apply_changes,
    memory_keys,
    memory_schema,
)
from orchestration.engine.compare import relation_sql
from orchestration.engine.pruning import KEYS, candidates
from orchestration.engine.rewrite import NUMBER, carry_over, numbered_sql, portions
from orchestration.engine.stateful.change_input import read_input
from orchestration.engine.stateful.job import REMOVED, ChangedFiles
from orchestration.engine.stateful.keyed import EXPIRY, HASH, key_hash, nothing
from orchestration.engine.stateful.partials import BATCH
from orchestration.engine.writer import write
from orchestration.state.manifest import NEVER, Run
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.cursors.records import DataFile
    from orchestration.engine.changes.apply import Applied, Changes
    from orchestration.engine.rewrite import OldFile
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.relation import Relation
    from orchestration.streams.operators import ApplyChanges

__all__ = ["run_changes"]

_PREFIX = "headwater_changes"
_CURRENT = "headwater_current"
_MEMORY = "headwater_memory"
_FORGETTING = "clock_us"
_MANY = 50_000  # keys a file
_SORTED = 2_000_000  # changes in a batch: with them it makes more than one file


def run_changes(
    execution: Execution, relation: Relation, operator: ApplyChanges
) -> tuple[tuple[DataFile, ...], ChangedFiles]:
    """Apply a batch's rows to the sink's table.

    Args:
        execution: The batch.
        relation: Its rows, each a change.
        operator: What they mean.

    Returns:
        The files of rows to add, and what else happens to the table.

    Raises:
        BadRecords: A change has no key or no sequence, and its source has no quarantine.
    """
    return _Run(execution, relation, operator).run()


class _Run:
    def __init__(self, execution: Execution, relation: Relation, operator: ApplyChanges) -> None:
        self._execution = execution
        self._job = execution.job
        self._tables = execution.tables
        self._connection = execution.tables.connection
        self._relation = relation
        self._operator = operator
        self._spec = operator.spec
        self._memory = memory_schema(self._connection, self._spec, relation.schema)
        self._state = execution.keyed(
            operator.id, [*self._memory.names, BATCH], self._spec.keys, kinds=self._memory
        )
        before = execution.before(operator.id)
        # Never back, so that what is dead stays dead whatever the machine's clock does.
        self._dead = int(before.facts.get(_FORGETTING, 0))
        self._clock = max(self._dead, round(self._job.timestamp.timestamp() * 1_000_000))

    def run(self) -> tuple[tuple[DataFile, ...], ChangedFiles]:
        changes = read_input(self._execution, self._relation, self._operator, _PREFIX)
        self._current(changes)
        self._remembered(changes)
        applied = apply_changes(
            self._connection,
            self._spec,
            changes=changes,
            current=_CURRENT,
            memory=_MEMORY,
            prefix=_PREFIX,
            carry=() if self._job.target is None else (NUMBER,),
        )
        try:
            added = write(
                self._connection,
                f"SELECT * FROM {applied.add}{self._order(changes)}",
                self._job.output_schema,
                self._job.sink_dir,
                self._job.file_prefix,
                partition_by=self._job.partition_by,
                target_file_size=self._job.target_file_size,
            )
            removed, written = self._taken_out(applied)
            self._keep(applied)
        finally:
            applied.drop(self._connection)
            for name in (_CURRENT, _MEMORY):
                self._connection.execute(f"DROP VIEW IF EXISTS {name}")
        self._execution.details["changes"] = asdict(applied.counts)
        return added, ChangedFiles(written, removed)

    def _order(self, changes: Changes) -> str:
        """By what to order the rows of a batch that makes several files: a first load, most often.

        Each file then holds keys of its own, and a later change finds its file by their bounds.
        """
        read = sum(counts.bytes for counts in self._execution.inputs.counts.values())
        if changes.rows < _SORTED and read < self._job.target_file_size // 2:
            return ""
        return f" ORDER BY {', '.join(map(quote_identifier, self._spec.identity))}"

    # -- what was there -----------------------------------------------------------------------------

    def _current(self, changes: Changes) -> None:
        """A view of the table's rows, among them all those of the batch's keys."""
        schema = self._job.output_schema
        target = self._job.target
        if target is None:
            self._view(_CURRENT, relation_sql([], schema))
            return
        kinds = pa.schema([schema.field(name) for name in self._spec.keys])
        named = [quote_identifier(name) for name in self._spec.keys]
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {KEYS} AS SELECT {', '.join(named)} FROM {changes.keys} "
            f"WHERE {named[0]} IS NOT NULL"
        )
        try:
            numbers: Sequence[int] = range(target.bounds.num_rows)
            if not changes.whole:
                # With so many keys a file, hardly one could be left out by single keys.
                rough = changes.distinct > _MANY * target.bounds.num_rows
                numbers = candidates(self._connection, target.bounds, kinds, rough=rough)
            if target.at_hand:
                # Read where they lie, and only the columns that are needed.
                for group in target.groups(numbers):
                    with group as files:
                        self._view(_CURRENT, numbered_sql(files, schema))
                        return
                self._view(_CURRENT, numbered_sql([], schema))
                return
            found = self._tables.create(numbered_sql([], schema))
            same = " AND ".join(f"o.{name} = k.{name}" for name in named)
            only = "" if changes.whole else f" SEMI JOIN {KEYS} AS k ON {same}"
            for group in target.groups(numbers):
                with group as files:
                    self._connection.execute(
                        f"INSERT INTO {found} SELECT o.* FROM "
                        f"({numbered_sql(files, schema)}) AS o{only}"
                    )
            self._view(_CURRENT, f"SELECT * FROM {found}")
        finally:
            self._connection.execute(f"DROP VIEW IF EXISTS {KEYS}")

    def _remembered(self, changes: Changes) -> None:
        """A view of the memory's rows, among them all those of the batch's keys."""
        state = self._state
        found: str | None = None
        if state.runs and changes.whole:
            found = state.live(self._clock)
        elif state.runs:
            keys = [quote_identifier(name) for name in self._spec.keys]
            wanted = self._tables.create(
                f"SELECT DISTINCT {', '.join(keys)}, {key_hash(keys)} AS {HASH} FROM {changes.keys}"
            )
            found = state.matching(wanted, self._clock)
            if found is not None:
                same = " AND ".join(f"m.{key} IS NOT DISTINCT FROM k.{key}" for key in keys)
                found = f"SELECT m.* FROM ({found}) AS m SEMI JOIN {wanted} AS k ON {same}"
        if found is None:
            self._view(_MEMORY, nothing(self._memory))
            return
        listed = ", ".join(map(quote_identifier, self._memory.names))
        rows = self._tables.create(f"SELECT {listed} FROM ({self._newest(found)})")
        self._view(_MEMORY, f"SELECT * FROM {rows}")

    def _newest(self, rows: str) -> str:
        named = ", ".join(map(quote_identifier, memory_keys(self._spec)))
        return (
            f"SELECT * FROM ({rows}) QUALIFY "
            f"row_number() OVER (PARTITION BY {named} ORDER BY {BATCH} DESC) = 1"
        )

    def _view(self, name: str, sql: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    # -- what becomes of it -------------------------------------------------------------------------

    def _taken_out(self, applied: Applied) -> tuple[tuple[int, ...], tuple[DataFile, ...]]:
        """Write the files that hold a row to take out anew without it.

        Returns:
            Numbers of these files, and what takes their place.
        """
        target = self._job.target
        if target is None:
            return (), ()
        hits = {
            int(number): int(rows)
            for number, rows in self._connection.execute(
                f"SELECT {NUMBER}, count(*) FROM {applied.remove} GROUP BY 1"
            ).fetchall()
        }
        # Where every row goes, there is nothing to carry over.
        partly = [number for number in sorted(hits) if hits[number] != target.rows_of(number)]
        written: list[DataFile] = []
        for group in target.groups(partly):
            with group as files:
                for part in portions(files, self._job.target_file_size):
                    written += self._carried_over(applied, part)
        return tuple(sorted(hits)), tuple(written)

    def _carried_over(self, applied: Applied, files: Sequence[OldFile]) -> tuple[DataFile, ...]:
        job = self._job
        identity = ", ".join(map(quote_identifier, self._spec.identity))
        numbers = ", ".join(str(file.number) for file in files)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {KEYS} AS "
            f"SELECT {identity} FROM {applied.remove} WHERE {NUMBER} IN ({numbers})"
        )
        try:
            return carry_over(
                self._connection,
                files,
                schema=job.output_schema,
                keys=self._spec.identity,
                directory=job.sink_dir,
                prefix=f"{job.file_prefix}-kept",
                partition_by=job.partition_by,
                target_file_size=job.target_file_size,
            )
        finally:
            self._connection.execute(f"DROP TABLE IF EXISTS {KEYS}")

    # -- what is remembered -------------------------------------------------------------------------

    def _keep(self, applied: Applied) -> None:
        """Keep the memory, and which rows were taken out and not replaced."""
        if self._job.full is not None:
            self._finish(0, 0, ())
            return
        retention = self._operator.retention_us
        expiry = NEVER if retention is None else self._clock + retention
        keys = [quote_identifier(name) for name in self._spec.keys]
        forgotten = self._state.count(self._dead, self._clock)
        updated = self._state.add(
            f"(SELECT *, CAST({self._job.batch_id} AS BIGINT) AS {BATCH}, "
            f"CAST({expiry} AS BIGINT) AS {EXPIRY}, {key_hash(keys)} AS {HASH} "
            f"FROM {applied.memory})"
        )
        self._state.merge(self._clock, self._newest)
        self._finish(updated, forgotten, self._removed(applied))

    def _finish(self, updated: int, forgotten: int, removed: tuple[Run, ...]) -> None:
        self._execution.finish(
            self._operator.id,
            f"scd{self._spec.scd_type}",
            [self._state],
            rows=sum(run.rows for run in self._state.runs),
            updated=updated,
            removed=forgotten,
            facts={_FORGETTING: self._clock},
            more=removed,
        )

    def _removed(self, applied: Applied) -> tuple[Run, ...]:
        """A file that names the rows taken out that no added row takes the place of."""
        gone = applied.gone
        rows = int(self._tables.value(f"SELECT count(*) FROM {gone}"))
        if not rows:
            return ()
        files = self._job.files
        path = files.directory / f"{self._job.file_prefix}-{self._operator.id}-{REMOVED}.parquet"
        self._connection.execute(
            f"COPY (SELECT * FROM {gone}) TO {quote_literal(str(path))} (FORMAT parquet)"
        )
        batch = self._job.batch_id
        size = path.stat().st_size
        name, kind = files.name_of(path), self._tables.hash_name
        return (Run(name, rows, size, 0, batch, batch, NEVER, NEVER, kind, REMOVED),)
