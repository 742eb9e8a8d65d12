"""Changes of the wire made into rows of the change log, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.sources.postgres.json_text import json_objects
from orchestration.sources.postgres.relations import Relations
from orchestration.sources.postgres.rows import CHANGE_SCHEMA, sequences
from orchestration.sources.postgres.tuples import Image, image, unchanged_names
from orchestration.sources.postgres.wire import (
    BEGIN,
    DELETE,
    EPOCH_2000,
    INSERT,
    TRUNCATE,
    UPDATE,
    Block,
    Cursor,
    RelationMessage,
    be32,
    be64,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["Decoder"]

_LIST = pa.list_(pa.string())
_NEW, _KEY, _OLD = ord("N"), ord("K"), ord("O")
_PLACES = 16  # bits for rows of one message: a truncate may name many tables


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one kind: numbers of their messages, their order within those, and what they say."""

    numbers: Any
    order: Any
    op: str
    table: str
    before: Any
    after: Any
    unchanged: Any


class Decoder:
    """Decodes blocks in order.

    Args:
        start: Transactions that end here or before are left out: they were read before.
        end: And those that end after this.
        ends: Where each transaction of all blocks ends, in order.
        known: Table number to the digest of its shape at ``start``; a change of it is a row.
        tables: The tables that are wanted; a publication may have more.
        keys: Gives a table's key columns where the wire does not say them (REPLICA IDENTITY
            FULL); none where it has no key.
        types: Gives the types of a shape's columns, as the server writes them.
    """

    def __init__(
        self,
        start: int,
        end: int,
        ends: Any,
        known: Mapping[str, str],
        *,
        tables: Collection[str],
        keys: Callable[[RelationMessage], tuple[str, ...]],
        types: Callable[[RelationMessage], tuple[str, ...]],
    ) -> None:
        self._start, self._end = start, end
        self._ends = np.append(np.asarray(ends, np.int64), 0)
        self._known = dict(known)
        self._tables = frozenset(tables)
        self._keys, self._types = keys, types
        self._relations = Relations()
        self._transaction = -1  # the one that is open
        self._begun: tuple[int, int] = (0, 0)  # its number and its time
        self._place = 0  # rows it has given so far

    def decode(self, block: Block) -> pa.RecordBatch:
        """The rows of the next block."""
        data, starts = block.bytes, block.starts
        kinds = data[starts]
        begins = kinds == BEGIN
        local = np.cumsum(begins)  # 0 is the transaction that an earlier block began
        at = starts[begins]
        times = np.append(self._begun[1], be64(data, at + 9) + EPOCH_2000)
        ids = np.append(self._begun[0], be32(data, at + 17))
        ends = self._ends[np.arange(self._transaction, self._transaction + len(at) + 1)]
        keep = ((ends > self._start) & (ends <= self._end))[local]
        found: list[_Rows] = []
        for relation, numbers in self._relations.groups(block, keep):
            if relation.table not in self._tables:
                continue
            if self._known.get(str(relation.oid)) != relation.digest:
                self._known[str(relation.oid)] = relation.digest
                found.append(self._shape(relation, numbers[:1]))
            found += self._changes(block, starts, kinds, relation, numbers)
        found += self._truncates(block, starts, np.flatnonzero((kinds == TRUNCATE) & keep))
        batch = self._assembled(found, local, times, ids, ends)
        self._transaction += len(at)
        self._begun = (int(ids[-1]), int(times[-1]))
        return batch

    def _changes(
        self, block: Block, starts: Any, kinds: Any, relation: RelationMessage, numbers: Any
    ) -> list[_Rows]:
        found: list[_Rows] = []
        count = len(relation.columns)
        kind = kinds[numbers]
        mine = numbers[kind == INSERT]
        if len(mine):
            new = image(block, starts[mine] + 6, count)
            found.append(_rows(mine, 1, "insert", relation, None, new))
        mine = numbers[kind == DELETE]
        for marker in (_KEY, _OLD):
            some = mine[block.bytes[starts[mine] + 5] == marker]
            if len(some):
                old = image(block, starts[some] + 6, count)
                found.append(_rows(some, 1, "delete", relation, _before(relation, old, marker)))
        mine = numbers[kind == UPDATE]
        for marker in (_NEW, _KEY, _OLD):
            some = mine[block.bytes[starts[mine] + 5] == marker]
            if len(some):
                found += self._updates(block, starts, relation, some, marker)
        return found

    def _updates(
        self, block: Block, starts: Any, relation: RelationMessage, numbers: Any, marker: int
    ) -> list[_Rows]:
        count = len(relation.columns)
        if marker == _NEW:
            new = image(block, starts[numbers] + 6, count)
            return [_rows(numbers, 1, "update", relation, None, new)]
        old = image(block, starts[numbers] + 6, count)
        new = image(block, old.after + 1, count)
        if marker == _OLD:
            new = new.filled(old)
        moved = new.differs(old, self._key_numbers(relation, marker))
        found: list[_Rows] = []
        if moved.any():
            gone, come = old.where(moved), new.where(moved)
            found.append(
                _rows(numbers[moved], 1, "delete", relation, _before(relation, gone, marker))
            )
            found.append(_rows(numbers[moved], 2, "insert", relation, None, come))
        if not moved.all():
            stay = ~moved
            before = _before(relation, old.where(stay), marker) if marker == _OLD else None
            found.append(_rows(numbers[stay], 1, "update", relation, before, new.where(stay)))
        return found

    def _key_numbers(self, relation: RelationMessage, marker: int) -> list[int]:
        if marker == _KEY:
            return [n for n, item in enumerate(relation.columns) if item.is_identity]
        # Without a key any column may tell rows apart, so that a row that changed is another row.
        keys = self._keys(relation) or relation.names
        return [n for n, name in enumerate(relation.names) if name in keys]

    def _shape(self, relation: RelationMessage, number: Any) -> _Rows:
        types = [pa.array([text]) for text in self._types(relation)]
        after = json_objects(relation.names, types, 1)
        nulls = pa.nulls(1, _LIST)
        return _Rows(number, 0, "schema", relation.table, None, after, nulls)

    def _truncates(self, block: Block, starts: Any, numbers: Any) -> list[_Rows]:
        found = []
        for number in numbers.tolist():
            oids = Cursor(block.data, int(starts[number]) + 1).truncated()
            for order, oid in enumerate(oids, start=1):
                table = self._relations.now[oid].table
                if table not in self._tables:
                    continue
                nulls = pa.nulls(1, _LIST)
                found.append(_Rows(np.array([number]), order, "truncate", table, None, None, nulls))
        return found

    def _assembled(
        self, found: list[_Rows], local: Any, times: Any, ids: Any, ends: Any
    ) -> pa.RecordBatch:
        """The rows in the order of the log, with what their transactions say."""
        if not found:
            # The rows that the open transaction has given are counted on.
            self._place = 0 if len(ends) > 1 else self._place
            return pa.RecordBatch.from_pylist([], schema=CHANGE_SCHEMA)
        numbers = np.concatenate([item.numbers for item in found])
        orders = np.concatenate([np.full(len(item.numbers), item.order) for item in found])
        rank = (numbers << _PLACES) | orders
        places = np.argsort(rank, kind="stable")
        sort: Any = None if bool((np.diff(rank) > 0).all()) else pa.array(places)
        transaction = local[numbers if sort is None else numbers[places]]
        first = np.flatnonzero(np.diff(transaction, prepend=-1))
        counts = np.diff(np.append(first, len(transaction)))
        within = np.arange(len(transaction)) - np.repeat(first, counts)
        within += np.where(transaction == 0, self._place, 0)
        last_is_open = int(transaction[-1]) == len(ends) - 1
        self._place = int(within[-1]) + 1 if last_is_open else 0
        moments = pa.array(times[transaction]).cast(pa.timestamp("us", "UTC"))
        columns = [
            _taken([_repeated(item.op, item) for item in found], sort),
            sequences(ends[transaction], within),
            moments,
            pa.array(ids).cast(pa.string()).take(pa.array(transaction)),
            _taken([_repeated(item.table, item) for item in found], sort),
            _taken([item.unchanged for item in found], sort),
            _taken([_text(item.before, item) for item in found], sort),
            _taken([_text(item.after, item) for item in found], sort),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=CHANGE_SCHEMA)


def _rows(
    numbers: Any,
    order: int,
    op: str,
    relation: RelationMessage,
    before: Any,
    new: Image | None = None,
) -> _Rows:
    rows = len(numbers)
    after = None if new is None else json_objects(relation.names, new.columns, rows)
    unchanged = (
        pa.nulls(rows, _LIST)
        if new is None
        else unchanged_names(relation.names, new.not_given, rows)
    )
    return _Rows(numbers, order, op, relation.table, before, after, unchanged)


def _before(relation: RelationMessage, old: Image, marker: int) -> Any:
    """The row before a change: of a key alone, its columns alone."""
    chosen = [n for n, item in enumerate(relation.columns) if marker == _OLD or item.is_identity]
    names = [relation.names[n] for n in chosen]
    return json_objects(names, [old.columns[n] for n in chosen], len(old))


def _repeated(value: str, item: _Rows) -> Any:
    return pa.repeat(value, len(item.numbers))


def _text(column: Any, item: _Rows) -> Any:
    return pa.nulls(len(item.numbers), pa.string()) if column is None else column


def _taken(parts: list[Any], sort: Any) -> Any:
    whole = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
    return whole if sort is None else whole.take(sort)
