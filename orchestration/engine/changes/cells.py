"""A table of what is, where the cells of a row may be of different changes.

Of each cell the newest change that gave it is found, among the batch's and what the row is made
of. Which sequence each cell of a row has, the memory knows where it is not the row's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.changes.base import (
    AT,
    DELETE,
    HIGHEST,
    MISSING,
    OP,
    TRUNCATE,
    UPSERT,
    Applied,
    Counts,
)
from orchestration.engine.changes.shapes import CELLS, DELETED, UPSERTED
from orchestration.engine.changes.sql import listed, same
from orchestration.engine.changes.truncates import truncates
from orchestration.streams.change_spec import SEQUENCE
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.engine.changes.base import Changes
    from orchestration.engine.changes.sql import Step
    from orchestration.engine.changes.truncates import Truncates
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["apply_cells"]


@dataclass(frozen=True, slots=True)
class _Job:
    step: Step
    spec: ChangeSpec
    changes: Changes
    truncates: Truncates
    carry: tuple[str, ...]

    @property
    def numbered(self) -> list[tuple[int, str]]:
        """The columns that are not of the key, numbered."""
        return list(enumerate(self.spec.values))

    def live(self, sequence: str, deleted: str) -> str:
        """That no delete took away what a sequence gave; a flag takes nothing away."""
        if self.spec.soft_delete is not None:
            return f"{sequence} IS NOT NULL"
        newer = f"coalesce({sequence} > {deleted}, {sequence} IS NOT NULL)"
        if self.truncates.some:
            newer += f" AND {sequence} >= {self.truncates.newest}"
        return newer


def apply_cells(
    step: Step,
    spec: ChangeSpec,
    changes: Changes,
    current: str,
    memory: str,
    carry: Sequence[str],
) -> Applied:
    """Put the batch into the table."""
    known = truncates(step, spec, changes, memory, DELETED)
    job = _Job(step, spec, changes, known, tuple(carry))
    before = _before(job, current, memory)
    given = _given(job, before)
    after = _after(job, before, given)
    return _applied(job, after)


def _before(job: _Job, current: str, memory: str) -> str:
    """What table and memory have of each key, and the key's newest delete (``gone``)."""
    spec, keys = job.spec, listed(job.spec.keys)
    wanted = f"SELECT {keys} FROM {job.changes.keys} WHERE {HIGHEST} IS NOT NULL"
    if job.changes.whole:
        first = quote_identifier(spec.keys[0])
        wanted = (
            f"{wanted} UNION SELECT {keys} FROM {current} "
            f"UNION SELECT {keys} FROM {memory} WHERE {first} IS NOT NULL"
        )
    deletes = (
        f"SELECT {keys}, max({AT}) AS hw_gone FROM {job.changes.table} WHERE {OP} = {DELETE} "
        f"GROUP BY {keys}"
    )
    row = [f"t.{quote_identifier(name)} AS hw_v{number}" for number, name in job.numbered]
    row += [
        f"t.{quote_identifier(SEQUENCE)} AS hw_known",
        f"m.{quote_identifier(DELETED)} AS hw_was_gone",
    ]
    row.append(f"greatest(d.hw_gone, m.{quote_identifier(DELETED)}) AS hw_gone")
    row += [f"t.{quote_identifier(name)} AS hw_c{number}" for number, name in enumerate(job.carry)]
    upserted = f"t.{quote_identifier(SEQUENCE)}"
    if spec.soft_delete is not None:
        stored = f"m.{quote_identifier(UPSERTED)}"
        row += [
            f"{stored} AS hw_was_upserted",
            f"t.{quote_identifier(spec.soft_delete)} AS hw_was_flag",
        ]
        upserted = f"coalesce({stored}, {upserted})"
    row.append(f"{upserted} AS hw_upserted")
    if spec.values:
        row.append(f"m.{quote_identifier(CELLS)} AS hw_was_cells")
    return job.step.table(
        "before",
        f"SELECT {listed(spec.keys, 'k')}, {', '.join(row)} FROM ({wanted}) AS k "
        f"LEFT JOIN {current} AS t ON {same(spec.keys, 'k', 't')} "
        f"LEFT JOIN {memory} AS m ON {same(spec.keys, 'k', 'm')} "
        f"LEFT JOIN ({deletes}) AS d ON {same(spec.keys, 'k', 'd')}",
    )


def _given(job: _Job, before: str) -> str:
    """What the batch's upserts give: the newest sequence, and each cell with its sequence."""
    spec, parts = job.spec, [f"max(c.{AT}) AS hw_upserted"]
    for number, name in job.numbered:
        given = ""
        if spec.partial:
            given = (
                f" FILTER (c.{MISSING} IS NULL "
                f"OR NOT list_contains(c.{MISSING}, {quote_literal(name)}))"
            )
        cell = _cell(f"c.{AT}", f"c.{quote_identifier(name)}")
        parts.append(f"max({cell}){given} AS hw_x{number}")
    return job.step.table(
        "given",
        f"SELECT {listed(spec.keys, 'c')}, {', '.join(parts)} "
        f"FROM {job.changes.table} AS c JOIN {before} AS b ON {same(spec.keys, 'c', 'b')} "
        f"WHERE c.{OP} = {UPSERT} AND {job.live(f'c.{AT}', 'b.hw_gone')} "
        f"GROUP BY {listed(spec.keys, 'c')}",
    )


def _cell(sequence: str, value: str) -> str:
    """A cell that is the greater the newer it is; of one sequence, by its value, null lowest."""
    return f"struct_pack(s := {sequence}, n := {value} IS NOT NULL, v := {value})"


def _after(job: _Job, before: str, given: str) -> str:
    """What there is of each key afterwards, beside what there was."""
    spec = job.spec
    old = job.live("b.hw_upserted", "b.hw_gone")
    parts = [f"greatest(g.hw_upserted, CASE WHEN {old} THEN b.hw_upserted END) AS hw_now_upserted"]
    for number, name in job.numbered:
        stored = f"struct_extract(b.hw_was_cells, {quote_literal(name)})"
        sequence = f"CASE WHEN b.hw_was_cells IS NULL THEN b.hw_upserted ELSE {stored} END"
        had = f"CASE WHEN {job.live(f'({sequence})', 'b.hw_gone')} THEN {_cell(sequence, f'b.hw_v{number}')} END"
        parts.append(
            f"CASE WHEN g.hw_x{number} IS NULL OR ({had}) >= g.hw_x{number} THEN ({had}) "
            f"ELSE g.hw_x{number} END AS hw_y{number}"
        )
    inner = (
        f"SELECT b.*, {', '.join(parts)} FROM {before} AS b "
        f"LEFT JOIN {given} AS g ON {same(spec.keys, 'b', 'g')}"
    )
    newest = "hw_now_upserted"
    more = []
    if spec.soft_delete is not None:
        floor = job.truncates.newest
        newest = f"greatest(hw_now_upserted, hw_gone, {floor})"
        more.append(
            f"coalesce(hw_gone >= hw_now_upserted, false) OR coalesce({floor} > hw_now_upserted, false) AS hw_now_flag"
        )
    more.append(f"CASE WHEN hw_now_upserted IS NOT NULL THEN {newest} END AS hw_now_known")
    inner = f"SELECT *, {', '.join(more)} FROM ({inner})"
    remembered = []
    if spec.soft_delete is not None:
        remembered.append(
            "CASE WHEN hw_now_upserted IS DISTINCT FROM hw_now_known THEN hw_now_upserted END "
            "AS hw_keep_upserted"
        )
    apart = "false"
    if spec.values:
        apart = " OR ".join(f"hw_y{n}.s IS DISTINCT FROM hw_now_upserted" for n, _ in job.numbered)
        cells = ", ".join(f"{quote_identifier(name)} := hw_y{n}.s" for n, name in job.numbered)
        remembered.append(
            f"CASE WHEN hw_now_upserted IS NOT NULL AND ({apart}) THEN struct_pack({cells}) END "
            "AS hw_keep_cells"
        )
    # A delete says nothing more where a truncate, or all that is known of the row, is newer.
    kept = f"(hw_now_upserted IS NULL OR hw_gone >= hw_now_upserted OR {apart})"
    if job.truncates.some:
        kept += f" AND hw_gone >= {job.truncates.newest}"
    remembered.append(f"CASE WHEN {kept} THEN hw_gone END AS hw_keep_gone")
    changed = ["hw_now_known IS DISTINCT FROM hw_known"]
    changed += [f"hw_y{number}.v IS DISTINCT FROM hw_v{number}" for number, _ in job.numbered]
    # A delete that says nothing more is true all the same: it is not forgotten by itself.
    new_memory = ["hw_keep_gone IS NOT NULL AND hw_keep_gone IS DISTINCT FROM hw_was_gone"]
    if spec.soft_delete is not None:
        changed.append("(hw_now_known IS NOT NULL AND hw_now_flag IS DISTINCT FROM hw_was_flag)")
        new_memory.append("hw_keep_upserted IS DISTINCT FROM hw_was_upserted")
    if spec.values:
        new_memory.append("hw_keep_cells IS DISTINCT FROM hw_was_cells")
    inner = f"SELECT *, {', '.join(remembered)} FROM ({inner})"
    return job.step.table(
        "after",
        f"SELECT *, {' OR '.join(changed)} AS hw_changed, {' OR '.join(new_memory)} AS hw_noted "
        f"FROM ({inner})",
    )


def _applied(job: _Job, after: str) -> Applied:
    step, spec = job.step, job.spec
    flag = spec.soft_delete
    removed = "hw_known IS NOT NULL AND hw_now_known IS NULL"
    gone = removed
    if flag is not None:
        gone = "hw_known IS NOT NULL AND hw_changed AND hw_now_flag AND NOT coalesce(hw_was_flag, false)"
    inserted, updated, deleted = step.row(
        f"SELECT count(*) FILTER (hw_known IS NULL AND hw_now_known IS NOT NULL), "
        f"count(*) FILTER (hw_known IS NOT NULL AND hw_now_known IS NOT NULL AND hw_changed AND NOT ({gone})), "
        f"count(*) FILTER ({gone}) FROM {after}"
    )
    ignored = step.value(
        f"SELECT count(*) FROM {job.changes.table} AS c SEMI JOIN "
        f"(SELECT * FROM {after} WHERE NOT hw_changed AND NOT hw_noted) AS a "
        f"ON {same(spec.keys, 'c', 'a')} WHERE c.{OP} <> {TRUNCATE}"
    )
    values = {name: f"hw_y{number}.v" for number, name in job.numbered}
    columns = [
        f"{values.get(name, quote_identifier(name))} AS {quote_identifier(name)}"
        for name in spec.columns
    ]
    if flag is not None:
        columns.append(f"hw_now_flag AS {quote_identifier(flag)}")
    columns.append(f"hw_now_known AS {quote_identifier(SEQUENCE)}")
    add = step.view(
        "add",
        f"SELECT {', '.join(columns)} FROM {after} WHERE hw_changed AND hw_now_known IS NOT NULL",
    )
    carried = "".join(f", hw_c{n} AS {quote_identifier(name)}" for n, name in enumerate(job.carry))
    remove = step.view(
        "remove",
        f"SELECT {listed(spec.keys)}{carried} FROM {after} WHERE hw_changed AND hw_known IS NOT NULL",
    )
    without = step.view("gone", f"SELECT {listed(spec.keys)} FROM {after} WHERE {removed}")
    facts = [f"hw_keep_gone AS {quote_identifier(DELETED)}"]
    if flag is not None:
        facts.append(f"hw_keep_upserted AS {quote_identifier(UPSERTED)}")
    if spec.values:
        facts.append(f"hw_keep_cells AS {quote_identifier(CELLS)}")
    remembered = step.table(
        "memory", f"SELECT {listed(spec.keys)}, {', '.join(facts)} FROM {after} WHERE hw_noted"
    )
    if job.changes.whole:
        newest, known = job.truncates.newest, job.truncates.newest_known
        step.connection.execute(
            f"INSERT INTO {remembered} ({quote_identifier(DELETED)}) "
            f"SELECT {newest} WHERE {newest} > {known} OR {known} IS NULL"
        )
    counts = Counts(int(inserted), int(updated), int(deleted), int(ignored))
    return Applied(add, remove, without, remembered, counts, tuple(step.views), tuple(step.tables))
