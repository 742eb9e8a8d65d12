"""History as it is to be, beside the table's: which rows differ, and what has to be remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.changes.base import AT, DELETE, MISSING, TRUNCATE, UPSERT, Applied, Counts
from orchestration.engine.changes.shapes import FACT_AT, FACT_KIND, FACT_MISSING
from orchestration.engine.changes.sql import differs, listed, same
from orchestration.streams.change_spec import END_AT, START_AT
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.engine.changes.sql import Step
    from orchestration.engine.changes.truncates import Truncates
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["difference"]

_START, _END = quote_identifier(START_AT), quote_identifier(END_AT)


def difference(
    step: Step,
    spec: ChangeSpec,
    events: str,
    *,
    rows: str,
    facts: str,
    truncates: Truncates,
    carry: Sequence[str],
    open_only: bool,
    ignored: int,
) -> Applied:
    """What to add, remove and remember.

    Args:
        step: Makes the relations.
        spec: What the changes mean.
        events: See :func:`orchestration.engine.changes.events.events`.
        rows: The table's rows of these keys.
        facts: What the memory has of them.
        truncates: That are known.
        carry: Columns of ``rows`` that :attr:`Applied.remove` has, too.
        open_only: Only the rows that hold still were among what the events are made of.
        ignored: For the counts.
    """
    memory = _memory(step, spec, events, facts, truncates, open_only=open_only)
    cells = "".join(f", hw_w{n} AS {quote_identifier(name)}" for n, name in enumerate(spec.values))
    new = (
        f"SELECT {listed(spec.keys)}{cells}, hw_began AS {_START}, hw_ended AS {_END}, true AS hw_there "
        f"FROM {events} WHERE hw_last"
    )
    old = f"SELECT *, true AS hw_there FROM {rows}"
    if open_only:
        old += f" WHERE {_END} IS NULL"
    columns = (*spec.columns, START_AT, END_AT)
    carried = "".join(f", o.{quote_identifier(name)} AS hw_c{n}" for n, name in enumerate(carry))
    identities = "".join(
        f", o.{quote_identifier(name)} AS hw_k{n}" for n, name in enumerate(spec.identity)
    )
    unlike = differs((*spec.values, END_AT), "n", "o")
    diff = step.table(
        "diff",
        f"SELECT {listed(columns, 'n')}, n.hw_there AS hw_new, o.hw_there AS hw_old, "
        f"o.{_END} IS NULL AS hw_was_open{identities}{carried} FROM ({new}) AS n "
        f"FULL JOIN ({old}) AS o ON {same(spec.identity, 'n', 'o')} "
        f"WHERE n.hw_there IS NULL OR o.hw_there IS NULL OR {unlike}",
    )
    step.drop(events)
    add = step.view("add", f"SELECT {listed(columns)} FROM {diff} WHERE hw_new")
    names = [*spec.identity, *carry]
    parts = [f"hw_k{n}" for n in range(len(spec.identity))] + [
        f"hw_c{n}" for n in range(len(carry))
    ]
    chosen = ", ".join(
        f"{part} AS {quote_identifier(name)}" for part, name in zip(parts, names, strict=True)
    )
    remove = step.view("remove", f"SELECT {chosen} FROM {diff} WHERE hw_old")
    identity = ", ".join(
        f"hw_k{n} AS {quote_identifier(name)}" for n, name in enumerate(spec.identity)
    )
    gone = step.view("gone", f"SELECT {identity} FROM {diff} WHERE hw_old AND hw_new IS NULL")
    counts = _counts(step, spec, diff, ignored)
    return Applied(add, remove, gone, memory, counts, tuple(step.views), tuple(step.tables))


def _counts(step: Step, spec: ChangeSpec, diff: str, ignored: int) -> Counts:
    inserted, updated = step.row(
        f"SELECT count(*) FILTER (hw_new AND hw_old IS NULL), count(*) FILTER (hw_new AND hw_old) FROM {diff}"
    )
    keys = ", ".join(f"hw_k{n}" for n in range(len(spec.keys)))
    deleted = step.value(
        f"SELECT count(*) FROM (SELECT {keys} FROM {diff} WHERE hw_old AND hw_was_open EXCEPT "
        f"SELECT {listed(spec.keys)} FROM {diff} WHERE hw_new AND {_END} IS NULL)"
    )
    return Counts(int(inserted), int(updated), int(deleted), ignored)


def _memory(
    step: Step,
    spec: ChangeSpec,
    events: str,
    facts: str,
    truncates: Truncates,
    *,
    open_only: bool,
) -> str:
    """What the rows will not say, and the memory has not got."""
    # Where later upserts of the row have altered it, its row does not say what it began with.
    altered = " OR NOT hw_last" if set(spec.values) - set(spec.tracked) else ""
    hidden = "NOT hw_follows"
    if truncates.some:
        hidden += f" OR hw_moment IN (SELECT {AT} FROM {truncates.table})"
    prefix = "x" if spec.partial else "w"
    cells = "".join(
        f", hw_{prefix}{n} AS {quote_identifier(name)}" for n, name in enumerate(spec.values)
    )
    wanted = (
        f"SELECT {listed(spec.keys)}, hw_moment AS {quote_identifier(FACT_AT)}, "
        f"CAST(CASE WHEN hw_held THEN {UPSERT} ELSE {DELETE} END AS TINYINT) "
        f"AS {quote_identifier(FACT_KIND)}{cells}, {MISSING} AS {quote_identifier(FACT_MISSING)} "
        f"FROM {events} AS e WHERE (hw_held AND ({MISSING} IS NOT NULL OR NOT hw_starts{altered})) "
        f"OR (hw_deletes AND ({hidden}))"
    )
    if step.value(f"SELECT count(*) FROM {facts}"):
        if not open_only:
            # What is remembered of a moment must stay true, also where a row says it now.
            same_moment = (
                f"{same(spec.keys, 'e', 'k')} AND hw_moment = k.{quote_identifier(FACT_AT)}"
            )
            wanted += (
                f" OR ((hw_held OR hw_deletes) AND EXISTS (SELECT 1 FROM {facts} AS k "
                f"WHERE {same_moment}))"
            )
        # What is known already of a row that holds still says more than the row.
        unlike = differs((FACT_KIND, *spec.values, FACT_MISSING), "w", "f")
        alike = "true" if open_only else f"NOT ({unlike})"
        wanted = (
            f"SELECT w.* FROM ({wanted}) AS w ANTI JOIN {facts} AS f "
            f"ON {same((*spec.keys, FACT_AT), 'w', 'f')} AND {alike}"
        )
    memory = step.table("memory", wanted)
    if truncates.some:
        step.connection.execute(
            f"INSERT INTO {memory} ({quote_identifier(FACT_AT)}, {quote_identifier(FACT_KIND)}) "
            f"SELECT {AT}, {TRUNCATE} FROM {truncates.table} WHERE fresh"
        )
    return memory
