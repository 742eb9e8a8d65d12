"""A shop's database as Debezium would tell of it: always the same, two files an hour.

A snapshot, then the changes of one transaction after another. Some are delivered an hour late, some
twice; a customer's long note is not carried where it did not change (an unchanged TOAST value).
"""

from __future__ import annotations

import base64
import json
import os
import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestration.cli.shop_events import FIRST_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CHANGE_LANDINGS", "ShopChanges", "write_change_files"]

#: Directories below the landing directory that are written to: one a table.
CHANGE_LANDINGS = ("cdc/customers", "cdc/orders")

_HOUR = timedelta(hours=1)
_CITIES = ("Berlin", "Lyon", "Porto", "Riga", "Turku", "Zadar")
_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gil", "Hana", "Ivo", "Jana")
_STATUS = ("new", "paid", "sent", "received")
_UNAVAILABLE = "__debezium_unavailable_value"
_CUSTOMERS, _ORDERS = 60, 40  # at the start
_LATE = 0.06  # of the changes are delivered an hour late …
_TWICE = 0.04  # … or then a second time

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShopChanges:
    """What was written, and what the database holds then.

    Attributes:
        files: Files written.
        records: Lines in them.
        customers, orders: The tables' rows after the last of the hours, by id.
    """

    files: int
    records: int
    customers: dict[int, _Row]
    orders: dict[int, _Row]


def write_change_files(
    landing: Path, hours: range, transactions: int = 150, *, rest: bool = False
) -> ShopChanges:
    """Write a file for each table and some hours.

    Args:
        landing: The landing directory; :data:`CHANGE_LANDINGS` are made in it.
        hours: Which, counted from :data:`~.shop_events.FIRST_HOUR`. The first has the snapshot.
        transactions: Of an hour.
        rest: Write what would come late after the last hour, too.
    """
    shop = _Shop(transactions)
    files = records = 0
    held: dict[str, list[str]] = {}
    for hour in range(hours.stop):
        now, later = _delivered(hour, list(shop.hour(hour)))
        if hour in hours:
            for place in CHANGE_LANDINGS:
                lines = held.get(place, []) + now[place]
                _write(landing / place, hour, "", lines)
                files, records = files + 1, records + len(lines)
        held = later
    if rest:
        for place, lines in held.items():
            _write(landing / place, hours.stop - 1, "-rest", lines)
            files, records = files + 1, records + len(lines)
    return ShopChanges(files, records, shop.customers, shop.orders)


def _delivered(
    hour: int, events: list[tuple[str, _Row]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The lines of an hour's files, and those that come with the next hour's."""
    chance = random.Random(f"delivery {hour}")  # noqa: S311 - the same every time
    now: dict[str, list[str]] = defaultdict(list)
    later: dict[str, list[str]] = defaultdict(list)
    for place, event in events:
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        luck = chance.random()
        if luck >= _LATE:
            now[place].append(line)
        if luck < _LATE + _TWICE:
            later[place].append(line)
    return now, later


class _Shop:
    """The database, and the log that it writes."""

    def __init__(self, transactions: int) -> None:
        self._transactions = transactions
        self.customers: dict[int, _Row] = {}
        self.orders: dict[int, _Row] = {}
        self._lsn = self._commit = 24_000_000
        self._transaction = 700
        self._micros = 0
        self._next = {"customers": 1, "orders": 1}

    def hour(self, hour: int) -> Iterator[tuple[str, _Row]]:
        """The events of an hour, in the order of the log."""
        chance = random.Random(f"shop {hour}")  # noqa: S311 - the same shop every time
        begin = int((FIRST_HOUR + hour * _HOUR).timestamp()) * 1_000_000
        self._micros = begin
        if hour == 0:
            yield from self._snapshot(chance)
        for number in range(self._transactions):
            self._micros = begin + (number + 1) * 3_600_000_000 // (self._transactions + 1)
            self._transaction += 1
            yield from self._transact(chance)
            self._lsn += 48
            self._commit = self._lsn

    def _snapshot(self, chance: random.Random) -> Iterator[tuple[str, _Row]]:
        for _ in range(_CUSTOMERS):
            self._new_customer(chance)
        for _ in range(_ORDERS):
            self._new_order(chance, self._some(chance, self.customers))
        for table, rows in (("customers", self.customers), ("orders", self.orders)):
            for row in rows.values():
                yield self._event("r", table, None, row, snapshot=True)

    def _transact(self, chance: random.Random) -> Iterator[tuple[str, _Row]]:
        kind = chance.random()
        customer = self._some(chance, self.customers)
        order = self._some(chance, self.orders)
        if kind < 0.45:
            yield self._event("c", "orders", None, self._new_order(chance, customer))
            yield self._update("customers", customer, seen_at=self._now())
        elif kind < 0.75:
            step = _STATUS.index(self.orders[order]["status"]) + 1
            yield self._update("orders", order, status=_STATUS[min(step, 3)])
        elif kind < 0.85:
            city = _CITIES[int(chance.random() * len(_CITIES))]
            yield self._update("customers", customer, city=city, seen_at=self._now())
        elif kind < 0.9:
            note = f"moved the counter {int(chance.random() * 900)} times " * 12
            yield self._update("customers", customer, note=note)
        elif kind < 0.95:
            row = self._new_customer(chance)
            yield self._event("c", "customers", None, row)
        elif kind < 0.98:
            del self.customers[customer]
            yield self._event("d", "customers", self._key("customers", customer), None)
        else:
            del self.orders[order]
            yield self._event("d", "orders", self._key("orders", order), None)

    def _some(self, chance: random.Random, rows: dict[int, _Row]) -> int:
        numbers = list(rows)
        return numbers[int(chance.random() * len(numbers))]

    def _key(self, table: str, number: int) -> _Row:
        """What a delete tells without REPLICA IDENTITY FULL: the key, and nulls."""
        names = ("name", "city", "note", "seen_at")
        if table == "orders":
            names = ("customer_id", "status", "amount", "ordered_at")
        return {"id": number, **dict.fromkeys(names)}

    def _new_customer(self, chance: random.Random) -> _Row:
        number = self._next["customers"]
        self._next["customers"] += 1
        row = {
            "id": number,
            "name": f"{_NAMES[int(chance.random() * len(_NAMES))]} {number}",
            "city": _CITIES[int(chance.random() * len(_CITIES))],
            "note": f"customer number {number}, told at the counter. " * 8,
            "seen_at": self._now(),
        }
        self.customers[number] = row
        return row

    def _new_order(self, chance: random.Random, customer: int) -> _Row:
        number = self._next["orders"]
        self._next["orders"] += 1
        row = {
            "id": number,
            "customer_id": customer,
            "status": _STATUS[0],
            "amount": Decimal(f"{5 + 400 * chance.random() ** 4:.2f}"),
            "ordered_at": self._now(),
        }
        self.orders[number] = row
        return row

    def _update(self, table: str, number: int, **values: Any) -> tuple[str, _Row]:
        rows = self.customers if table == "customers" else self.orders
        row = rows[number] = rows[number] | values
        shown = row
        if table == "customers" and "note" not in values:
            shown = row | {"note": _UNAVAILABLE}
        return self._event("u", table, None, shown)

    def _now(self) -> str:
        moment = FIRST_HOUR + timedelta(microseconds=self._micros)
        moment -= timedelta(seconds=FIRST_HOUR.timestamp())
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"

    def _event(
        self,
        op: str,
        table: str,
        before: _Row | None,
        after: _Row | None,
        *,
        snapshot: bool = False,
    ) -> tuple[str, _Row]:
        if not snapshot:
            self._lsn += 152
        commit = "null" if snapshot else f'"{self._commit}"'
        source = {
            "version": "2.7.0.Final",
            "connector": "postgresql",
            "name": "shop",
            "ts_ms": self._micros // 1000,
            "snapshot": "true" if snapshot else "false",
            "db": "shop",
            "sequence": f'[{commit},"{self._lsn}"]',
            "ts_us": self._micros,
            "schema": "public",
            "table": table,
            "txId": self._transaction,
            "lsn": self._lsn,
            "xmin": None,
        }
        return f"cdc/{table}", {
            "before": before,
            "after": None if after is None else _written(after),
            "source": source,
            "transaction": None,
            "op": op,
            "ts_ms": self._micros // 1000 + 250,
        }


def _written(row: _Row) -> _Row:
    """A row as Kafka Connect writes it: decimals as base64 of the number without its point."""
    return {
        name: _precise(value) if isinstance(value, Decimal) else value
        for name, value in row.items()
    }


def _precise(value: Decimal) -> str:
    number = int(value.scaleb(2))
    size = number.bit_length() // 8 + 1
    return base64.b64encode(number.to_bytes(size, "big", signed=True)).decode()


def _write(directory: Path, hour: int, suffix: str, lines: list[str]) -> None:
    begin = FIRST_HOUR + hour * _HOUR
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{begin:%Y-%m-%dT%H}{suffix}.json"
    # Under a name that discovery ignores until it is whole, as writers of such files should.
    partial = path.with_name(f".{path.name}")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    end = int((begin + _HOUR).timestamp())
    os.utime(partial, (end, end))
    partial.rename(path)
