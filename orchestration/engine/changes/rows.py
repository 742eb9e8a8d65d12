"""A table of what is, where the newest change of a key makes all of its row.

The batch is brought down to the newest change of each key, and that is compared with the sequence
that the table's row has, or that a remembered delete had. Of the table only the keys and sequences
are read, but for rows that a different change of the same sequence meets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration.engine.changes.base import (
    AT,
    DELETE,
    HIGHEST,
    OP,
    TRUNCATE,
    UPSERT,
    Applied,
    Counts,
)
from orchestration.engine.changes.shapes import CELLS, DELETED, by_cell
from orchestration.engine.changes.sql import content, differs, listed, same
from orchestration.engine.changes.truncates import truncates
from orchestration.streams.change_spec import SEQUENCE
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.engine.changes.base import Changes
    from orchestration.engine.changes.sql import Step
    from orchestration.engine.changes.truncates import Truncates
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["apply_rows"]


def apply_rows(
    step: Step,
    spec: ChangeSpec,
    changes: Changes,
    current: str,
    memory: str,
    carry: Sequence[str],
) -> Applied | None:
    """Put the batch into the table; ``None`` where single cells have to be looked at.

    No change leaves cells as they were, and no cell of these keys is older than its row.
    """
    known = truncates(step, spec, changes, memory, DELETED)
    job = _Job(step, spec, changes, changes.table, current, memory, known)
    seen = _seen(job, carry)
    if step.value(f"SELECT count(hw_mine) FROM {seen}") > changes.distinct:
        # Changes of a key that have the same sequence.
        if by_cell(spec) and _unlike(job, seen):
            return None
        job = replace(job, source=_single(job, seen), unique=True)
        step.drop(seen)
        seen = _seen(job, carry)
    ties = _ties(job, seen)
    if ties is None:
        return None
    return _applied(job, seen, carry, ties)


@dataclass(frozen=True, slots=True)
class _Job:
    step: Step
    spec: ChangeSpec
    changes: Changes
    source: str
    current: str
    memory: str
    truncates: Truncates
    unique: bool = False

    @property
    def newest(self) -> str:
        """A SELECT of the newest change of each key, but for its cells; more where they tie."""
        spec, changes = self.spec, self.changes
        if self.unique or (changes.rows == changes.distinct and not changes.whole):
            return f"SELECT {listed(spec.keys)}, {AT}, {OP} FROM {self.source}"
        return (
            f"SELECT {listed(spec.keys, 'c')}, c.{AT}, c.{OP} FROM {self.source} AS c "
            f"JOIN {changes.keys} AS k ON {same(spec.keys, 'c', 'k')} AND c.{AT} = k.{HIGHEST} "
            f"WHERE c.{OP} <> {TRUNCATE}"
        )


def _chosen(job: _Job, seen: str, among: str) -> str:
    """A SELECT of whole changes: those of a table whose keys and sequences are among others."""
    return (
        f"SELECT c.* FROM {job.source} AS c SEMI JOIN (SELECT * FROM {seen} WHERE {among}) AS s "
        f"ON {same(job.spec.keys, 'c', 's')} AND c.{AT} = s.{AT} WHERE c.{OP} <> {TRUNCATE}"
    )


def _single(job: _Job, seen: str) -> str:
    """A table with one change of each key: of those that tie, a delete, or the greatest."""
    keys = listed(job.spec.keys)
    order = "".join(f", {quote_identifier(name)} DESC NULLS LAST" for name in job.spec.values)
    return job.step.table(
        "single",
        f"SELECT * FROM ({_chosen(job, seen, 'hw_mine')}) "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {OP} DESC{order}) = 1",
    )


def _unlike(job: _Job, seen: str) -> bool:
    """Whether different upserts of a key have the same sequence."""
    keys, value = listed(job.spec.keys), content(job.spec.values, "c")
    return bool(
        job.step.value(
            f"SELECT count(*) FROM (SELECT 1 FROM ({_chosen(job, seen, 'hw_mine')}) AS c "
            f"GROUP BY {keys} "
            f"HAVING max({OP}) = {UPSERT} AND min({value}) IS DISTINCT FROM max({value}))"
        )
    )


def _seen(job: _Job, carry: Sequence[str]) -> str:
    """Of each key the newest change, what the table and the memory know, and who wins.

    ``hw_mine`` is null where the batch truncates, and has no change of the key; ``hw_there``: the
    table has a row; ``hw_equal``: an upsert of that row's sequence; ``hw_swept``: a truncate takes
    the row; ``hw_late``: changes of the key may be no news. What they are made of is not kept.
    """
    spec = job.spec
    keys = listed(spec.keys)
    carried = "".join(f", t.{quote_identifier(name)}" for name in carry)
    table = (
        f"SELECT {listed((*spec.keys, *carry))}, {quote_identifier(SEQUENCE)} AS hw_known "
        f"FROM {job.current}"
    )
    kind = "FULL" if job.changes.whole else "LEFT"
    named = ", ".join(
        f"coalesce(n.{column}, t.{column}) AS {column}"
        for column in map(quote_identifier, spec.keys)
    )
    query = (
        f"SELECT {named if job.changes.whole else listed(spec.keys, 'n')}, n.hw_mine, n.{AT}, "
        f"n.{OP}, t.hw_known{carried} FROM (SELECT *, true AS hw_mine FROM ({job.newest})) AS n "
        f"{kind} JOIN ({table}) AS t ON {same(spec.keys, 'n', 't')}"
    )
    gone = f"CASE WHEN false THEN n.{AT} END"
    if job.step.value(f"SELECT count(*) FROM {job.memory}"):
        remembered = f"SELECT {keys}, {quote_identifier(DELETED)} AS hw_gone FROM {job.memory}"
        query = (
            f"SELECT n.*, m.hw_gone FROM ({query}) AS n LEFT JOIN ({remembered}) AS m "
            f"ON {same(spec.keys, 'n', 'm')}"
        )
    else:
        query = f"SELECT n.*, {gone} AS hw_gone FROM ({query}) AS n"
    least = f"(SELECT min({AT}) FROM {job.changes.table} WHERE {OP} <> {TRUNCATE})"
    valid, swept = f"(hw_gone IS NULL OR {AT} > hw_gone)", "false"
    if job.truncates.some:
        valid += f" AND {AT} >= {job.truncates.newest}"
    if job.changes.whole:
        swept = f"hw_known < {job.truncates.newest}"
    newer = f"(hw_known IS NULL OR {AT} > hw_known OR ({AT} = hw_known AND {OP} = {DELETE}))"
    facts = {
        "hw_there": "hw_known IS NOT NULL",
        "hw_equal": f"{OP} = {UPSERT} AND {AT} = hw_known AND {valid}",
        "hw_swept": swept,
        "hw_late": f"{least} <= greatest(hw_known, hw_gone)",
        "hw_taken": f"{newer} AND {valid}",
    }
    told = ", ".join(f"coalesce({text}, false) AS {name}" for name, text in facts.items())
    return job.step.table(
        "seen", f"SELECT {listed((*spec.keys, *carry))}, hw_mine, {AT}, {OP}, {told} FROM ({query})"
    )


def _ties(job: _Job, seen: str) -> int | None:
    """Let different upserts of the same sequence as the table's row win where they are greater.

    Returns:
        How many won; ``None`` where single cells have to be compared.
    """
    step, spec = job.step, job.spec
    if not spec.values or not step.value(f"SELECT count(*) FROM {seen} WHERE hw_equal"):
        return 0
    compared = "n", "t"
    condition = (
        differs(spec.values, *compared)
        if by_cell(spec)
        else " > ".join(content(spec.values, relation) for relation in compared)
    )
    winners = step.table(
        "winners",
        f"SELECT {listed(spec.keys, 'n')} FROM ({_chosen(job, seen, 'hw_equal')}) AS n "
        f"JOIN {job.current} AS t ON {same(spec.keys, *compared)} WHERE {condition}",
    )
    won = int(step.value(f"SELECT count(*) FROM {winners}"))
    if won and by_cell(spec):
        return None
    if won:
        step.connection.execute(
            f"UPDATE {seen} SET hw_taken = true FROM {winners} AS w "
            f"WHERE {same(spec.keys, seen, 'w')}"
        )
    step.drop(winners)
    return won


def _applied(job: _Job, seen: str, carry: Sequence[str], ties: int) -> Applied:
    step, spec = job.step, job.spec
    kept = f"coalesce(hw_taken AND {OP} = {UPSERT}, false)"
    taken_out = "hw_there AND (hw_taken OR hw_swept)"
    inserted, updated, deleted, refused, is_late = step.row(
        f"SELECT count(*) FILTER ({kept} AND NOT hw_there), count(*) FILTER ({kept} AND hw_there), "
        f"count(*) FILTER (NOT {kept} AND {taken_out}), "
        f"count(*) FILTER (hw_mine AND NOT hw_taken), bool_or(hw_late) FROM {seen}"
    )
    ignored = _ignored(job) - ties if is_late or job.truncates.some else 0
    every = not refused and (job.unique or job.changes.rows == job.changes.distinct)
    rows = job.source if every else f"({_chosen(job, seen, 'hw_taken')})"
    add = step.view(
        "add",
        f"SELECT {listed(spec.columns)}, {AT} AS {quote_identifier(SEQUENCE)} FROM {rows} "
        f"WHERE {OP} = {UPSERT}",
    )
    remove = step.view(
        "remove",
        f"SELECT {listed((*spec.keys, *carry))} FROM {seen} WHERE {taken_out}",
    )
    gone = step.view(
        "gone",
        f"SELECT {listed(spec.keys)} FROM {seen} WHERE NOT {kept} AND {taken_out}",
    )
    remembered = step.table(
        "tombstones",
        f"SELECT {listed(spec.keys)}, {AT} AS {quote_identifier(DELETED)} FROM {seen} "
        f"WHERE hw_taken AND {OP} = {DELETE}",
    )
    if job.changes.whole:
        _remember_truncate(job, remembered)
    if by_cell(spec) and spec.values:
        # No cell is older than its row; a subquery without rows is null, of the right type.
        nothing = f"(SELECT {quote_identifier(CELLS)} FROM {job.memory} LIMIT 0)"
        remembered = step.view(
            "memory", f"SELECT *, {nothing} AS {quote_identifier(CELLS)} FROM {remembered}"
        )
    return Applied(
        add,
        remove,
        gone,
        remembered,
        Counts(int(inserted), int(updated), int(deleted), int(ignored)),
        tuple(step.views),
        tuple(step.tables),
    )


def _remember_truncate(job: _Job, remembered: str) -> None:
    newest, known = job.truncates.newest, job.truncates.newest_known
    job.step.connection.execute(
        f"INSERT INTO {remembered} ({quote_identifier(DELETED)}) "
        f"SELECT {newest} WHERE {newest} > {known} OR {known} IS NULL"
    )


def _ignored(job: _Job) -> int:
    """Changes that are no newer than what was known before the batch."""
    keys = job.spec.keys
    older = (
        f"c.{AT} < t.hw_known OR (c.{AT} = t.hw_known AND c.{OP} = {UPSERT}) OR c.{AT} <= m.hw_gone "
        f"OR c.{AT} < {job.truncates.newest_known}"
    )
    known = f"SELECT {listed(keys)}, {quote_identifier(SEQUENCE)} AS hw_known FROM {job.current}"
    gone = f"SELECT {listed(keys)}, {quote_identifier(DELETED)} AS hw_gone FROM {job.memory}"
    among = f"SELECT {listed(keys)} FROM {job.changes.keys} WHERE {HIGHEST} IS NOT NULL"
    return int(
        job.step.value(
            f"SELECT count(*) FROM {job.changes.table} AS c "
            f"SEMI JOIN ({among}) AS k ON {same(keys, 'c', 'k')} "
            f"LEFT JOIN ({known}) AS t ON {same(keys, 'c', 't')} "
            f"LEFT JOIN ({gone}) AS m ON {same(keys, 'c', 'm')} "
            f"WHERE c.{OP} <> {TRUNCATE} AND ({older})"
        )
    )
