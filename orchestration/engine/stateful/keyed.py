"""Rows of state by key, kept as immutable sorted runs.

A batch appends one run with what it changed and never rewrites older ones, so it costs what it
touches. Reading merges: what rows of one key in several runs come to is the operator's business.
Rows carry the moment they expire (``headwater_x``); once the watermark has reached it they are
dead, and readers leave them out. So eviction writes nothing: dead rows go when runs are merged,
and runs that are dead as a whole are dropped.

Runs are sorted by expiry and by a hash of the key. A look-up of a few keys reads only the row
groups whose ranges can hold them, so its cost does not grow with the state.

Source: log-structured merge trees (O'Neil et al., 1996), tiered as in Cassandra: when
:data:`FANOUT` runs of one level have come together, they become one of the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from orchestration.state.manifest import NEVER, OperatorState, Run
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestration.engine.stateful.tables import Tables
    from orchestration.state.files import StateFiles

__all__ = ["EXPIRY", "FANOUT", "HASH", "KeyedState", "key_hash"]

#: Columns that every run has.
EXPIRY, HASH = "headwater_x", "headwater_h"

#: Runs of one level that are merged into one of the next.
FANOUT = 8

_GROUP_ROWS = 16_384  # rows of a Parquet row group: what a look-up of one key reads
_PRUNE_ROWS = 4 * _GROUP_ROWS  # smaller runs are read whole
_PRUNE_KEYS = 4_096  # keys in one look-up; with more of them most row groups are hit


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
    ) -> None:
        self._tables = tables
        self._files = files
        self._runs = list(runs)
        self._name = name
        self._batch_id = batch_id
        self._columns = tuple(columns)
        self._keys = tuple(keys)
        self._part = part
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
        runs = [r for r in self._runs if r.max_expiry > after_us and r.min_expiry <= last]
        if not runs:
            return None
        return self._read(runs, after_us, through_us)

    def matching(self, table: str, after_us: int, *, by_expiry: bool = False) -> str | None:
        """A SELECT of live rows, among them all whose key is in a table.

        Where only some row groups can hold those keys, only they are read. The result may hold
        rows of other keys: join it.

        Args:
            table: Scratch table with the key columns and :data:`HASH`.
            after_us: Rows that expire by then are dead.
            by_expiry: Rows of one key expire at the same time, and the table has that
                :data:`EXPIRY` too: what expires at other times is not read.

        Returns:
            ``None`` where no run can hold any.
        """
        through = None
        if by_expiry:
            first, last = self._tables.row(f"SELECT min({EXPIRY}), max({EXPIRY}) FROM {table}")
            if first is None:
                return None
            after_us, through = max(after_us, int(first) - 1), int(last)
        runs = [
            run
            for run in self._runs
            if run.max_expiry > after_us and (through is None or run.min_expiry <= through)
        ]
        if not runs:
            return None
        large = [run for run in runs if run.rows > _PRUNE_ROWS]
        wanted = self._wanted(table, by_expiry=by_expiry) if large else None
        if wanted is None:
            return self._read(runs, after_us, through)
        whole = [run for run in runs if run not in large]
        pieces: list[str] = []
        for run in large:
            groups = self._groups(run, *wanted)
            if groups is None:
                whole.append(run)
            elif groups:
                pieces.append(self._fetched(run, groups, after_us))
        if whole:
            pieces.append(self._read(whole, after_us, through))
        return " UNION ALL ".join(pieces) if pieces else None

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
            level, runs = self._full_level()
            if not runs:
                return
            table = self._tables.create(merged(self._read(runs, watermark_us, None)))
            first, last = runs[0].first_batch, runs[-1].last_batch
            place = self._runs.index(runs[0])
            self._runs = [run for run in self._runs if run not in runs]
            tail, self._runs = self._runs[place:], self._runs[:place]
            self._write(table, level=level + 1, first=first, last=last, suffix=f"m{level}")
            self._runs += tail
            self._tables.drop(table)

    def finish(self, rows: int, facts: dict[str, Any] | None = None) -> OperatorState:
        """The operator's state after the batch, for an operator with this table only."""
        return OperatorState(rows, self.runs, facts or {})

    def earliest(self, after_us: int) -> int | None:
        """When the next live row expires; ``None`` where none ever does."""
        known = [run.min_expiry for run in self._runs if run.min_expiry > after_us]
        mixed = [run for run in self._runs if run.min_expiry <= after_us < run.max_expiry]
        if mixed:
            found = self._tables.value(
                f"SELECT min({EXPIRY}) FROM ({self._read(mixed, after_us, None)})"
            )
            if found is not None:
                known.append(int(found))
        least = min(known, default=NEVER)
        return None if least == NEVER else least

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, runs: Sequence[Run], after_us: int, through_us: int | None) -> str:
        paths = ", ".join(quote_literal(str(self._files.local(run.path))) for run in runs)
        condition = f"{EXPIRY} > {after_us}"
        if through_us is not None:
            condition += f" AND {EXPIRY} <= {through_us}"
        return f"SELECT {self._listed()} FROM read_parquet([{paths}]) WHERE {condition}"

    def _fetched(self, run: Run, groups: Sequence[int], after_us: int) -> str:
        file = pq.ParquetFile(self._files.local(run.path))
        rows = file.read_row_groups(list(groups), columns=[*self._columns, EXPIRY, HASH])
        name = self._tables.register(rows)
        return f"SELECT {self._listed()} FROM {name} WHERE {EXPIRY} > {after_us}"

    def _wanted(self, table: str, *, by_expiry: bool) -> tuple[Any, Any] | None:
        """The table's key hashes and expiries in order; ``None`` when they are too many."""
        count = int(self._tables.value(f"SELECT count(*) FROM {table}"))
        if count > _PRUNE_KEYS:
            return None
        names = f"{HASH}, {EXPIRY}" if by_expiry else HASH
        rows = self._tables.connection.sql(f"SELECT {names} FROM {table}").to_arrow_table()
        expiries = np.unique(rows[EXPIRY].to_numpy()) if by_expiry else None
        return np.unique(rows[HASH].to_numpy()), expiries

    def _groups(self, run: Run, hashes: Any, expiries: Any) -> list[int] | None:
        """Row groups that may hold a key; ``None`` for more than half of them."""
        if run.hash_name != self._tables.hash_name:
            return None  # written by an engine whose hashes are others
        bounds = _group_bounds(self._files.local(run.path))
        hit = _between(hashes, *bounds[HASH])
        if expiries is not None:
            hit &= _between(expiries, *bounds[EXPIRY])
        found = np.flatnonzero(hit).tolist()
        return None if len(found) * 2 > len(hit) else found

    def _listed(self) -> str:
        return ", ".join(quote_identifier(name) for name in (*self._columns, EXPIRY, HASH))

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, table: str, *, level: int, first: int, last: int, suffix: str) -> int:
        rows, least, greatest = self._tables.row(
            f"SELECT count(*), min({EXPIRY}), max({EXPIRY}) FROM {table}"
        )
        if not rows:
            return 0
        part = f"-{self._part}" if self._part else ""
        path = self._files.directory / f"{self._name}{part}-{suffix}.parquet"
        self._tables.connection.execute(
            f"COPY (SELECT {self._listed()} FROM {table} ORDER BY {EXPIRY}, {HASH}) "
            f"TO {quote_literal(str(path))} (FORMAT parquet, ROW_GROUP_SIZE {_GROUP_ROWS})"
        )
        name = self._files.name_of(path)
        self._written.append(name)
        self._runs.append(
            Run(
                name,
                int(rows),
                path.stat().st_size,
                level,
                first,
                last,
                int(least),
                int(greatest),
                self._tables.hash_name,
                self._part,
            )
        )
        return int(rows)

    def _full_level(self) -> tuple[int, list[Run]]:
        for level in sorted({run.level for run in self._runs}):
            runs = [run for run in self._runs if run.level == level]
            if len(runs) >= FANOUT:
                return level, runs
        return 0, []


def _between(values: Any, least: Any, greatest: Any) -> Any:
    """Which of several ranges, ends included, hold any of some ordered values."""
    first = np.searchsorted(values, least, side="left")
    last = np.searchsorted(values, greatest, side="right")
    return last > first


_BOUNDS: dict[str, dict[str, tuple[Any, Any]]] = {}
_BOUNDS_KEPT = 4_096


def _group_bounds(path: Path) -> dict[str, tuple[Any, Any]]:
    """The least and the greatest hash and expiry of every row group; files never change."""
    key = str(path)
    if key not in _BOUNDS:
        metadata = pq.read_metadata(path)
        names = [metadata.schema.column(i).name for i in range(metadata.num_columns)]
        if len(_BOUNDS) >= _BOUNDS_KEPT:
            _BOUNDS.clear()
        _BOUNDS[key] = {}
        for name in (HASH, EXPIRY):
            at = names.index(name)
            found: list[Any] = [
                metadata.row_group(number).column(at).statistics
                for number in range(metadata.num_row_groups)
            ]
            _BOUNDS[key][name] = (
                np.array([item.min for item in found], np.int64),
                np.array([item.max for item in found], np.int64),
            )
    return _BOUNDS[key]
