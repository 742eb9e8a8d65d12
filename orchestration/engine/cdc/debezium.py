"""Debezium's events: envelope or unwrapped row, with or without schema."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from orchestration.engine.cdc.connect import row_encodings
from orchestration.engine.cdc.positions import binlog_number, joined
from orchestration.engine.cdc.record import (
    Change,
    Image,
    Shape,
    member,
    moment,
    number,
    object_of,
    text_or_none,
    word,
)
from orchestration.engine.coercions import BadValue, Number, shown

if TYPE_CHECKING:
    from datetime import datetime

    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["Debezium"]

_OPS = {"c": "insert", "u": "update", "d": "delete", "r": "read", "t": "truncate"}
_STREAMED = {"false", "incremental"}
#: Members of a record as sinks of Kafka write it: what Debezium wrote is its value.
_KAFKA = {"key", "value", "topic", "partition", "offset", "timestamp", "headers"}
_SEQUENCE = re.compile(r'\[(?:null|"(\d{1,19})"),.*\]', re.ASCII)


class Debezium(Shape):
    """Reads records."""

    def __init__(self, changes: ChangeFormat, columns: list[str]) -> None:
        super().__init__(changes, columns)
        encoded = base64.b64encode(changes.unavailable.encode()).decode()
        self._unavailable = {changes.unavailable, encoded}

    def read(self, record: Any) -> list[Change]:
        """The changes of a record; none where it is about something else.

        Raises:
            BadValue: It is no event of Debezium's, or not one that can be put in order.
        """
        if record is None:
            return []
        record = object_of(record)
        if "value" in record and record.keys() <= _KAFKA:
            value = record["value"]
            if type(value) is str:
                raise BadValue("the value is a text; expected the event itself as an object")
            return self.read(value)
        encodings: dict[str, str] = {}
        if record.keys() == {"schema", "payload"}:
            payload = record["payload"]
            if payload is None:
                return []
            if not isinstance(payload, dict):
                raise BadValue(f"{shown(payload)} is no event", "payload")
            if record["schema"] is not None and self._is_change(payload):
                encodings = row_encodings(record["schema"], unwrapped=self._changes.unwrapped)
            record = payload
        if self._changes.unwrapped:
            return self._unwrapped(record, encodings)
        return self._envelope(record, encodings)

    def _is_change(self, record: dict[str, Any]) -> bool:
        return self._changes.unwrapped or "op" in record

    # -- the envelope -----------------------------------------------------------------------------

    def _envelope(self, record: dict[str, Any], encodings: dict[str, str]) -> list[Change]:
        if "op" not in record:
            if _passed_over(record):
                return []
            raise BadValue("no event of Debezium's: it has no op")
        op = word(record["op"])
        if op == "m":
            return []
        if op not in _OPS:
            raise BadValue(
                f"{shown(record['op'])} is no operation of Debezium's (c, u, d, r, t)", "op"
            )
        source = member(record, "source")
        if source is None:
            raise BadValue("the event has no source, so it has no place in an order")
        try:
            table = _table(source)
            if self._changes.table is not None and table != self._changes.table:
                return []
            time = _time(source)
            position = self._position(source, member(record, "transaction"), op)
        except BadValue as error:
            raise error.under("source") if error.path else error from None
        transaction = _transaction(source, member(record, "transaction"))
        before, after = member(record, "before"), member(record, "after")
        found: list[Change] = []

        def add(name: str, image: Image, rank: int) -> None:
            image, unchanged = self._available(image)
            found.append(
                Change(
                    name,
                    f"{position}/{rank}",
                    time,
                    transaction,
                    table,
                    image,
                    unchanged,
                    encodings,
                )
            )

        if op == "t":
            add("truncate", {}, 0)
        elif op == "d":
            add("delete", self._known(before, "before"), 0)
        else:
            row = self._known(after, "after")
            if op == "u" and before is not None and self._key_changed(before, row):
                add("delete", {name: before.get(name) for name in self._changes.keys}, 0)
                add("insert", row, 1)
            else:
                add(_OPS[op], row, 1)
        return found

    def _known(self, image: Image | None, name: str) -> Image:
        if image is None:
            hint = " (REPLICA IDENTITY NOTHING?)" if name == "before" else ""
            raise BadValue(f"the event has no {name}{hint}")
        if not any(column in image for column in self._columns):
            raise BadValue(
                f"{name} has none of the declared columns; it has {', '.join(image)[:200]}"
            )
        return image

    def _key_changed(self, before: Image, after: Image) -> bool:
        return any(
            before.get(name) is not None and before[name] != after.get(name)
            for name in self._changes.keys
        )

    def _available(self, image: Image) -> tuple[Image, list[str]]:
        unchanged = [name for name in self._columns if self._stands_for_none(image.get(name))]
        if unchanged:
            image = {name: value for name, value in image.items() if name not in unchanged}
        return image, unchanged

    def _stands_for_none(self, value: Any) -> bool:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return type(value) is str and value in self._unavailable

    def _position(self, source: dict[str, Any], transaction: dict[str, Any] | None, op: str) -> str:
        connector = word(source.get("connector"))
        if connector == "postgresql":
            lsn = number(source, "lsn")
            if lsn is None:
                raise BadValue("the event has no lsn, so it has no place in an order")
            placed = op != "r" or self._changes.snapshots == "placed" or not _initial(source)
            commit = _last_commit(source.get("sequence"))
            place = number(transaction, "total_order") if transaction else None
            return joined(
                int(placed), (lsn if commit is None else commit, 20), (lsn, 20), (place or 0, 10)
            )
        if connector in {"mysql", "mariadb"}:
            return _binlog(source, "file", "pos", "row")
        raise BadValue(
            f"{shown(source.get('connector'))} is no connector whose events can be put in order "
            "(postgresql, mysql, mariadb)",
            "connector",
        )

    # -- without the envelope ---------------------------------------------------------------------

    def _unwrapped(self, record: dict[str, Any], encodings: dict[str, str]) -> list[Change]:
        op = _first(record, "__op")
        deleted = record.get("__deleted")
        if op is None:
            op = "d" if deleted is True or word(deleted) == "true" else "u"
        if op == "m":
            return []
        if op not in _OPS:
            raise BadValue(f"{shown(op)} is no operation of Debezium's (c, u, d, r, t)", "__op")
        table = _first(record, "__source_table", "__table")
        schema = _first(record, "__source_schema", "__schema") or _first(
            record, "__source_db", "__db"
        )
        named = f"{schema}.{table}" if schema and table else table
        if self._changes.table is not None and named != self._changes.table:
            return []
        position = self._flat_position(record, op)
        source = {
            name: _raw(record, f"__source_{name}", f"__{name}") for name in ("ts_us", "ts_ns")
        }
        source["ts_ms"] = _raw(record, "__source_ts_ms")
        transaction = _first(record, "__transaction_id", "__source_txId", "__txId")
        image, unchanged = self._available({} if op == "t" else self._known(record, "the row"))
        rank = 0 if op in {"d", "t"} else 1
        return [
            Change(
                _OPS[op],
                f"{position}/{rank}",
                _time(source),
                transaction,
                named,
                image,
                unchanged,
                encodings,
            )
        ]

    def _flat_position(self, record: dict[str, Any], op: str) -> str:
        lsn = _raw(record, "__source_lsn", "__lsn")
        if lsn is not None:
            source = {
                "connector": "postgresql",
                "lsn": lsn,
                "sequence": _raw(record, "__source_sequence", "__sequence"),
                "snapshot": _raw(record, "__source_snapshot", "__snapshot") or (op == "r"),
            }
            order = _raw(record, "__transaction_total_order")
            return self._position(source, None if order is None else {"total_order": order}, op)
        file = _raw(record, "__source_file", "__file")
        if file is not None:
            return _binlog(
                {
                    "file": file,
                    "pos": _raw(record, "__source_pos", "__pos"),
                    "row": _raw(record, "__source_row", "__row"),
                },
                "file",
                "pos",
                "row",
            )
        raise BadValue(
            "the row has no place in an order: add the fields lsn and sequence (PostgreSQL), or "
            "file, pos and row (MySQL) to ExtractNewRecordState's add.fields"
        )


def _raw(record: dict[str, Any], *names: str) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _first(record: dict[str, Any], *names: str) -> str | None:
    name = next((item for item in names if record.get(item) is not None), None)
    return None if name is None else text_or_none(record, name)


def _passed_over(record: dict[str, Any]) -> bool:
    """Boundaries of transactions, heartbeats, and changes of schemas."""
    keys = record.keys()
    return (
        ("status" in keys and "id" in keys and "ts_ms" in keys)
        or keys <= {"ts_ms", "ts_us", "ts_ns"}
        or ("tableChanges" in keys and "source" in keys)
    )


def _table(source: dict[str, Any]) -> str | None:
    table = text_or_none(source, "table")
    space = text_or_none(source, "schema") or text_or_none(source, "db")
    return f"{space}.{table}" if space and table else table


def _time(source: dict[str, Any]) -> datetime | None:
    micros = number(source, "ts_us")
    if micros is not None:
        return moment(micros, 1_000_000)
    return moment(number(source, "ts_ms"), 1_000)


def _transaction(source: dict[str, Any], transaction: dict[str, Any] | None) -> str | None:
    found = text_or_none(transaction, "id") if transaction else None
    return found or text_or_none(source, "txId") or text_or_none(source, "gtid")


def _initial(source: dict[str, Any]) -> bool:
    """Whether the row is of a snapshot that was taken before anything was streamed."""
    told = source.get("snapshot")
    return told is not None and told is not False and word(told) not in _STREAMED


def _last_commit(sequence: Any) -> int | None:
    """The first of the two LSNs in ``source.sequence``, a text that holds a JSON array."""
    if sequence is None:
        return None
    found = _SEQUENCE.fullmatch(sequence) if type(sequence) is str else None
    if found is None:
        raise BadValue(f"{shown(sequence)} is no pair of LSNs", "sequence")
    return int(found[1]) if found[1] else None


def _binlog(source: dict[str, Any], file: str, pos: str, row: str) -> str:
    name, place = source.get(file), number(source, pos)
    if type(name) is not str or isinstance(name, Number) or place is None:
        raise BadValue("the event has no file and pos, so it has no place in an order")
    return joined(1, (binlog_number(name), 10), (place, 20), (number(source, row) or 0, 10))


def payload_start(line: str) -> int | None:
    """Where the payload of ``{"schema":…,"payload":…}`` begins; ``None`` in any other order."""
    head = '{"schema":'
    if not line.startswith(head):
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(line, len(head))
    except ValueError:
        return None
    tail = ',"payload":'
    return end + len(tail) if line.startswith(tail, end) else None
