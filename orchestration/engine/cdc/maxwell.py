"""Maxwell's records: one row each, with what an update changed beside it."""

from __future__ import annotations

import re
from typing import Any

from orchestration.engine.cdc.positions import LAST_PLACE, binlog_number, joined
from orchestration.engine.cdc.record import (
    Change,
    Shape,
    member,
    moment,
    number,
    object_of,
    text_or_none,
    word,
)
from orchestration.engine.coercions import BadValue, shown

__all__ = ["Maxwell"]

_OPS = {
    "insert": "insert",
    "update": "update",
    "delete": "delete",
    "bootstrap-insert": "read",
}
_PASSED_OVER = {
    "bootstrap-start",
    "bootstrap-complete",
    "heartbeat",
    "table-create",
    "table-alter",
    "database-create",
    "database-alter",
}
_DROPPED = {"table-drop", "database-drop"}
_POSITION = re.compile(r"(.*\.\d{1,10}):(\d{1,19})", re.ASCII)


class Maxwell(Shape):
    """Reads records."""

    def read(self, record: Any) -> list[Change]:
        """The changes of a record; none where it is about something else.

        Raises:
            BadValue: It is no record of Maxwell's, or not one that can be put in order.
        """
        record = object_of(record)
        kind = word(record.get("type"))
        table = _table(record)
        if kind in _PASSED_OVER:
            return []
        if self._changes.table is not None and table != self._changes.table:
            dropped = kind == "database-drop" and self._changes.table.startswith(f"{table}.")
            if not dropped:
                return []
        if kind in _DROPPED:
            raise BadValue(f"{table} was dropped at the source; its rows were not deleted here")
        if kind not in _OPS:
            raise BadValue(f"{shown(record.get('type'))} is no type of Maxwell's records", "type")
        data = member(record, "data")
        if data is None or not any(name in data for name in self._columns):
            has = ", ".join(data or {})[:200]
            raise BadValue(f"data has none of the declared columns; it has {has or 'nothing'}")
        position = _position(record, kind)
        common = (moment(number(record, "ts"), 1), text_or_none(record, "xid"), table)
        old = member(record, "old") if kind == "update" else None
        changed = [name for name in self._changes.keys if old is not None and name in old]
        if not changed:
            rank = 0 if kind == "delete" else 1
            return [Change(_OPS[kind], f"{position}/{rank}", *common, data)]
        key = {name: data.get(name) for name in self._changes.keys}
        key |= {name: (old or {})[name] for name in changed}
        return [
            Change("delete", f"{position}/0", *common, key),
            Change("insert", f"{position}/1", *common, data),
        ]


def _table(record: dict[str, Any]) -> str | None:
    database, table = text_or_none(record, "database"), text_or_none(record, "table")
    return f"{database}.{table}" if database and table else table or database


def _position(record: dict[str, Any], kind: str) -> str:
    place = number(record, "xoffset")
    if place is None:
        place = LAST_PLACE if record.get("commit") is True else 0
    seconds = number(record, "ts")
    if kind == "bootstrap-insert":
        if seconds is None:
            raise BadValue("the record has no ts, so it has no place in an order")
        return joined(0, (seconds, 20), (0, 20), (0, 10))
    position = record.get("position")
    if position is not None:
        found = _POSITION.fullmatch(position) if type(position) is str else None
        if found is None:
            raise BadValue(f"{shown(position)} is no position in a binlog", "position")
        return joined(1, (binlog_number(found[1]), 10), (int(found[2]), 20), (place, 10))
    xid = number(record, "xid")
    if seconds is None or xid is None:
        raise BadValue("the record has no position, ts and xid, so it has no place in an order")
    return joined(1, (seconds, 20), (xid, 20), (place, 10))
