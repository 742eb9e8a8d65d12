"""What goes into applying a batch of changes, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.changes.sql import drop

if TYPE_CHECKING:
    import duckdb

__all__ = ["AT", "DELETE", "HIGHEST", "MISSING", "OP", "TRUNCATE", "UPSERT", "Applied"]
__all__ += ["Changes", "Counts"]

#: Columns of :attr:`Changes.table` beside the specification's: the sequence, what the change does,
#: and the names of the columns it does not give (null where it gives all of them).
AT, OP, MISSING = "headwater_at", "headwater_op", "headwater_missing"

#: What a change does. At the same sequence the greater number wins where it is of a key.
UPSERT, DELETE, TRUNCATE = 0, 1, 2

#: Column of :attr:`Changes.keys`: the sequence of the key's newest change.
HIGHEST = "headwater_highest"


@dataclass(frozen=True, slots=True)
class Changes:
    """A batch's changes, in the terms of the specification.

    Attributes:
        table: Temp table or view of them, for :func:`~.apply.apply_changes` alone.
        keys: Temp table of the different keys among them; with a row of nulls where truncates are
            to be heard of: memory of these keys, and table rows of these keys, are to be given.
        whole: There is a truncate among them: all of the table and all of the memory is to be
            given, whatever their keys.
        rows: How many there are.
        distinct: How many keys they have.
        gaps: Some of them leave cells as they were.
    """

    table: str
    keys: str
    whole: bool
    rows: int
    distinct: int
    gaps: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """What a batch did.

    Attributes:
        inserted: Type 1: keys that have a row now and had none. Type 2: history rows that are new.
        updated: Rows of the table that were replaced by one of the same identity.
        deleted: Keys whose row went, was flagged as deleted (``soft_delete``) or, of type 2, ended
            without another one taking its place.
        ignored: Changes that did nothing because the table knew a newer one, or the same.
    """

    inserted: int
    updated: int
    deleted: int
    ignored: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What becomes of the table and of the memory, as names of temporary relations.

    Attributes:
        add: Rows to add, with the columns :attr:`ChangeSpec.table_columns`.
        remove: Which rows to remove: :attr:`ChangeSpec.identity`, and what was carried.
        gone: Those of them that no row to add takes the place of: :attr:`ChangeSpec.identity`.
        memory: Memory rows that are new or different; see :func:`~.apply.memory_schema`.
        counts: For the progress.
        views: Views that were made, tables likewise.
    """

    add: str
    remove: str
    gone: str
    memory: str
    counts: Counts
    views: tuple[str, ...]
    tables: tuple[str, ...]

    def drop(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let go of everything, once it is read."""
        drop(connection, self.views, self.tables)
