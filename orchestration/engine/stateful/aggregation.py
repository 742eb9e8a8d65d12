"""The SQL of one grouped aggregation: a batch's rows to states, states to one, one to the result.

A group's row in the state has its keys (``headwater_k0`` …), for windows the end
(``headwater_end``, microseconds), the moment it expires (``headwater_x``), the batch, and the
columns of its aggregates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.stateful.keyed import EXPIRY, HASH, key_hash
from orchestration.engine.stateful.partials import BATCH, ORDERED, Partial, partial_of
from orchestration.state.manifest import NEVER
from orchestration.streams.aggregates import PLACEHOLDER, AggregateCall, parse_aggregate
from orchestration.streams.batch_time import bind_batch_timestamp
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import Aggregate, ExpressionKey, SessionKey, WindowKey
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pyarrow as pa

__all__ = ["END", "START", "AggregationSql", "argument_texts", "columns_of", "timestamp_of"]

#: End and start of a row's window or session, microseconds since 1970.
END, START = "headwater_end", "headwater_start"


def timestamp_of(microseconds: str) -> str:
    """SQL that makes a TIMESTAMPTZ of microseconds since 1970."""
    return f"timezone('UTC', make_timestamp({microseconds}))"


@dataclass(frozen=True, slots=True)
class _Named:
    """A column of ``agg(...)``: its expression over placeholders, and its aggregates' numbers."""

    name: str
    final: str
    numbers: tuple[int, ...]


class AggregationSql:
    """One aggregation as SQL.

    Args:
        operator: The aggregation.
        types: SQL text of each argument to its Arrow type.
        batch_id, timestamp: The batch's.
    """

    def __init__(
        self,
        operator: Aggregate,
        types: dict[str, pa.DataType],
        *,
        batch_id: int,
        timestamp: datetime,
    ) -> None:
        self.operator = operator
        self._timestamp = timestamp
        self._batch = batch_id
        self.window: WindowKey | None = None
        self.session: SessionKey | None = None
        self.keys: list[ExpressionKey] = []
        for key in operator.keys:
            if isinstance(key, WindowKey):
                self.window = key
            elif isinstance(key, SessionKey):
                self.session = key
            else:
                self.keys.append(key)
        calls, self._columns = _calls(operator)
        event = None if operator.event_column is None else quote_identifier(operator.event_column)
        self.partials: list[Partial] = [
            partial_of(
                self._bound_call(call),
                number,
                [types[text] for text in call.arguments],
                batch_id=batch_id,
                event_column=event,
                # All sessions of a key are written anew with each batch that touches one.
                arrival=BATCH if self.session is None else f"{BATCH}, {START}",
            )
            for number, call in enumerate(calls)
        ]

    # -- names --------------------------------------------------------------------------------------

    @property
    def key_columns(self) -> list[str]:
        """Columns of a group's key in the state, quoted where needed."""
        return [f"headwater_k{number}" for number in range(len(self.keys))]

    @property
    def group_columns(self) -> list[str]:
        """What tells one group of the state from another; a session's bounds do not."""
        return [*self.key_columns, *([END] if self.window is not None else [])]

    @property
    def part_columns(self) -> list[str]:
        """Columns of the aggregates' states."""
        return [column.name for partial in self.partials for column in partial.columns]

    @property
    def state_columns(self) -> list[str]:
        """All columns of the state but expiry and hash."""
        bounds = [START, END] if self.session is not None else [END] if self.window else []
        return [*self.key_columns, *bounds, BATCH, *self.part_columns]

    @property
    def batch_id(self) -> int:
        """The batch whose rows are aggregated."""
        return self._batch

    # -- steps --------------------------------------------------------------------------------------

    def expanded(self, table: str) -> str:
        """Rows with the end of their window or session, a row in several windows several times."""
        if self.window is not None:
            return self._windows(table, self.window)
        if self.session is not None:
            time, gap = self._bound(self.session.expression), self._bound(self.session.gap)
            return (
                f"SELECT * FROM (SELECT *, epoch_us({time}) AS {START}, "
                f"epoch_us(({time}) + ({gap})) AS {END} FROM {table}) "
                f"WHERE {END} > {START}"
            )
        if self.operator.event_key is not None:
            (key,) = [key for key in self.keys if key.name == self.operator.event_key]
            time = self._bound(key.expression)
            return f"SELECT *, coalesce(epoch_us({time}), {NEVER}) AS {END} FROM {table}"
        return f"SELECT *, {NEVER} AS {END} FROM {table}"

    def keyed(self, rows: str) -> str:
        """Rows with the columns of their key."""
        keys = [
            f"({self._bound(key.expression)}) AS {column}"
            for key, column in zip(self.keys, self.key_columns, strict=True)
        ]
        return f"SELECT *, {', '.join(keys)} FROM ({rows})" if keys else rows

    def made(self, rows: str, *, closing: bool, also: Sequence[str] = ()) -> str:
        """States of the groups in a SELECT of expanded rows.

        Args:
            rows: The SELECT.
            closing: Whether groups expire at their end.
            also: More columns, SQL over the rows of a group.
        """
        own = [f"{self._batch} AS {BATCH}", *self.parts_made, *also]
        if not self.operator.keys:
            # One group, which is there without any row too, as in SQL.
            listed = ", ".join([f"CAST({NEVER} AS BIGINT) AS {END}", *own])
            return self.with_expiry(f"SELECT {listed} FROM ({rows})", closing=closing)
        groups = ", ".join([*self.key_columns, END])
        # Keys are computed below the grouping: an expression may name what a column is called.
        grouped = f"SELECT {', '.join([groups, *own])} FROM ({self.keyed(rows)}) GROUP BY {groups}"
        return self.with_expiry(grouped, closing=closing)

    def merged(self, states: str) -> str:
        """States of each group, from a SELECT that may have several of one."""
        by = ", ".join([*self.group_columns, EXPIRY, HASH])
        listed = ", ".join([by, f"min({BATCH}) AS {BATCH}", *self.parts_merged])
        return f"SELECT {listed} FROM ({states}) GROUP BY {by}"

    def with_expiry(self, states: str, *, closing: bool) -> str:
        """States with the columns that every row of state has."""
        expiry = END if closing else str(NEVER)
        return (
            f"SELECT *, CAST({expiry} AS BIGINT) AS {EXPIRY}, "
            f"{key_hash(self.group_columns)} AS {HASH} FROM ({states})"
        )

    @property
    def parts_made(self) -> list[str]:
        """SQL of the aggregates' states over rows."""
        return [f"{c.made} AS {c.name}" for p in self.partials for c in p.columns]

    @property
    def parts_merged(self) -> list[str]:
        """SQL of the aggregates' states over states."""
        return [f"{c.merged} AS {c.name}" for p in self.partials for c in p.columns]

    def result(self, states: str) -> str:
        """The operator's columns, from a SELECT of merged states."""
        inner: list[str] = []
        outer: list[str] = []
        at = iter(zip(self.keys, self.key_columns, strict=True))
        for key in self.operator.keys:
            if isinstance(key, ExpressionKey):
                _, column = next(at)
                inner.append(f"{column} AS {quote_identifier(key.name)}")
                outer.append(quote_identifier(key.name))
                continue
            start = START if isinstance(key, SessionKey) else f"{END} - {key.length_us}"
            inner += [
                f"{timestamp_of(start)} AS window_start",
                f"{timestamp_of(END)} AS window_end",
            ]
            outer += ["window_start", "window_end"]
        inner += [
            f'{partial.final} AS "{PLACEHOLDER}{number}"'
            for number, partial in enumerate(self.partials)
        ]
        outer += [
            f"(\n{self._bound(column.final)}\n) AS {quote_identifier(column.name)}"
            for column in self._columns
        ]
        return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM ({states}))"

    # -- pieces -------------------------------------------------------------------------------------

    def _windows(self, table: str, window: WindowKey) -> str:
        time = self._bound(window.expression)
        length, slide, offset = window.length_us, window.slide_us, window.offset_us
        # The remainder of a negative number is negative in SQL, and windows go by the floor.
        into = f"((({START} - {offset}) % {slide}) + {slide}) % {slide}"
        rows = f"SELECT *, epoch_us({time}) AS {START} FROM {table}"
        last = f"{START} - {into} + {length}"
        count = -(-length // slide)
        if count == 1:
            return f"SELECT * EXCLUDE ({START}), {last} AS {END} FROM ({rows}) WHERE {START} IS NOT NULL"
        return (
            f"SELECT * EXCLUDE ({START}, headwater_n), {last} - headwater_n * {slide} AS {END} "
            f"FROM ({rows}) CROSS JOIN (SELECT unnest(range({count})) AS headwater_n) "
            f"WHERE {START} < {last} - headwater_n * {slide}"
        )

    def _bound(self, expression: str) -> str:
        return bind_batch_timestamp(expression, self._timestamp)

    def _bound_call(self, call: AggregateCall) -> AggregateCall:
        return AggregateCall(
            call.function,
            tuple(self._bound(text) for text in call.arguments),
            call.distinct,
            None if call.filter is None else self._bound(call.filter),
        )


def columns_of(operator: Aggregate) -> list[str]:
    """Columns of its input that an aggregation needs, as they are written."""
    texts: list[str] = []
    for key in operator.keys:
        texts.append(key.expression)
        if isinstance(key, SessionKey):
            texts.append(key.gap)
    ordered = False
    for call in _calls(operator)[0]:
        texts += [*call.arguments, *([call.filter] if call.filter else [])]
        ordered = ordered or call.function in ORDERED
    found = {name.lower(): name for text in texts for name in columns_used(text)}
    if ordered and operator.event_column is not None:
        found.setdefault(operator.event_column.lower(), operator.event_column)
    return list(found.values())


def argument_texts(operator: Aggregate) -> list[str]:
    """SQL of every aggregate's argument, each once."""
    found = dict.fromkeys(text for call in _calls(operator)[0] for text in call.arguments)
    return list(found)


def _calls(operator: Aggregate) -> tuple[list[AggregateCall], list[_Named]]:
    """All aggregates, equal ones once, and the columns over their numbers."""
    numbers: dict[AggregateCall, int] = {}
    columns: list[_Named] = []
    for name, text in operator.columns:
        found = parse_aggregate(text)
        own = [numbers.setdefault(call, len(numbers)) for call in found.calls]
        columns.append(_Named(name, _renumbered(found.final, own), tuple(own)))
    return list(numbers), columns


def _renumbered(final: str, numbers: Sequence[int]) -> str:
    return re.sub(rf'"{PLACEHOLDER}(\d+)"', lambda m: f'"{PLACEHOLDER}{numbers[int(m[1])]}"', final)
