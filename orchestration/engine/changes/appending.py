"""History that only goes on: every change of the batch is newer than all that is known of its key.

That is how changes come most of the time, and then each upsert begins a row, the next change of
its key ends it, and so are the rows ended that held until now. Only keys, sequences and a hash of
the tracked columns are put in order; where a hash says that an upsert might change none of them,
it is left to the way of :mod:`orchestration.engine.changes.events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.changes.base import AT, DELETE, OP, UPSERT, Applied, Counts
from orchestration.engine.changes.shapes import FACT_AT, FACT_KIND
from orchestration.engine.changes.sql import listed, same
from orchestration.streams.change_spec import END_AT, START_AT
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.engine.changes.base import Changes
    from orchestration.engine.changes.sql import Step
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["append_history"]

_START, _END = quote_identifier(START_AT), quote_identifier(END_AT)


def append_history(
    step: Step, spec: ChangeSpec, changes: Changes, rows: str, facts: str, carry: Sequence[str]
) -> Applied | None:
    """Let history go on; ``None`` where the batch is not as simple as that.

    Args:
        step: Makes the relations.
        spec: What the changes mean.
        changes: The batch's, no truncate among them, all newer than what is known.
        rows: The table's rows of their keys.
        facts: What the memory has of them.
        carry: Columns of ``rows`` that :attr:`Applied.remove` has, too.
    """
    if changes.gaps or not spec.tracked or not _differ(step, spec, changes):
        return None
    order = _order(step, spec, changes, rows)
    alike = f"SELECT count(*) FROM {order} WHERE hw_alike AND hw_held AND hw_follows"
    if step.value(alike):
        step.drop(order)
        return None
    cells = listed((*spec.keys, *spec.values), "c")
    add = step.view(
        "add",
        f"SELECT {listed((*spec.columns, START_AT, END_AT))} FROM ("
        f"SELECT {cells}, c.{AT} AS {_START}, o.hw_ended AS {_END} FROM {changes.table} AS c "
        f"JOIN (FROM {order} WHERE hw_held AND NOT hw_old) AS o "
        f"ON {same(spec.keys, 'c', 'o')} AND c.{AT} = o.{AT} WHERE c.{OP} = {UPSERT} UNION ALL "
        f"SELECT {cells}, c.{_START}, o.hw_ended FROM {rows} AS c "
        f"JOIN (FROM {order} WHERE hw_old) AS o "
        f"ON {same(spec.keys, 'c', 'o')} AND c.{_START} = o.{AT} "
        f"WHERE c.{_END} IS NULL)",
    )
    remove = step.view(
        "remove", f"SELECT {listed((*spec.identity, *carry))} FROM {rows} WHERE {_END} IS NULL"
    )
    gone = step.view("gone", f"SELECT {listed(spec.identity)} FROM {rows} LIMIT 0")
    memory = step.table(
        "memory",
        f"SELECT * FROM (FROM {facts} LIMIT 0) UNION ALL BY NAME "
        f"SELECT {listed(spec.keys)}, {AT} AS {quote_identifier(FACT_AT)}, "
        f"CAST({DELETE} AS TINYINT) AS {quote_identifier(FACT_KIND)} FROM {order} "
        "WHERE NOT hw_held AND NOT hw_follows",
    )
    inserted, updated = step.row(
        f"SELECT count(*) FILTER (hw_held AND NOT hw_old), count(*) FILTER (hw_old) FROM {order}"
    )
    deleted = step.value(
        f"SELECT count(*) FROM (FROM {order} WHERE hw_ended IS NULL AND NOT hw_held) AS o "
        f"SEMI JOIN (FROM {rows} WHERE {_END} IS NULL) AS r ON {same(spec.keys, 'o', 'r')}"
    )
    counts = Counts(int(inserted), int(updated), int(deleted), 0)
    return Applied(add, remove, gone, memory, counts, tuple(step.views), tuple(step.tables))


def _differ(step: Step, spec: ChangeSpec, changes: Changes) -> bool:
    """Whether no two changes of a key have the same sequence, as far as hashes tell."""
    hashed = f"SELECT count(DISTINCT hash({listed(spec.keys)}, {AT})) FROM {changes.table}"
    return bool(step.value(hashed) == changes.rows)


def _order(step: Step, spec: ChangeSpec, changes: Changes, rows: str) -> str:
    """Changes and rows that hold still, in the order of their sequences within each key.

    ``hw_old``: a row; ``hw_follows``: the key had a row until then; ``hw_alike``: with the same
    tracked columns; ``hw_ended``: when the next one comes.
    """
    keys, names = listed(spec.keys), listed((*spec.keys, *spec.tracked))
    # The hash is made of what both have become in one column: types may differ in width.
    together = (
        f"SELECT {names}, {AT}, {OP} = {UPSERT} AS hw_held, false AS hw_old FROM {changes.table} "
        f"UNION ALL SELECT {names}, {_START}, true, true FROM {rows} WHERE {_END} IS NULL"
    )
    hashed = (
        f"SELECT {keys}, {AT}, hw_held, hw_old, hash({listed(spec.tracked)}) AS hw_hash "
        f"FROM ({together})"
    )
    return step.table(
        "order",
        f"SELECT * EXCLUDE (hw_hash), lead({AT}) OVER in_time AS hw_ended, "
        "coalesce(lag(hw_held) OVER in_time, false) AS hw_follows, "
        "coalesce(lag(hw_hash) OVER in_time = hw_hash, false) AS hw_alike "
        f"FROM ({hashed}) WINDOW in_time AS (PARTITION BY {keys} ORDER BY {AT})",
    )
