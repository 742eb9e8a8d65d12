"""Joins of two streams: each side remembers its rows for those of the other that come later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.stateful.join_sides import matching_condition, output_of
from orchestration.engine.stateful.keyed import EXPIRY, HASH
from orchestration.engine.stateful.partials import BATCH, SEQUENCE
from orchestration.engine.stateful.relation import Relation
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.join_sides import Side
    from orchestration.engine.stateful.keyed import KeyedState
    from orchestration.streams.plan import JoinRoot

__all__ = ["StreamJoin"]

#: A row's place in its batch, and whether it had a match in it: with the batch they tell a row.
_PLACE, _MET = "headwater_o", "headwater_m"
_ID = (BATCH, _PLACE)

#: Joins that must know which rows of a side had a match.
_TOLD = {"left": {"left", "full", "semi", "anti"}, "right": {"right", "full"}}

#: Joins that give rows of a side that had none, with nulls for the other's columns.
_ALONE = {"left": {"left", "full", "anti"}, "right": {"right", "full"}}


class StreamJoin:
    """One batch of a join of two streams.

    Rows of this batch meet each other and the remembered ones of the other side, so each pair
    comes once. A row is remembered until the watermark reaches its expiry: from then on the
    other side's rows that it could meet are late. Rows that never had a match come out then,
    where the join gives them. Runs are immutable, so that an old row has had its first match is
    written down beside them, as its id.

    Args:
        execution: The batch.
        root: The join.
        sides: Its sides with what they give in this batch.
    """

    def __init__(self, execution: Execution, root: JoinRoot, sides: tuple[Side, Side]) -> None:
        self._execution = execution
        self._tables = execution.tables
        self._root = root
        self._sides = sides
        self._dead = execution.late_us(sides[0].lag)
        self._due = execution.closing_us(sides[0].lag)
        self._on = matching_condition(execution, root, sides)
        self._states = {side.name: self._state(side) for side in sides}
        self._flags = {
            side.name: execution.keyed(root.id, _ID, _ID, f"{side.name}_matched")
            for side in sides
            if self._told(side)
        }
        self._fresh: dict[str, str] = {}
        self._met: dict[str, str] = {}
        self._late = 0

    def run(self) -> str:
        """Join, remember and forget; the SELECT of what is given."""
        for side in self._sides:
            self._fresh[side.name] = self._arrived(side)
        left, right = self._sides
        old: dict[str, str | None] = {
            left.name: self._remembered(left, self._fresh[right.name]),
            right.name: self._remembered(right, self._fresh[left.name]),
        }
        given = self._only_left(old) if self._root.how in {"semi", "anti"} else self._pairs(old)
        given += [self._alone(side) for side in self._sides if self._gives_alone(side)]
        self._store()
        return " UNION ALL ".join(given)

    def _told(self, side: Side) -> bool:
        return self._root.how in _TOLD[side.name]

    def _gives_alone(self, side: Side) -> bool:
        return self._root.how in _ALONE[side.name]

    # -- rows -----------------------------------------------------------------------------------------

    def _arrived(self, side: Side) -> str:
        """A SELECT of the batch's rows of a side that are in time, with all that its state keeps."""
        relation = side.relation
        listed = side.listed
        names = [*side.columns, EXPIRY, HASH]
        if self._told(side):
            batch = self._execution.job.batch_id
            listed += (
                f", CAST({batch} AS BIGINT) AS {BATCH}, row_number() OVER () AS {_PLACE}, "
                f"false AS {_MET}"
            )
            names += [*_ID, _MET]
        hidden = tuple(name for name in relation.hidden if name != SEQUENCE)
        sql = f"SELECT {', '.join([listed, *hidden])} FROM ({relation.sql})"
        fields: list[pa.Field[Any]] = [pa.field(name, pa.null()) for name in names]
        kept = self._execution.kept(Relation(sql, pa.schema(fields), hidden))
        rows, late = self._execution.late.split(
            f"({kept.sql})", side.late_id, side.schema.names, side.late_us, self._dead
        )
        self._late += late
        return rows

    def _remembered(self, side: Side, arrived: str) -> str | None:
        """A SELECT of the live rows of a side that the other's new rows may meet."""
        if not self._count(arrived):
            return None
        found = self._states[side.name].matching(f"({arrived})", self._dead)
        if found is None or not self._told(side) or self._gives_pairs:
            return found
        # Once is enough: what has had its match gives nothing more.
        return self._unmet(side, found, self._flags[side.name].matching(f"({arrived})", self._dead))

    @property
    def _gives_pairs(self) -> bool:
        return self._root.how not in {"semi", "anti"}

    def _pairs(self, old: dict[str, str | None]) -> list[str]:
        """SELECTs of the pairs; which rows they are of is noted where the join must know."""
        left, right = (self._fresh[side.name] for side in self._sides)
        output = output_of(self._root)
        told = [side for side in self._sides if self._told(side)]
        for side in told:
            marks = [*_ID, _MET, EXPIRY, HASH]
            output += "".join(f", {side.alias}.{name} AS {side.alias}_{name}" for name in marks)
        selects = [self._joined(output, _all(left, old["left"]), right)]
        if old["right"] is not None:
            selects.append(self._joined(output, left, old["right"]))
        if not told:
            return selects
        pairs = self._tables.create(" UNION ALL ".join(selects))
        for side in told:
            marks = [*_ID, _MET, EXPIRY, HASH]
            listed = ", ".join(f"{side.alias}_{name} AS {name}" for name in marks)
            self._met[side.name] = self._tables.create(f"SELECT DISTINCT {listed} FROM {pairs}")
        names = ", ".join(quote_identifier(name) for name, _ in self._root.columns)
        return [f"SELECT {names} FROM {pairs}"]

    def _only_left(self, old: dict[str, str | None]) -> list[str]:
        """Rows of the left side that have their first match: what ``semi`` gives."""
        left, right = (self._fresh[side.name] for side in self._sides)
        listed = self._listed(self._sides[0], "l")
        selects = [self._joined(listed, left, _all(right, old["right"]), "SEMI")]
        if old["left"] is not None:
            selects.append(self._joined(listed, old["left"], right, "SEMI"))
        met = self._tables.create(" UNION ALL ".join(selects))
        self._met["left"] = met
        if self._root.how == "anti":
            return []
        return [f"SELECT {output_of(self._root)} FROM {met} AS l"]

    def _joined(self, output: str, left: str, right: str, how: str = "INNER") -> str:
        return f"SELECT {output} FROM ({left}) AS l {how} JOIN ({right}) AS r ON {self._on}"

    def _alone(self, side: Side) -> str:
        """A SELECT of the rows that leave now and never had a match."""
        fresh = f"SELECT {self._listed(side)} FROM ({self._fresh[side.name]})"
        rows = f"{fresh} WHERE {EXPIRY} <= {self._due}"
        leaving = self._states[side.name].live(self._dead, self._due)
        if leaving is not None:
            flagged = self._flags[side.name].live(self._dead, self._due)
            rows += f" UNION ALL {self._unmet(side, leaving, flagged)}"
        rows = f"SELECT * FROM ({rows}) ANTI JOIN {self._met[side.name]} USING ({', '.join(_ID)})"
        left, right = self._sides
        other = right if side is left else left
        nulls = "" if self._root.how == "anti" else f", ({other.nulls()}) AS {other.alias}"
        return f"SELECT {output_of(self._root)} FROM ({rows}) AS {side.alias}{nulls}"

    def _unmet(self, side: Side, rows: str, flagged: str | None) -> str:
        """Those of remembered rows that have had no match by now."""
        found = f"SELECT {self._listed(side)} FROM ({rows}) WHERE NOT {_MET}"
        if flagged is not None:
            found += f" AND ({', '.join(_ID)}) NOT IN (SELECT ({', '.join(_ID)}) FROM ({flagged}))"
        return found

    # -- state ----------------------------------------------------------------------------------------

    def _state(self, side: Side) -> KeyedState:
        columns = list(side.columns)
        if self._told(side):
            columns += [*_ID, _MET]
        return self._execution.keyed(self._root.id, columns, side.keys, side.name)

    def _listed(self, side: Side, alias: str = "") -> str:
        names = [*side.columns, EXPIRY, HASH, *([*_ID, _MET] if self._told(side) else [])]
        prefix = f"{alias}." if alias else ""
        return ", ".join(prefix + quote_identifier(name) for name in names)

    def _store(self) -> None:
        added = removed = 0
        for side in self._sides:
            state = self._states[side.name]
            removed += state.count(self._dead, self._due)
            added += state.add(f"({self._to_remember(side)})")
            state.merge(self._due, _same)
            if self._told(side):
                self._flag(side)
        states = [*self._states.values(), *self._flags.values()]
        closes = [state.earliest(self._due) for state in self._states.values()]
        self._execution.finish(
            self._root.id,
            "join",
            states,
            rows=self._execution.before(self._root.id).rows + added - removed,
            updated=added,
            removed=removed,
            late=self._late,
            next_close_us=min((moment for moment in closes if moment is not None), default=None),
        )

    def _to_remember(self, side: Side) -> str:
        """A SELECT of the batch's rows that go into the state."""
        rows = f"SELECT * FROM ({self._fresh[side.name]}) WHERE {EXPIRY} > {self._due}"
        if not self._gives_alone(side):
            rows += f" AND {side.can_match}"
        if not self._told(side):
            return rows
        batch = self._execution.job.batch_id
        met = f"(SELECT {_PLACE} FROM {self._met[side.name]} WHERE {BATCH} = {batch})"
        if not self._gives_pairs:
            return f"{rows} AND {_PLACE} NOT IN {met}"
        return f"SELECT * REPLACE ({_PLACE} IN {met} AS {_MET}) FROM ({rows})"

    def _flag(self, side: Side) -> None:
        """Write down which remembered rows have had their first match in this batch."""
        flags = self._flags[side.name]
        batch = self._execution.job.batch_id
        listed = ", ".join([*_ID, EXPIRY, HASH])
        rows = (
            f"SELECT {listed} FROM {self._met[side.name]} "
            f"WHERE {BATCH} < {batch} AND NOT {_MET} AND {EXPIRY} > {self._due}"
        )
        table = self._tables.create(rows)
        known = flags.matching(table, self._dead) if self._count(f"FROM {table}") else None
        if known is not None:
            table = self._tables.create(
                f"SELECT * FROM {table} ANTI JOIN ({known}) USING ({', '.join(_ID)})"
            )
        flags.add(table)
        flags.merge(self._due, _same)

    def _count(self, rows: str) -> int:
        return int(self._tables.value(f"SELECT count(*) FROM ({rows})"))


def _all(fresh: str, old: str | None) -> str:
    return fresh if old is None else f"{fresh} UNION ALL BY NAME {old}"


def _same(rows: str) -> str:
    return rows
