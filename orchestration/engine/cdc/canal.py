"""Canal's flat messages: several rows in one, every value a text."""

from __future__ import annotations

from typing import Any

from orchestration.engine.cdc.positions import joined
from orchestration.engine.cdc.record import Change, Shape, moment, number, object_of, text_or_none
from orchestration.engine.coercions import BadValue, shown

__all__ = ["Canal"]

_OPS = {"INSERT": "insert", "UPDATE": "update", "DELETE": "delete", "TRUNCATE": "truncate"}
_DROPPED = {"ERASE"}


class Canal(Shape):
    """Reads messages."""

    def read(self, record: Any) -> list[Change]:
        """The changes of a message; none where it is about something else.

        Raises:
            BadValue: It is no message of Canal's, or not one that can be put in order.
        """
        record = object_of(record)
        kind = record.get("type")
        if type(kind) is not str or "database" not in record:
            raise BadValue("no message of Canal's: it lacks type and database")
        database, table = text_or_none(record, "database"), text_or_none(record, "table")
        named = f"{database}.{table}" if database and table else table
        if self._changes.table is not None and named != self._changes.table:
            return []
        if kind in _DROPPED:
            raise BadValue(f"{named} was dropped at the source; its rows were not deleted here")
        if kind not in _OPS:
            if record.get("isDdl") is True or kind.startswith("TIDB_"):
                return []
            raise BadValue(f"{shown(kind)} is no type of Canal's messages", "type")
        at, message = number(record, "es"), number(record, "id")
        if at is None or message is None:
            raise BadValue("the message has no es and id, so it has no place in an order")
        if isinstance(record.get("_tidb"), dict):
            commit = number(record["_tidb"], "commitTs", where="_tidb.")
            at, message = (at, message) if commit is None else (commit, 0)
        common = (moment(number(record, "es"), 1000), text_or_none(record, "gtid"), named)
        if kind == "TRUNCATE":
            return [
                Change("truncate", joined(1, (at, 20), (message, 20), (0, 10), last=0), *common, {})
            ]
        rows, olds = _rows(record, "data"), _rows(record, "old")
        keys = self._keys(record)
        found: list[Change] = []
        for place, row in enumerate(rows):
            if row is None or not any(name in row for name in self._columns):
                has = ", ".join(row or {})[:200]
                raise BadValue(f"data has none of the declared columns; it has {has or 'nothing'}")
            old = olds[place] if kind == "UPDATE" and place < len(olds) else None
            position = joined(1, (at, 20), (message, 20), (place, 10))
            changed = [name for name in keys if old is not None and name in old]
            # TiCDC gives the whole row before; only a key that is another was changed.
            if any((old or {})[name] != row.get(name) for name in changed):
                key = {name: row.get(name) for name in keys}
                key |= {name: (old or {})[name] for name in changed}
                found.append(Change("delete", f"{position}/0", *common, key))
                found.append(Change("insert", f"{position}/1", *common, row))
            else:
                rank = 0 if kind == "DELETE" else 1
                found.append(Change(_OPS[kind], f"{position}/{rank}", *common, row))
        return found

    def _keys(self, record: dict[str, Any]) -> list[str]:
        names = record.get("pkNames")
        if isinstance(names, list) and names and not self._changes.keys:
            return [str(name) for name in names]
        return list(self._changes.keys)


def _rows(record: dict[str, Any], name: str) -> list[dict[str, Any] | None]:
    value = record.get(name)
    if value is None and name == "old":
        return []
    if not isinstance(value, list) or not all(
        item is None or isinstance(item, dict) for item in value
    ):
        raise BadValue(f"{shown(value)} is no array of rows", name)
    return value
