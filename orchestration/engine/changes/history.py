"""A table of what was: the history of the batch's keys, made anew from all that is known of them.

What is known of a key are its rows, what the memory has of it, and the changes. They are put in
the order of their sequences, the rows follow from that, and those that differ from the table's
are replaced. Where all that the batch brings is newer than all that is known, only the rows that
hold still are looked at.

A row of the table says that its first change happened, and its end that the row was deleted where
no other row begins there. What rows do not say is remembered: changes that began no row, what a
later change altered in a row, which cells a change did not give, deletes where there was nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.changes.appending import append_history
from orchestration.engine.changes.base import (
    AT,
    DELETE,
    HIGHEST,
    MISSING,
    OP,
    TRUNCATE,
    UPSERT,
    Applied,
)
from orchestration.engine.changes.events import events
from orchestration.engine.changes.history_diff import difference
from orchestration.engine.changes.shapes import FACT_AT, FACT_KIND, FACT_MISSING
from orchestration.engine.changes.sql import listed, same
from orchestration.engine.changes.truncates import Truncates, truncates
from orchestration.streams.change_spec import END_AT, START_AT
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.engine.changes.base import Changes
    from orchestration.engine.changes.sql import Step
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["apply_history"]

_START, _END = quote_identifier(START_AT), quote_identifier(END_AT)
_AT, _KIND = quote_identifier(FACT_AT), quote_identifier(FACT_KIND)
_MISSING = quote_identifier(FACT_MISSING)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the batch's keys before it.

    Attributes:
        rows: Table with their rows.
        facts: Table with what the memory has of them.
    """

    rows: str
    facts: str


def apply_history(
    step: Step,
    spec: ChangeSpec,
    changes: Changes,
    current: str,
    memory: str,
    carry: Sequence[str],
) -> Applied:
    """Put the batch into the table."""
    known_truncates = truncates(step, spec, changes, memory, FACT_AT)
    known = _known(step, spec, changes, current, memory, carry)
    newer = _is_newer(step, changes, known_truncates, known)
    if newer and not known_truncates.some:
        appended = append_history(step, spec, changes, known.rows, known.facts, carry)
        if appended is not None:
            return appended
    facts = _facts(spec, changes, known_truncates, known, newer=newer)
    made = events(step, spec, facts, known_truncates)
    ignored = 0 if newer else _ignored(step, spec, changes, known)
    return difference(
        step,
        spec,
        made,
        rows=known.rows,
        facts=known.facts,
        truncates=known_truncates,
        carry=carry,
        open_only=newer,
        ignored=ignored,
    )


def _known(
    step: Step,
    spec: ChangeSpec,
    changes: Changes,
    current: str,
    memory: str,
    carry: Sequence[str],
) -> _Known:
    first = quote_identifier(spec.keys[0])
    among = ""
    if not changes.whole:
        wanted = f"(SELECT {listed(spec.keys)} FROM {changes.keys} WHERE {HIGHEST} IS NOT NULL)"
        among = f" SEMI JOIN {wanted} AS k ON {same(spec.keys, 'x', 'k')}"
    columns = listed((*spec.columns, START_AT, END_AT, *carry), "x")
    rows = step.table("rows", f"SELECT {columns} FROM {current} AS x{among}")
    names = listed((*spec.keys, FACT_AT, FACT_KIND, *spec.values, FACT_MISSING), "x")
    facts = step.table(
        "facts", f"SELECT {names} FROM {memory} AS x{among} WHERE x.{first} IS NOT NULL"
    )
    return _Known(rows, facts)


def _is_newer(step: Step, changes: Changes, known_truncates: Truncates, known: _Known) -> bool:
    """Whether all of the batch comes after all that is known of its keys."""
    last = (
        f"SELECT max({_START}) AS at FROM {known.rows} UNION ALL "
        f"SELECT max({_END}) FROM {known.rows} UNION ALL SELECT max({_AT}) FROM {known.facts}"
    )
    if known_truncates.some:
        last += f" UNION ALL SELECT max({AT}) FROM {known_truncates.table} WHERE NOT fresh"
    return bool(
        step.value(
            f"SELECT coalesce((SELECT min({AT}) FROM {changes.table}) > "
            f'(SELECT max(l."at") FROM ({last}) AS l), true)'
        )
    )


def _facts(
    spec: ChangeSpec,
    changes: Changes,
    known_truncates: Truncates,
    known: _Known,
    *,
    newer: bool,
) -> str:
    """A SELECT of all that is known of the keys, the batch included, in no order."""
    keys = listed(spec.keys)
    missing = MISSING if spec.partial else "CAST(NULL AS VARCHAR[])"
    # What a delete tells of its row is not kept.
    values = "".join(
        f"CASE WHEN {OP} = {UPSERT} THEN {column} END AS {column}, "
        for column in map(quote_identifier, spec.values)
    )
    given = (
        f"SELECT {listed(spec.keys)}, {values}{AT}, {OP}, {missing} AS {MISSING} "
        f"FROM {changes.table} WHERE {OP} <> {TRUNCATE}"
    )
    pieces = [given]
    own = f"r.{_START} AS {AT}, CAST({UPSERT} AS TINYINT) AS {OP}, NULL AS {MISSING}"
    rows = f"SELECT {listed((*spec.keys, *spec.values), 'r')}, {own} FROM {known.rows} AS r"
    if newer:
        pieces.append(f"{rows} WHERE r.{_END} IS NULL")
    else:
        pieces.append(
            f"SELECT {listed((*spec.keys, *spec.values))}, {_AT}, {_KIND}, {_MISSING} "
            f"FROM {known.facts}"
        )
        pieces.append(
            f"{rows} ANTI JOIN {known.facts} AS f ON {same(spec.keys, 'r', 'f')} "
            f"AND r.{_START} = f.{_AT}"
        )
        pieces.append(_ends(spec, known, known_truncates))
    if known_truncates.some:
        everyone = f"SELECT {keys} FROM {changes.keys} WHERE {HIGHEST} IS NOT NULL"
        if changes.whole:
            everyone += f" UNION SELECT {keys} FROM {known.rows}"
            everyone += f" UNION SELECT {keys} FROM {known.facts}"
        pieces.append(
            f"SELECT {listed(spec.keys, 'k')}, {_nothing(spec)}t.{AT}, "
            f"CAST({TRUNCATE} AS TINYINT), NULL FROM ({everyone}) AS k, {known_truncates.table} "
            f"AS t{' WHERE t.fresh' if newer else ''}"
        )
    return " UNION ALL ".join(pieces)


def _ends(spec: ChangeSpec, known: _Known, known_truncates: Truncates) -> str:
    """Deletes that rows show: the end of a row where no other one starts."""
    query = (
        f"SELECT {listed(spec.keys, 'r')}, {_nothing(spec)}r.{_END}, CAST({DELETE} AS TINYINT), "
        f"NULL FROM {known.rows} AS r ANTI JOIN {known.rows} AS s "
        f"ON {same(spec.keys, 'r', 's')} AND r.{_END} = s.{_START} WHERE r.{_END} IS NOT NULL"
    )
    if known_truncates.some:
        # Where a truncate was known, a delete of the key at that moment is remembered.
        query += f" AND r.{_END} NOT IN (SELECT {AT} FROM {known_truncates.table} WHERE NOT fresh)"
    return query


def _nothing(spec: ChangeSpec) -> str:
    return "NULL, " * len(spec.values)


def _ignored(step: Step, spec: ChangeSpec, changes: Changes, known: _Known) -> int:
    """Changes that were known before the batch."""
    keys = listed(spec.keys)
    before = (
        f"SELECT {keys}, {_START} AS x FROM {known.rows} UNION "
        f"SELECT {keys}, {_END} FROM {known.rows} UNION SELECT {keys}, {_AT} FROM {known.facts}"
    )
    return int(
        step.value(
            f"SELECT count(*) FROM {changes.table} AS c SEMI JOIN ({before}) AS b "
            f"ON {same(spec.keys, 'c', 'b')} AND c.{AT} = b.x WHERE c.{OP} <> {TRUNCATE}"
        )
    )
