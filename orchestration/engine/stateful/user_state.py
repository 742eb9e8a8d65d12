"""``apply_in_arrow_with_state``: a user's function for each key, with state of its own.

The state of a key is its newest row among the runs; a key that was removed leaves a row that
says so, until the oldest run is merged. Timeouts are rows of their own, which expire when they
are due, so that finding those costs what they are, not what the state is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.mapping import checked_table
from orchestration.engine.stateful.group_state import GroupState
from orchestration.engine.stateful.keyed import EXPIRY, HASH, key_hash
from orchestration.engine.stateful.partials import BATCH, SEQUENCE
from orchestration.engine.stateful.relation import Relation
from orchestration.errors import SchemaError
from orchestration.state.manifest import NEVER
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.stateful.execution import Execution
    from orchestration.streams.operators import ApplyWithState

__all__ = ["run_apply"]

_GROUP, _ROWS, _TIMED = "headwater_g", "headwater_n", "headwater_timed"
_EXISTS, _TIMEOUT = "headwater_e", "headwater_t"

_PAGE_GROUPS = 4_096  # keys looked up at once
_PAGE_ROWS = 65_536  # rows fetched at once, but for a key that has more


def run_apply(
    execution: Execution, relation: Relation, operator: ApplyWithState, lag: int
) -> Relation:
    """What the function gives for every key that has rows in this batch or a timeout due in it."""
    return _Apply(execution, relation, operator, lag).run()


@dataclass(slots=True)
class _Page:
    """What some calls made."""

    groups: list[int] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    exist: list[bool] = field(default_factory=list)
    timeouts: list[int | None] = field(default_factory=list)
    results: list[pa.Table] = field(default_factory=list)


class _Apply:
    def __init__(
        self, execution: Execution, relation: Relation, operator: ApplyWithState, lag: int
    ) -> None:
        self._execution = execution
        self._tables = execution.tables
        self._relation = execution.ordered(relation)
        self._operator = operator
        self._name = getattr(operator.function, "__name__", "the function")
        self._dead, self._due = execution.late_us(lag), execution.closing_us(lag)
        self._full = execution.job.full is not None
        self._keys = [f"headwater_k{number}" for number in range(len(operator.keys))]
        self._values = [f"headwater_s{number}" for number in range(len(operator.state_schema))]
        columns = [*self._keys, *self._values, _EXISTS, _TIMEOUT, BATCH]
        self._state = execution.keyed(operator.id, columns, self._keys)
        self._timeouts = execution.keyed(operator.id, [*self._keys, BATCH], self._keys, "timeouts")
        self._added = self._removed = self._updated = 0

    def run(self) -> Relation:
        rows, late = self._arrived()
        arrived = self._groups_of(rows)
        numbered = self._tables.create(
            f"SELECT r.*, a.{_GROUP} FROM {rows} AS r JOIN {arrived} AS a ON {self._same('r', 'a')}"
        )
        groups = self._with_state(arrived)
        changes, results = self._called(groups, numbered)
        if not self._full:
            self._store(groups, changes)
            self._execution.finish(
                self._operator.id,
                "apply",
                [self._state, self._timeouts],
                rows=self._execution.before(self._operator.id).rows + self._added - self._removed,
                updated=self._updated,
                removed=self._removed,
                late=late,
                next_close_us=self._timeouts.earliest(self._due),
            )
        return Relation(f"SELECT * FROM {results}", self._operator.output_schema)

    # -- groups ---------------------------------------------------------------------------------------

    def _arrived(self) -> tuple[str, int]:
        """A table of the rows that are in time, with their keys, and how many are not."""
        kept = self._execution.kept(self._relation)
        names = kept.schema.names
        keys = ", ".join(
            f"CAST({quote_identifier(name)} AS {duckdb_type(kept.schema.field(name).type)}) AS {key}"
            for name, key in zip(self._operator.keys, self._keys, strict=True)
        )
        rows, late = kept.sql, 0
        # Only a key with a timeout can have come to its end before a row of it comes.
        if self._operator.timeout is not None and self._operator.event_column is not None:
            time = f"epoch_us({quote_identifier(self._operator.event_column)})"
            rows, late = self._execution.late.split(
                f"({kept.sql})", self._operator.id, names, time, self._dead
            )
        return self._tables.create(f"SELECT *, {keys} FROM ({rows})"), late

    def _groups_of(self, rows: str) -> str:
        """A table of the keys among rows, numbered by their first row."""
        keys = ", ".join(self._keys)
        return self._tables.create(
            f"SELECT {keys}, row_number() OVER (ORDER BY min({SEQUENCE})) - 1 AS {_GROUP}, "
            f"count(*) AS {_ROWS}, {key_hash(self._keys)} AS {HASH} FROM {rows} GROUP BY {keys}"
        )

    def _with_state(self, arrived: str) -> str:
        """A table of the keys to call for, those with a timeout last, and their state."""
        keys = ", ".join(f"a.{key}" for key in self._keys)
        state = ", ".join(f"s.{name}" for name in [*self._values, _EXISTS, _TIMEOUT])
        known = self._newest(arrived) or self._no_state()
        rows = (
            f"SELECT {keys}, a.{HASH}, a.{_GROUP}, a.{_ROWS}, false AS {_TIMED}, {state} "
            f"FROM {arrived} AS a LEFT JOIN ({known}) AS s ON {self._same('a', 's')}"
        )
        due = self._timeouts.live(self._dead, self._due)
        if due is not None:
            plain = ", ".join(self._keys)
            waiting = self._tables.create(
                f"SELECT DISTINCT {plain}, {HASH} FROM ({due}) AS d "
                f"ANTI JOIN {arrived} AS a ON {self._same('d', 'a')}"
            )
            count = int(self._tables.value(f"SELECT count(*) FROM {arrived}"))
            found = self._newest(waiting) or self._no_state()
            number = f"{count} + row_number() OVER (ORDER BY s.{_TIMEOUT}, {keys}) - 1"
            rows += (
                f" UNION ALL SELECT {keys}, a.{HASH}, {number}, 0, true, {state} "
                f"FROM {waiting} AS a JOIN ({found}) AS s ON {self._same('a', 's')} "
                f"WHERE s.{_TIMEOUT} < {self._due}"
            )
        return self._tables.create(rows)

    def _newest(self, table: str) -> str | None:
        """A SELECT of the states there are, at least of the keys in a table."""
        found = self._state.matching(table, self._dead)
        if found is None:
            return None
        same = self._same("o", "n")
        return self._last(f"SELECT o.* FROM ({found}) AS o SEMI JOIN {table} AS n ON {same}")

    def _last(self, rows: str) -> str:
        return (
            f"SELECT * FROM ({rows}) QUALIFY row_number() OVER "
            f"(PARTITION BY {', '.join(self._keys)} ORDER BY {BATCH} DESC) = 1"
        )

    def _no_state(self) -> str:
        kinds = [
            *(duckdb_type(self._relation.schema.field(name).type) for name in self._operator.keys),
            *(duckdb_type(item.type) for item in self._operator.state_schema),
            "BOOLEAN",
            "BIGINT",
        ]
        names = [*self._keys, *self._values, _EXISTS, _TIMEOUT]
        listed = ", ".join(
            f"CAST(NULL AS {kind}) AS {name}" for kind, name in zip(kinds, names, strict=True)
        )
        return f"SELECT {listed} WHERE false"

    def _same(self, left: str, right: str) -> str:
        return " AND ".join(
            f"{left}.{key} IS NOT DISTINCT FROM {right}.{key}" for key in self._keys
        )

    # -- calls ----------------------------------------------------------------------------------------

    def _called(self, groups: str, rows: str) -> tuple[str | None, str]:
        """Tables of what became of the states, and of what the function gave."""
        results = self._tables.create(_empty(self._operator.output_schema))
        changes: str | None = None
        for known, page_rows in self._pages(groups, rows):
            page = self._call(known, page_rows)
            given = [table for table in page.results if table.num_rows]
            if given:
                self._insert(results, pa.concat_tables(given))
            if page.groups and not self._full:
                made = self._changes(page)
                if changes is None:
                    changes = self._tables.create(_empty(made.schema))
                self._insert(changes, made)
        return changes, results

    def _pages(self, groups: str, rows: str) -> Iterator[tuple[list[dict[str, Any]], pa.Table]]:
        """Keys with their states, and their rows one after the other."""
        schema = self._relation.schema
        listed = ", ".join(map(quote_identifier, schema.names))
        count = int(self._tables.value(f"SELECT count(*) FROM {groups}"))
        for first in range(0, count, _PAGE_GROUPS):
            last = first + _PAGE_GROUPS
            # One dict a key, not a row: the function is called with Python values of the key.
            known = self._arrow(
                f"SELECT * FROM {groups} WHERE {_GROUP} >= {first} AND {_GROUP} < {last} "
                f"ORDER BY {_GROUP}"
            ).to_pylist()
            for part in _cut(known):
                found = self._arrow(
                    f"SELECT {listed} FROM {rows} WHERE {_GROUP} >= {part[0][_GROUP]} "
                    f"AND {_GROUP} <= {part[-1][_GROUP]} ORDER BY {_GROUP}, {SEQUENCE}"
                )
                yield part, found if found.schema.equals(schema) else found.cast(schema)

    def _call(self, groups: list[dict[str, Any]], rows: pa.Table) -> _Page:
        page, place = _Page(), 0
        for group in groups:
            count = int(group[_ROWS])
            given = rows.slice(place, count)
            place += count
            key = {
                name: group[of] for name, of in zip(self._operator.keys, self._keys, strict=True)
            }
            value = None
            if group[_EXISTS]:
                names = self._operator.state_schema.names
                value = {name: group[of] for name, of in zip(names, self._values, strict=True)}
            watermark = 0 if self._full else self._due
            state = self._once(key, given, value, watermark, page, timed_out=bool(group[_TIMED]))
            changed = state.changed
            while self._full and state.timeout_us is not None and state.timeout_us < self._due:
                empty = rows.slice(0, 0)
                state = self._once(key, empty, state.get(), self._due, page, timed_out=True)
            if changed or state.timeout_us != group[_TIMEOUT]:
                self._note(group, state, page)
        return page

    def _once(
        self,
        key: dict[str, Any],
        rows: pa.Table,
        value: dict[str, Any] | None,
        watermark_us: int,
        page: _Page,
        *,
        timed_out: bool,
    ) -> GroupState:
        state = GroupState(
            self._operator.state_schema.names,
            value,
            watermark_us=watermark_us,
            timed_out=timed_out,
            timeouts=self._operator.timeout is not None,
        )
        result = self._operator.function(key, rows, state)
        if result is not None:
            who = f"apply_in_arrow_with_state: {self._name}"
            page.results.append(checked_table(result, self._operator.output_schema, who))
        return state

    def _note(self, group: dict[str, Any], state: GroupState, page: _Page) -> None:
        before = bool(group[_EXISTS]) or group[_TIMEOUT] is not None
        after = state.exists or state.timeout_us is not None
        if not before and not after:
            return
        self._added += after and not before
        self._removed += before and not after
        self._updated += after
        page.groups.append(int(group[_GROUP]))
        page.states.append(state.get() or {})
        page.exist.append(state.exists)
        page.timeouts.append(state.timeout_us)

    # -- state ----------------------------------------------------------------------------------------

    def _changes(self, page: _Page) -> pa.Table:
        schema = self._operator.state_schema
        try:
            states = [
                _column([state.get(item.name) for state in page.states], item.type)
                for item in schema
            ]
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise SchemaError(
                f"apply_in_arrow_with_state: {self._name} keeps what its state_schema "
                f"({', '.join(f'{item.name} {item.type}' for item in schema)}) cannot hold: {error}",
                remedy="declare the types of what it keeps, or convert it in the function",
            ) from None
        columns: list[Any] = [
            pa.array(page.groups, pa.int64()),
            *states,
            pa.array(page.exist, pa.bool_()),
            pa.array(page.timeouts, pa.int64()),
        ]
        return pa.table(columns, names=[_GROUP, *self._values, _EXISTS, _TIMEOUT])

    def _store(self, groups: str, changes: str | None) -> None:
        if changes is not None:
            keys = ", ".join(f"g.{key}" for key in self._keys)
            batch = f"CAST({self._execution.job.batch_id} AS BIGINT) AS {BATCH}"
            joined = f"FROM {changes} AS c JOIN {groups} AS g USING ({_GROUP})"
            values = ", ".join(f"c.{name}" for name in [*self._values, _EXISTS, _TIMEOUT])
            self._state.add(
                f"(SELECT {keys}, {values}, {batch}, {NEVER} AS {EXPIRY}, g.{HASH} {joined})"
            )
            # Due once the watermark is later than it: strictly, as in Spark.
            self._timeouts.add(
                f"(SELECT {keys}, {batch}, c.{_TIMEOUT} + 1 AS {EXPIRY}, g.{HASH} {joined} "
                f"WHERE c.{_TIMEOUT} IS NOT NULL)"
            )
        self._state.merge(self._due, self._merged)
        self._timeouts.merge(self._due, lambda rows: rows)

    def _merged(self, rows: str) -> str:
        """The newest row of every key; with the oldest run among them, no traces of removed keys."""
        last = self._last(rows)
        if not self._state.merges_oldest:
            return last
        return f"SELECT * FROM ({last}) WHERE {_EXISTS} OR {_TIMEOUT} IS NOT NULL"

    # -- Arrow ----------------------------------------------------------------------------------------

    def _arrow(self, query: str) -> pa.Table:
        found: pa.Table = self._tables.connection.sql(query).to_arrow_table()
        return found

    def _insert(self, target: str, rows: pa.Table) -> None:
        """Add Arrow rows to a scratch table, and let go of them."""
        name = self._tables.reserve()
        self._tables.connection.register(name, rows)
        try:
            self._tables.connection.execute(f"INSERT INTO {target} SELECT * FROM {name}")
        finally:
            self._tables.connection.unregister(name)


def _cut(groups: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Runs of groups with a bounded number of rows together; a larger group is one of its own."""
    cuts, rows = [0], 0
    for place, group in enumerate(groups):
        if rows and rows + group[_ROWS] > _PAGE_ROWS:
            cuts.append(place)
            rows = 0
        rows += group[_ROWS]
    for first, last in pairwise([*cuts, len(groups)]):
        yield groups[first:last]


def _column(values: list[Any], kind: Any) -> Any:
    """Values as an Arrow column.

    Raises:
        ValueError: One does not fit: Arrow would cut 5.7 to an integer, and take a time without
            a zone as UTC.
        pyarrow.ArrowException, TypeError, OverflowError: Likewise.
    """
    made = pa.array(values, kind)
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        for given, kept in zip(values, made.to_pylist(), strict=True):
            if given != kept:
                raise ValueError(f"{given!r} is no {kind}")
    return made


def _empty(schema: pa.Schema) -> str:
    listed = ", ".join(
        f"CAST(NULL AS {duckdb_type(item.type)}) AS {quote_identifier(item.name)}"
        for item in schema
    )
    return f"SELECT {listed} WHERE false"
