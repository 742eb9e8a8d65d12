"""Truncates: what they say of every key, in the batch and in the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.changes.base import AT, OP, TRUNCATE
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.engine.changes.base import Changes
    from orchestration.engine.changes.sql import Step
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["Truncates", "truncates"]


@dataclass(frozen=True, slots=True)
class Truncates:
    """All truncates that are known.

    Attributes:
        table: Temp table with the sequence of each (``AT``), and whether it is of this batch only
            (``fresh``).
        some: Whether there are any.
        newest: SQL of the sequence of the newest one; ``NULL`` where there is none.
        newest_known: The same of those that were known before the batch.
    """

    table: str
    some: bool
    newest: str
    newest_known: str


def truncates(
    step: Step, spec: ChangeSpec, changes: Changes, memory: str, column: str
) -> Truncates:
    """What truncates the batch and the memory tell of.

    Args:
        step: Makes the table.
        spec: What the changes mean.
        changes: The batch's.
        memory: The memory's relation.
        column: Its column with the sequence of a truncate, where the keys are null.
    """
    fresh = f"SELECT {AT}, true AS fresh FROM {changes.table} WHERE {OP} = {TRUNCATE}"
    known = (
        f"SELECT {quote_identifier(column)} AS {AT}, false AS fresh FROM {memory} "
        f"WHERE {quote_identifier(spec.keys[0])} IS NULL"
    )
    pieces = ([fresh] if changes.whole else []) + ([known] if spec.truncate_when else [])
    query = " UNION ALL ".join(
        pieces or [f"SELECT {AT}, false AS fresh FROM {changes.table} LIMIT 0"]
    )
    table = step.table(
        "truncates", f"SELECT {AT}, bool_and(fresh) AS fresh FROM ({query}) GROUP BY {AT}"
    )
    some = bool(step.value(f"SELECT count(*) FROM {table}"))
    newest = f"(SELECT max({AT}) FROM {table})" if some else "NULL"
    newest_known = f"(SELECT max({AT}) FROM {table} WHERE NOT fresh)" if some else "NULL"
    return Truncates(table, some, newest, newest_known)
