"""A batch of changes, put into a table of what is (type 1) or of what was (type 2).

Source: the algorithm that Spark publishes for AUTO CDC: per batch what matters of each key is
kept, an older sequence never overwrites a newer one, and tombstones are remembered so that a late
insert does not bring a deleted row back. The result is what the changes make in the order of
their sequence, whatever order and batches they come in and however often. The rules in full:

* A change is an upsert, a delete or a truncate. At the same sequence a delete wins over upserts.
  A truncate deletes, of every key, what has a smaller sequence.
* Each cell is that of the newest change that gave it after the newest delete. Null in a column of
  ``ignore_null_updates`` is not given, nor is a cell named by the change's ``unchanged``.
* Two different upserts of one key at the same sequence: the greater wins, column by column in the
  order of the columns, null lowest. Where changes may leave cells as they were: cell by cell.
* A delete that only sets a flag (``soft_delete``) leaves the cells: an upsert after it that does
  not give a cell finds it as it was.
* Type 2: a row starts where a tracked column changes, or where the key comes (again) into being.

All of it is SQL over relations: no row passes through Python. Only the keys of the batch are
looked at, and only rows that become different are replaced.

**Memory** is what the table's rows do not say: tombstones; of which sequence single cells are;
changes that made no row of their own. It belongs to the caller, who keeps it between batches and
gives back the rows of the batch's keys. A row of :attr:`Applied.memory` takes the place of the
one with the same :func:`memory_keys`. Truncates are remembered in rows whose keys are null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from orchestration.streams.change_spec import ChangeSpec

__all__ = [
    "Applied",
    "Changes",
    "Counts",
    "apply_changes",
    "invalid_sql",
    "memory_keys",
    "memory_schema",
    "read_changes",
    "table_schema",
]


@dataclass(frozen=True, slots=True)
class Changes:
    """A batch's changes, the specification's SQL evaluated once.

    Attributes:
        table: Temp table with them, for :func:`apply_changes` alone.
        keys: Temp table of the different keys among them; with a row of nulls where truncates are
            to be heard of: memory of these keys, and table rows of these keys, are to be given.
        whole: There is a truncate among them: all of the table and all of the memory is to be
            given, whatever their keys.
        rows: How many there are.
    """

    table: str
    keys: str
    whole: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a batch did.

    Attributes:
        inserted: Type 1: keys that have a row now and had none. Type 2: history rows that are new.
        updated: Rows of the table that were replaced by one of the same identity.
        deleted: Keys that had a row that was (type 2: still) valid, and have none any more.
        ignored: Changes that did nothing because the table knew a newer one, or the same.
    """

    inserted: int
    updated: int
    deleted: int
    ignored: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What becomes of the table and of the memory: names of temp tables, to be dropped by the
    caller.

    Attributes:
        add: Rows to add, with the columns :attr:`ChangeSpec.table_columns`.
        remove: Which rows to remove first: :attr:`ChangeSpec.identity`, and what was carried.
        memory: Memory rows that are new or different; see :func:`memory_schema`.
        counts: For the progress.
    """

    add: str
    remove: str
    memory: str
    counts: Counts


def table_schema(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, schema: pa.Schema
) -> pa.Schema:
    """Columns of the table that changes with the columns of ``schema`` make."""
    raise NotImplementedError


def memory_schema(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, schema: pa.Schema
) -> pa.Schema:
    """Columns of the memory, where the changes have the columns of ``schema``."""
    raise NotImplementedError


def memory_keys(spec: ChangeSpec) -> tuple[str, ...]:
    """Columns that name one row of the memory; the first of them are the specification's keys."""
    raise NotImplementedError


def invalid_sql(spec: ChangeSpec, changes: str) -> str:
    """A SELECT of the changes that cannot be applied, with the column ``__reason`` after theirs.

    Args:
        spec: What they mean.
        changes: Name of a relation.
    """
    raise NotImplementedError


def read_changes(
    connection: duckdb.DuckDBPyConnection, spec: ChangeSpec, *, changes: str, prefix: str
) -> Changes:
    """Evaluate a batch's changes, in one pass over them.

    Args:
        connection: Where the relation is.
        spec: What they mean.
        changes: Name of a relation with the stream's columns; none of them invalid.
        prefix: Start of the names of what is made.
    """
    raise NotImplementedError


def apply_changes(
    connection: duckdb.DuckDBPyConnection,
    spec: ChangeSpec,
    *,
    changes: Changes,
    current: str,
    memory: str,
    prefix: str,
    carry: Sequence[str] = (),
) -> Applied:
    """Put a batch of changes into the table.

    Args:
        connection: Where the relations are.
        spec: What the changes mean.
        changes: From :func:`read_changes`. What it made is dropped.
        current: Name of a relation of table rows, among them all of the batch's keys; a view will
            do, of which only the columns that are needed are read, once or twice.
        memory: Name of a relation of memory rows, among them all of the batch's keys, and those
            whose keys are null. None twice.
        prefix: Start of the names of what is made.
        carry: Further columns of ``current`` that name where a row lies, for
            :attr:`Applied.remove`.
    """
    raise NotImplementedError
