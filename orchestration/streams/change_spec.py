"""What a stream of changes means: which row each is about, in what order, and what it does to it.

Two kinds of table are made from changes. Type 1 holds what is: one row per key. Type 2 holds what
was, too: one row per key and interval in which its tracked columns had one value.

Source: the algorithm that Spark publishes for its AUTO CDC flows, with rules added where cells
come one by one; :mod:`orchestration.engine.changes.apply` says them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["END_AT", "SEQUENCE", "START_AT", "ChangeSpec"]

#: Column of a type 1 table: the sequence of the newest change that its row is made of.
SEQUENCE = "__sequence"

#: Columns of a type 2 table: from which sequence on a row held, and before which it ended. The end
#: of a row that holds still is null.
START_AT, END_AT = "__start_at", "__end_at"


@dataclass(frozen=True, slots=True)
class ChangeSpec:
    """How changes are read and kept.

    The SQL is DuckDB's, over the columns of the input.

    Attributes:
        scd_type: 1: what is. 2: history.
        keys: Columns that name a row; at least one, never null in a change.
        sequence: SQL of what orders changes, of any type that has an order; never null in a
            change.
        delete_when: SQL that is true of a change that deletes its row; ``None`` where none does.
        truncate_when: SQL that is true of a change that deletes every row with a smaller sequence,
            whatever its key; ``None`` where none does.
        columns: Columns of the input that the table keeps, keys included, in the table's order.
        tracked: Type 2: a new history row starts where one of these changes; the others are
            altered in the row of their time.
        ignore_null_updates: Columns in which null means "as before".
        unchanged: Column of the input, a list of VARCHAR, that names the columns a change does not
            give; ``None`` where changes give all of them.
        soft_delete: Type 1: a BOOLEAN column of the table's own that is set where the row is
            deleted, while the row stays; ``None`` where deleted rows go.
        spares: A truncate spares what an upsert of the same sequence gives again: its history goes
            on. So a full snapshot is a truncate and upserts at one sequence.
    """

    scd_type: Literal[1, 2]
    keys: tuple[str, ...]
    sequence: str
    columns: tuple[str, ...]
    delete_when: str | None = None
    truncate_when: str | None = None
    tracked: tuple[str, ...] = ()
    ignore_null_updates: tuple[str, ...] = ()
    unchanged: str | None = None
    soft_delete: str | None = None
    spares: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """Columns that the table keeps and that are not of the key."""
        return tuple(name for name in self.columns if name not in self.keys)

    @property
    def partial(self) -> bool:
        """Whether a change may leave cells as they were."""
        return bool(self.ignore_null_updates) or self.unchanged is not None

    @property
    def table_columns(self) -> tuple[str, ...]:
        """Columns of the table in order."""
        if self.scd_type == 2:
            return (*self.columns, START_AT, END_AT)
        flag = () if self.soft_delete is None else (self.soft_delete,)
        return (*self.columns, *flag, SEQUENCE)

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns of the table that name one of its rows."""
        return self.keys if self.scd_type == 1 else (*self.keys, START_AT)
