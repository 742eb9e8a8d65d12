"""Ordinary lines read many at a time by DuckDB; the others are left to the exact path.

Lines that carry their schema all begin with the same bytes: what it says is read once, and of
each line only the payload behind it is parsed.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.engine.cdc.connect import row_encodings
from orchestration.engine.cdc.debezium import payload_start
from orchestration.engine.cdc.fast_sql import (
    GOOD,
    KEEP,
    LINES,
    PLACE,
    debezium_head,
    maxwell_head,
    statement,
)
from orchestration.engine.cdc.prepared import Prepared
from orchestration.engine.coercions import BadValue

if TYPE_CHECKING:
    from orchestration.engine.cdc.chunk import Bools, Ints, Lines
    from orchestration.engine.cdc.rows import Part
    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["FastLines", "has_fast_path"]

_FEW = 24  # lines: below, a statement costs more than reading them one by one
_MOST = 16  # schemas of records kept
_TRIES = 4  # lines looked at for a new one
_HEAD = b'{"schema":'


@dataclass(frozen=True, slots=True)
class _Kind:
    """Records that are written alike.

    Attributes:
        head: Bytes that each line begins with, before its payload; empty without a schema.
        sql: The statement that reads them.
    """

    head: bytes
    sql: str


def has_fast_path(changes: ChangeFormat) -> bool:
    """Whether lines of a shape are ever read many at a time."""
    return changes.shape == "maxwell" or (changes.shape == "debezium" and not changes.unwrapped)


class FastLines:
    """Reads chunks; may be used from several threads.

    Args:
        declared: The declared columns.
        changes: Options; :func:`has_fast_path`.
        timezone: What times without a zone mean.
    """

    def __init__(self, declared: pa.Schema, changes: ChangeFormat, timezone: str | None) -> None:
        self._declared = declared
        self._changes = changes
        self._timezone = timezone
        self._shape = debezium_head(changes) if changes.shape == "debezium" else maxwell_head()
        self._kinds: tuple[_Kind, ...] = ()
        self._plain: _Kind | None = None
        self._misses = 0
        self._lock = threading.Lock()
        self._prepared = Prepared(LINES)

    def read(self, lines: Lines) -> tuple[list[Part], Bools]:
        """Rows of the lines that it takes, and which these are."""
        taken: Bools = np.zeros(lines.count, dtype=bool)
        open_ = lines.open
        parts: list[Part] = []
        with_schema = lines.starting(_HEAD) if self._changes.shape == "debezium" else taken.copy()
        wanted = open_ & ~with_schema
        if np.count_nonzero(wanted) >= _FEW:
            kind = self._without_schema(lines, np.flatnonzero(wanted))
            parts += self._run(kind, lines, np.flatnonzero(wanted), taken)
        left = open_ & with_schema & lines.closed()
        done: set[bytes] = set()
        while np.count_nonzero(left) >= _FEW:
            for kind in self._kinds:
                if kind.head in done:
                    continue
                done.add(kind.head)
                places = np.flatnonzero(left & lines.starting(kind.head))
                if len(places):
                    parts += self._run(kind, lines, places, taken)
                    left[places] = False
            if np.count_nonzero(left) < _FEW or not self._learn(lines, np.flatnonzero(left), done):
                break
        return parts, taken

    def _run(self, kind: _Kind, lines: Lines, places: Ints, taken: Bools) -> list[Part]:
        texts = lines.texts(places, len(kind.head), 1 if kind.head else 0)
        given = pa.table({PLACE: pa.array(places, pa.int64()), "line": texts})
        found = self._prepared.run(kind.sql, given)
        if found is None:
            return []
        good = _one(found[GOOD])
        if good.true_count < len(good):
            found = found.filter(good)
        taken[found[PLACE].to_numpy()] = True
        keep = _one(found[KEEP])
        if keep.true_count < len(keep):
            found = found.filter(keep)
        if not found.num_rows:
            return []
        numbers = found[PLACE].to_numpy() + 1
        columns = [_one(column) for column in found.columns[1:-2]]
        return [(columns, numbers)]

    # -- kinds of records -------------------------------------------------------------------------

    def _without_schema(self, lines: Lines, places: Ints) -> _Kind:
        kind = self._plain
        if kind is None:
            members: list[str] = []
            for place in places[:: max(1, len(places) // _TRIES)][:_TRIES]:
                members = members or _members(lines.raw(int(place)), self._changes.shape)
            # Two threads may both make one: the statements differ in speed at most.
            kind = self._plain = _Kind(b"", self._statement(None, members))
        return kind

    def _learn(self, lines: Lines, left: Ints, done: set[bytes]) -> bool:
        """Add the kind of one of the lines that are left; false where none has a new one."""
        if not done.issuperset(kind.head for kind in self._kinds):
            return True  # another thread has just added one
        if len(self._kinds) >= _MOST or self._misses > _MOST:
            return False
        for place in left[:: max(1, len(left) // _TRIES)][:_TRIES]:
            raw = lines.raw(int(place))
            text = raw.decode()
            start = payload_start(text)
            if start is None:
                continue
            try:
                encodings = row_encodings(json.loads(text)["schema"], unwrapped=False)
            except (ValueError, BadValue, RecursionError):
                continue
            head = text[:start].encode()
            members = _members(raw[len(head) : -1], self._changes.shape)
            with self._lock:
                if all(kind.head != head for kind in self._kinds):
                    sql = self._statement(encodings, members)
                    self._kinds = (*self._kinds, _Kind(head, sql))
            return True
        with self._lock:
            self._misses += 1
        return False

    def _statement(self, encodings: dict[str, str] | None, members: list[str]) -> str:
        return statement(
            self._shape, self._declared, encodings, self._changes, self._timezone, members
        )


def _members(line: bytes, shape: str) -> list[str]:
    """Names in the row of a record, in order; empty where it is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return []
    if not isinstance(record, dict):
        return []
    names = ("data",) if shape == "maxwell" else ("after", "before")
    row: dict[str, Any] = next(
        (record[name] for name in names if isinstance(record.get(name), dict)), {}
    )
    return list(row)


def _one(column: Any) -> Any:
    """A column as one array."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    return array
