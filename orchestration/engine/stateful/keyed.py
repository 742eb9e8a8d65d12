"""Rows of state by key, kept as immutable sorted runs.

A batch appends one run with what it changed and never rewrites older ones, so it costs what it
touches. Reading merges: what rows of one key in several runs come to is the operator's business.
Rows carry the moment they expire (``headwater_x``); once the watermark has reached it they are
dead, and readers leave them out. So eviction writes nothing: dead rows go when runs are merged,
and runs that are dead as a whole are dropped.

Runs are sorted by expiry and by a hash of the key. A look-up of a few keys, or of what expires
now, reads only the row groups whose ranges can hold it, so its cost does not grow with the state.

Source: log-structured merge trees (O'Neil et al., 1996), tiered as in Cassandra: when
:data:`FANOUT` runs of one level have come together, they become one of the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.engine.stateful.run_files import EXPIRY, GROUP_ROWS, HASH, RunFile
from orchestration.state.manifest import NEVER, OperatorState, Run
from orchestration.streams.quoting import quote_identifier, quote_literal
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from orchestration.engine.stateful.tables import Tables
    from orchestration.state.files import StateFiles

__all__ = ["EXPIRY", "FANOUT", "HASH", "KeyedState", "key_hash", "nothing"]

#: Runs of one level that are merged into one of the next.
FANOUT = 8

_PRUNE_ROWS = 16 * GROUP_ROWS  # smaller runs are read whole
_PRUNE_KEYS = 4_096  # keys in one look-up; with more of them most row groups are hit
_PRUNE_EXPIRING = 65_536  # rows that are kept in memory; more are left to DuckDB
# Spans of time in a run whose keys expire at any moment. A look-up reads the hashes of a row group
# in each of them for every key; what expires in one of them is read once, and kept.
_SPANS = 4


def key_hash(keys: Sequence[str]) -> str:
    """SQL of the hash that runs are sorted by, over quoted columns or other SQL."""
    return f"CAST(hash({', '.join(keys) or '0'}) >> 1 AS BIGINT)"


class KeyedState:
    """One table of an operator's state during one batch.

    Args:
        tables: The batch's connection and scratch tables.
        files: Where runs lie.
        runs: Those of the version before.
        name: Start of new files' names: batch, attempt, operator.
        batch_id: The batch.
        columns: Names of the operator's own columns, keys among them.
        keys: Which of them are the key.
        part: Which of the operator's tables this is.
        by_expiry: Rows of one key expire at the same time, which is known when the key is looked
            for.
        kinds: Types of the columns where runs of other declarations may lack some, which are null
            there; ``None`` where all runs have all columns.
    """

    def __init__(
        self,
        tables: Tables,
        files: StateFiles,
        runs: Sequence[Run],
        *,
        name: str,
        batch_id: int,
        columns: Sequence[str],
        keys: Sequence[str],
        part: str = "",
        by_expiry: bool = False,
        kinds: pa.Schema | None = None,
    ) -> None:
        self._kinds = kinds
        self._tables = tables
        self._files = files
        self._runs = list(runs)
        self._name = name
        self._batch_id = batch_id
        self._columns = tuple(columns)
        self._keys = tuple(keys)
        self._part = part
        self._by_expiry = by_expiry
        self._written: list[str] = []

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs now, oldest first."""
        return tuple(self._runs)

    @property
    def written(self) -> tuple[str, ...]:
        """Files of this batch that are still part of it."""
        kept = {run.path for run in self._runs}
        return tuple(name for name in self._written if name in kept)

    def live(self, after_us: int, through_us: int | None = None) -> str | None:
        """A SELECT of the rows that expire after one moment, and at another at the latest.

        Args:
            after_us: Rows that expire by then are dead.
            through_us: ``None`` for no bound.

        Returns:
            ``None`` where no run can hold any.
        """
        last = NEVER if through_us is None else through_us
        pieces, whole = [], []
        for run in self._living(after_us, last):
            if through_us is None or run.rows <= _PRUNE_ROWS:
                whole.append(run)
                continue
            file = self._file(run)
            groups = np.flatnonzero(file.live(after_us, last)).tolist()
            if not groups:
                continue
            rows = None
            if file.count_between(groups, after_us, last) <= _PRUNE_EXPIRING:
                rows = file.rows_between(groups, after_us, last, [*self._columns, EXPIRY, HASH])
            if rows is None:
                whole.append(run)
            elif rows.num_rows:
                pieces.append(self._registered(rows, after_us, through_us))
        return self._together(pieces, whole, after_us, through_us)

    def count(self, after_us: int, through_us: int) -> int:
        """How many rows expire after one moment, and at another at the latest."""
        runs = self._living(after_us, through_us)
        small = [run for run in runs if run.rows <= _PRUNE_ROWS]
        found = 0
        if small:
            rows = self._read(small, after_us, through_us)
            found = int(self._tables.value(f"SELECT count(*) FROM ({rows})"))
        for run in runs:
            if run in small:
                continue
            file = self._file(run)
            groups = np.flatnonzero(file.live(after_us, through_us)).tolist()
            if groups:
                found += file.count_between(groups, after_us, through_us)
        return found

    def matching(self, table: str, after_us: int) -> str | None:
        """A SELECT of live rows, among them all whose key is in a table.

        Of large runs only the row groups that can hold those keys are read, where these are few.
        The result may hold rows of other keys: join it.

        Args:
            table: Scratch table with the key columns and :data:`HASH`; and :data:`EXPIRY`, where
                rows of one key expire at the same time: what expires at other times is not read.
            after_us: Rows that expire by then are dead.

        Returns:
            ``None`` where no run can hold any.
        """
        last = NEVER
        if self._by_expiry:
            least, greatest = self._tables.row(f"SELECT min({EXPIRY}), max({EXPIRY}) FROM {table}")
            if least is None:
                return None
            after_us, last = max(after_us, int(least) - 1), int(greatest)
        through = last if self._by_expiry else None
        runs = self._living(after_us, last)
        large = [run for run in runs if self._is_pruned(run)]
        wanted = self._wanted(table) if large else None
        if wanted is None:
            return self._together([], runs, after_us, through)
        pieces, whole = [], [run for run in runs if run not in large]
        for run in large:
            file = self._file(run)
            groups = np.flatnonzero(file.live(after_us, last) & file.holding(*wanted)).tolist()
            if not groups:
                continue
            rows = file.rows_of(groups, wanted[0], [*self._columns, EXPIRY, HASH])
            if rows is None:
                whole.append(run)
            elif rows.num_rows:
                pieces.append(self._registered(rows, after_us, through))
        return self._together(pieces, whole, after_us, through)

    def add(self, table: str) -> int:
        """Append a scratch table as a run; the number of its rows.

        Args:
            table: With the operator's columns, :data:`EXPIRY` and :data:`HASH`.
        """
        return self._write(
            table, level=0, first=self._batch_id, last=self._batch_id, suffix=str(len(self._runs))
        )

    def merge(self, watermark_us: int, merged: Callable[[str], str]) -> None:
        """Drop runs that are dead, and merge where a level has become full.

        Args:
            watermark_us: Rows that expire by then are dead.
            merged: From a SELECT of rows, the SELECT of what they come to: the operator's
                columns, :data:`EXPIRY` and :data:`HASH`.
        """
        self._runs = [run for run in self._runs if run.max_expiry > watermark_us]
        while True:
            level, place, runs = self._full_level()
            if not runs:
                return
            table = self._tables.create(merged(self._read(runs, watermark_us, None)))
            tail, self._runs = self._runs[place + len(runs) :], self._runs[:place]
            self._write(
                table,
                level=level + 1,
                first=runs[0].first_batch,
                last=runs[-1].last_batch,
                suffix=f"m{level}",
            )
            self._runs += tail
            self._tables.drop(table)

    @property
    def merges_oldest(self) -> bool:
        """Whether the runs to be merged next are those from the beginning on."""
        _, place, runs = self._full_level()
        return bool(runs) and place == 0

    def finish(self, rows: int, facts: dict[str, Any] | None = None) -> OperatorState:
        """The operator's state after the batch, for an operator with this table only."""
        return OperatorState(rows, self.runs, facts or {})

    def earliest(self, after_us: int) -> int | None:
        """When the next live row expires; ``None`` where none ever does."""
        known = [run.min_expiry for run in self._runs if run.min_expiry > after_us]
        mixed = [run for run in self._runs if run.min_expiry <= after_us < run.max_expiry]
        small = [run for run in mixed if run.rows <= _PRUNE_ROWS]
        found = [self._file(run).earliest(after_us) for run in mixed if run not in small]
        if small:
            rows = self._read(small, after_us, None)
            found.append(self._tables.value(f"SELECT min({EXPIRY}) FROM ({rows})"))
        known += [int(moment) for moment in found if moment is not None]
        least = min(known, default=NEVER)
        return None if least == NEVER else least

    # -- reading ----------------------------------------------------------------------------------

    def _living(self, after_us: int, through_us: int) -> list[Run]:
        return [r for r in self._runs if r.max_expiry > after_us and r.min_expiry <= through_us]

    def _is_pruned(self, run: Run) -> bool:
        """Whether a run's row groups are looked at one by one.

        Not where it was written by an engine whose hashes are others.
        """
        return run.rows > _PRUNE_ROWS and run.hash_name == self._tables.hash_name

    def _file(self, run: Run) -> RunFile:
        return RunFile.of(self._files.local(run.path))

    def _wanted(self, table: str) -> tuple[Any, Any] | None:
        """The table's key hashes and expiries in order; ``None`` when they are too many."""
        count = int(self._tables.value(f"SELECT count(*) FROM {table}"))
        if count > _PRUNE_KEYS:
            return None
        names = f"{HASH}, {EXPIRY}" if self._by_expiry else HASH
        rows = self._tables.connection.sql(f"SELECT {names} FROM {table}").to_arrow_table()
        expiries = np.unique(rows[EXPIRY].to_numpy()) if self._by_expiry else None
        return np.unique(rows[HASH].to_numpy()), expiries

    def _together(
        self, pieces: list[str], whole: Sequence[Run], after_us: int, through_us: int | None
    ) -> str | None:
        if whole:
            pieces.append(self._read(whole, after_us, through_us))
        return " UNION ALL ".join(pieces) if pieces else None

    def _read(self, runs: Sequence[Run], after_us: int, through_us: int | None) -> str:
        paths = ", ".join(quote_literal(str(self._files.local(run.path))) for run in runs)
        by_name = "" if self._kinds is None else ", union_by_name = true"
        return self._selected(f"read_parquet([{paths}]{by_name})", after_us, through_us)

    def _registered(self, rows: pa.Table, after_us: int, through_us: int | None) -> str:
        return self._selected(self._tables.register(rows), after_us, through_us)

    def _selected(self, relation: str, after_us: int, through_us: int | None) -> str:
        condition = f"{EXPIRY} > {after_us}"
        if through_us is not None:
            condition += f" AND {EXPIRY} <= {through_us}"
        if self._kinds is not None:
            relation = f"(SELECT * FROM {relation} UNION ALL BY NAME {nothing(self._kinds)})"
        return f"SELECT {self._listed()} FROM {relation} WHERE {condition}"

    def _listed(self) -> str:
        return ", ".join(quote_identifier(name) for name in (*self._columns, EXPIRY, HASH))

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, table: str, *, level: int, first: int, last: int, suffix: str) -> int:
        rows, least, greatest, finite = self._tables.row(
            f"SELECT count(*), min({EXPIRY}), max({EXPIRY}), "
            f"max({EXPIRY}) FILTER (WHERE {EXPIRY} < {NEVER}) FROM {table}"
        )
        if not rows:
            return 0
        part = f"-{self._part}" if self._part else ""
        path = self._files.directory / f"{self._name}{part}-{suffix}.parquet"
        self._tables.connection.execute(
            f"COPY (SELECT {self._listed()} FROM {table} ORDER BY {self._order(int(rows), least, finite)}) "
            f"TO {quote_literal(str(path))} (FORMAT parquet, ROW_GROUP_SIZE {GROUP_ROWS})"
        )
        name = self._files.name_of(path)
        self._written.append(name)
        self._runs.append(
            Run(
                name,
                int(rows),
                path.stat().st_size,
                max(level, _level_of(int(rows))),
                first,
                last,
                int(least),
                int(greatest),
                self._tables.hash_name,
                self._part,
            )
        )
        return int(rows)

    def _order(self, rows: int, least: int, greatest: int | None) -> str:
        """By what a run is sorted, so that both a key and what closes are found in few row groups.

        Where a key's expiry is known when it is looked for, by expiry and hash. Else moments are
        nearly as many as rows, and a key might be anywhere: so by a few spans of time, and by hash
        in each of them.
        """
        if self._by_expiry or greatest is None or rows <= _PRUNE_ROWS:
            return f"{EXPIRY}, {HASH}"
        width = (greatest - least) // _SPANS + 1
        return f"{EXPIRY} // {width}, {HASH}"

    def _full_level(self) -> tuple[int, int, list[Run]]:
        """The lowest level with enough runs to merge, where they start, and which they are.

        A run counts for the level of the highest after it, so that those of one level lie next to
        each other, and only neighbours are merged.
        """
        levels: list[int] = []
        for run in reversed(self._runs):
            levels.insert(0, max(run.level, levels[0] if levels else 0))
        for level in sorted(set(levels)):
            if levels.count(level) >= FANOUT:
                place = levels.index(level)
                return level, place, self._runs[place : place + levels.count(level)]
        return 0, 0, []


def nothing(kinds: pa.Schema) -> str:
    """A SELECT of no row of a schema."""
    listed = ", ".join(
        f"CAST(NULL AS {duckdb_type(item.type)}) AS {quote_identifier(item.name)}" for item in kinds
    )
    return f"SELECT {listed} WHERE false"


def _level_of(rows: int) -> int:
    """The level that a run belongs to by its size alone: what is large is not soon merged again."""
    level = 0
    while rows >= GROUP_ROWS * FANOUT ** (level + 1):
        level += 1
    return level
