"""A table of what is: most keys by whole rows, and cell by cell only those where it matters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration.engine.changes.base import HIGHEST, MISSING, Applied, Counts
from orchestration.engine.changes.cells import apply_cells
from orchestration.engine.changes.rows import apply_rows
from orchestration.engine.changes.shapes import CELLS, by_cell
from orchestration.engine.changes.sql import Step, listed, same
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.engine.changes.base import Changes
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["apply_present"]


def apply_present(
    step: Step, spec: ChangeSpec, changes: Changes, current: str, memory: str, carry: Sequence[str]
) -> Applied:
    """Put the batch into the table."""
    if spec.soft_delete is not None:
        return apply_cells(step, spec, changes, current, memory, carry)
    apart = _apart(step, spec, changes, memory) if by_cell(spec) and spec.values else None
    count = 0 if apart is None else int(step.value(f"SELECT count(*) FROM {apart}"))
    made = {*step.tables, *step.views}
    given = (current, memory, carry)
    if apart is None or not count:
        if (applied := apply_rows(step, spec, changes, *given)) is not None:
            return applied
    elif not changes.whole and 2 * count < changes.distinct:
        others = _of_keys(step, spec, changes, f"ANTI JOIN {apart}", "others")
        whole = apply_rows(step, spec, others, *given)
        if whole is not None:
            few = _of_keys(step, spec, changes, f"SEMI JOIN {apart}", "few")
            second = Step(step.connection, f"{step.prefix}_cells")
            try:
                return _both(step, whole, apply_cells(second, spec, few, *given))
            except BaseException:
                second.undo()
                raise
    step.undo(keep=made)
    return apply_cells(step, spec, changes, *given)


def _apart(step: Step, spec: ChangeSpec, changes: Changes, memory: str) -> str:
    """The keys whose cells may be of different changes."""
    keys, first = listed(spec.keys), quote_identifier(spec.keys[0])
    found = (
        f"SELECT {keys} FROM {memory} "
        f"WHERE {quote_identifier(CELLS)} IS NOT NULL AND {first} IS NOT NULL"
    )
    if changes.gaps:
        found += f" UNION SELECT {keys} FROM {changes.table} WHERE {MISSING} IS NOT NULL"
    return step.table("apart", found)


def _of_keys(step: Step, spec: ChangeSpec, changes: Changes, among: str, name: str) -> Changes:
    """The changes of some keys only."""
    keys = step.table(
        name,
        f"SELECT k.* FROM {changes.keys} AS k {among} AS a ON {same(spec.keys, 'k', 'a')} "
        f"WHERE k.{HIGHEST} IS NOT NULL",
    )
    count = int(step.value(f"SELECT count(*) FROM {keys}"))
    return replace(changes, keys=keys, distinct=count, gaps=False)


def _both(step: Step, one: Applied, other: Applied) -> Applied:
    """What two parts of a batch, of different keys, come to."""
    names = ("add", "remove", "gone", "memory")
    together = {
        name: step.view(
            f"{name}_all",
            f"FROM {getattr(one, name)} UNION ALL BY NAME FROM {getattr(other, name)}",
        )
        for name in names
    }
    numbers = ("inserted", "updated", "deleted", "ignored")
    counts = Counts(**{n: getattr(one.counts, n) + getattr(other.counts, n) for n in numbers})
    return Applied(
        **together,
        counts=counts,
        views=(*step.views, *other.views),
        tables=(*step.tables, *other.tables),
    )
