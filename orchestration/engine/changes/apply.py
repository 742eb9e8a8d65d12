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
* A full snapshot is a truncate and upserts at one sequence (``spares``): rows that are not in it
  are gone, and the history of the others goes on.
* Type 2: a row starts where a tracked column changes, or where the key comes (again) into being.

All of it is SQL over relations: no row passes through Python. Only the keys of the batch are
looked at, and only rows that become different are replaced.

**Memory** is what the table's rows do not say: tombstones; of which sequence single cells are;
changes that made no row of their own. It belongs to the caller, who keeps it between batches and
gives back the rows of the batch's keys. A row of :attr:`Applied.memory` takes the place of the
one with the same :func:`memory_keys`. Truncates are remembered in rows whose keys are null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.changes.base import Applied, Changes, Counts
from orchestration.engine.changes.history import apply_history
from orchestration.engine.changes.present import apply_present
from orchestration.engine.changes.reading import invalid_sql, read_changes
from orchestration.engine.changes.shapes import memory_keys, memory_schema, table_schema
from orchestration.engine.changes.sql import Step

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
        changes: From :func:`read_changes`. Its tables go with the result.
        current: Name of a relation of table rows, among them all of the batch's keys; a view will
            do, of which only the columns that are needed are read, once or twice.
        memory: Name of a relation of memory rows, among them all of the batch's keys, and those
            whose keys are null. None twice.
        prefix: Start of the names of what is made.
        carry: Further columns of ``current`` that name where a row lies, for
            :attr:`Applied.remove`.
    """
    step = Step(connection, prefix)
    step.tables.append(changes.keys)
    (step.tables if changes.gaps else step.views).append(changes.table)
    given = (spec, changes, current, memory, carry)
    try:
        return apply_history(step, *given) if spec.scd_type == 2 else apply_present(step, *given)
    except BaseException:
        step.undo()
        raise
