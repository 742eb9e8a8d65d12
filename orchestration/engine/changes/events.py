"""What happened to each key, one event per sequence, and which rows of history that makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.changes.base import AT, DELETE, MISSING, OP, TRUNCATE, UPSERT
from orchestration.engine.changes.sql import content, listed
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from orchestration.engine.changes.sql import Step
    from orchestration.engine.changes.truncates import Truncates
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["events"]

_KINDS = "hw_held, hw_restarts, hw_deletes"


def events(step: Step, spec: ChangeSpec, facts: str, truncates: Truncates) -> str:
    """A table with what happened, and what came of it.

    Its columns: those of the key, ``at``; ``held``: an upsert; ``deletes``: a delete of this key;
    ``starts``: a row begins here; ``last``: the last upsert of its row; ``began`` and ``ended`` of
    that row; ``follows``: the key had a row until now; ``w0``, ``w1`` … the cells of the key then,
    where the specification is partial ``x0`` … those that the change gave, and the missing.

    Args:
        step: Makes the table.
        spec: What the changes mean.
        facts: A SELECT of what is known, in any order, some of it more than once.
        truncates: Where there are any, upserts may come at the same sequence.
    """
    collected = step.table("collected", facts)
    keys = listed(spec.keys)
    total, single = step.row(
        f"SELECT (SELECT count(*) FROM {collected}), "
        f"(SELECT count(*) FROM (SELECT DISTINCT {keys}, {AT} FROM {collected}))"
    )
    if total == single:
        one = _plain(spec, collected)
    elif spec.partial:
        one = _by_cell(spec, collected)
    else:
        one = _by_row(spec, collected)
    restarts = truncates.some and total != single and not spec.spares
    made = step.table("events", _rows(spec, one, restarts=restarts))
    step.drop(collected)
    return made


def _plain(spec: ChangeSpec, collected: str) -> str:
    """Every sequence of a key is there once."""
    cells = "".join(
        f", {quote_identifier(name)} AS hw_x{number}" for number, name in enumerate(spec.values)
    )
    return (
        f"SELECT {listed(spec.keys)}, {AT} AS hw_moment, {OP} = {UPSERT} AS hw_held, false AS hw_restarts, "
        f"{OP} = {DELETE} AS hw_deletes, {MISSING}{cells} FROM {collected}"
    )


def _flags(spec: ChangeSpec) -> str:
    deletes = f"bool_or({OP} = {DELETE})"
    upserts = f"bool_or({OP} = {UPSERT})"
    cuts = "false" if spec.spares else f"bool_or({OP} = {TRUNCATE})"
    return (
        f"{AT} AS hw_moment, {upserts} AND NOT {deletes} AS hw_held, "
        f"{upserts} AND {cuts} AND NOT {deletes} AS hw_restarts, {deletes} AS hw_deletes"
    )


def _by_row(spec: ChangeSpec, collected: str) -> str:
    """The greatest upsert of a sequence, as a whole."""
    greatest = f"max({content(spec.values, 'c')}) FILTER (c.{OP} = {UPSERT}) AS upsert"
    cells = "".join(
        f", CASE WHEN hw_held THEN (upsert).v{number} END AS hw_x{number}"
        for number in range(len(spec.values))
    )
    return (
        f"SELECT {listed(spec.keys)}, hw_moment, {_KINDS}, CAST(NULL AS VARCHAR[]) AS {MISSING}"
        f"{cells} FROM (SELECT {listed(spec.keys)}, {_flags(spec)}, {greatest} "
        f"FROM {collected} AS c GROUP BY {listed(spec.keys)}, {AT})"
    )


def _by_cell(spec: ChangeSpec, collected: str) -> str:
    """Of each cell the greatest that an upsert of a sequence gives."""
    parts, cells, missing = "", "", []
    for number, name in enumerate(spec.values):
        column = quote_identifier(name)
        parts += (
            f", max(struct_pack(n := {column} IS NOT NULL, v := {column})) FILTER ({OP} = {UPSERT} "
            f"AND {_given(name)}) AS hw_g{number}"
        )
        cells += f", CASE WHEN hw_held THEN (hw_g{number}).v END AS hw_x{number}"
        missing.append(f"CASE WHEN hw_g{number} IS NULL THEN [{quote_literal(name)}] ELSE [] END")
    names = f"list_sort({' || '.join(missing)})" if missing else "[]"
    return (
        f"SELECT {listed(spec.keys)}, hw_moment, {_KINDS}, "
        f"CASE WHEN hw_held THEN nullif({names}, CAST([] AS VARCHAR[])) END AS {MISSING}{cells} "
        f"FROM (SELECT {listed(spec.keys)}, {_flags(spec)}{parts} FROM {collected} "
        f"GROUP BY {listed(spec.keys)}, {AT})"
    )


def _given(name: str) -> str:
    return f"({MISSING} IS NULL OR NOT list_contains({MISSING}, {quote_literal(name)}))"


def _rows(spec: ChangeSpec, one: str, *, restarts: bool) -> str:
    """From one event per sequence: which rows there are, and what each event has to do with them."""
    numbered = list(enumerate(spec.values))
    order = f"(PARTITION BY {listed(spec.keys)} ORDER BY hw_moment)"
    if spec.partial:
        # A delete gives every cell anew, as null: nothing is carried over it.
        carried = "".join(
            f", (last_value(CASE WHEN NOT hw_held OR hw_restarts OR {_given(name)} "
            f"THEN struct_pack(v := hw_x{number}) END IGNORE NULLS) OVER in_time).v AS hw_w{number}"
            for number, name in numbered
        )
        one = f"SELECT *{carried} FROM ({one}) WINDOW in_time AS {order}"
    else:
        cells = "".join(f", hw_x{number} AS hw_w{number}" for number, _ in numbered)
        one = f"SELECT {listed(spec.keys)}, hw_moment, {_KINDS}, {MISSING}{cells} FROM ({one})"
    tracked = [f"hw_w{number}" for number, name in numbered if name in spec.tracked]
    changed = " OR ".join(f"{cell} IS DISTINCT FROM lag({cell}) OVER in_time" for cell in tracked)
    follows = "coalesce(lag(hw_held) OVER in_time, false)"
    reasons = ("hw_restarts" if restarts else "", f"NOT {follows}", changed)
    starts = " OR ".join(reason for reason in reasons if reason)
    flagged = (
        f"SELECT *, hw_held AND ({starts}) AS hw_starts, {follows} AS hw_follows "
        f"FROM ({one}) WINDOW in_time AS {order}"
    )
    return (
        "SELECT *, hw_held AND NOT coalesce(lead(hw_held AND NOT hw_starts) OVER in_time, false) AS hw_last, "
        "last_value(CASE WHEN hw_starts THEN hw_moment END IGNORE NULLS) OVER in_time AS hw_began, "
        f"lead(hw_moment) OVER in_time AS hw_ended FROM ({flagged}) WINDOW in_time AS {order}"
    )
