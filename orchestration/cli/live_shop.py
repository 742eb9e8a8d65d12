"""A small shop that writes to its database: customers come, move and leave; orders go their way."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

__all__ = ["LiveShop"]

_TABLES = """
CREATE TABLE IF NOT EXISTS customers (
    id bigserial PRIMARY KEY, name text NOT NULL, city text, tags text[], seen_at timestamptz);
CREATE TABLE IF NOT EXISTS orders (
    id bigserial PRIMARY KEY, customer_id bigint, status text, amount numeric(10,2),
    ordered_at timestamptz DEFAULT now());
"""
_NAMES = ("Ada", "Ben", "Cleo", "Dai", "Eva", "Finn", "Gita", "Hugo")
_CITIES = ("Bern", "Cork", "Lima", "Oslo", "Perth", "Quito", "Riga")
_NEXT = {"new": "paid", "paid": "sent", "sent": "received"}
_PAUSE_SECONDS = 0.5
_FIRST_CUSTOMERS = 500


class LiveShop(threading.Thread):
    """Writes a transaction or two a second until it is stopped.

    Args:
        url: The database, password and all.
    """

    def __init__(self, url: str) -> None:
        super().__init__(name="live-shop", daemon=True)
        self._url = url
        self._chance = random.Random(4)  # noqa: S311 - a play, not a secret
        self.stop = threading.Event()

    def open_shop(self) -> None:
        """Make the tables, with some customers the first time."""
        import psycopg

        with psycopg.connect(self._url) as connection:
            connection.execute(_TABLES)
            row = connection.execute("SELECT count(*) FROM customers").fetchone()
            if row is not None and row[0] == 0:
                for _ in range(_FIRST_CUSTOMERS):
                    self._come(connection)

    def run(self) -> None:
        """Work until :attr:`stop` is set."""
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self.stop.wait(_PAUSE_SECONDS):
                with connection.transaction():
                    self.work(connection)

    def work(self, connection: psycopg.Connection[Any]) -> None:
        """One transaction's worth of changes."""
        for _ in range(self._chance.randint(1, 4)):
            what = self._chance.random()
            if what < 0.1:
                self._come(connection)
            elif what < 0.3:
                connection.execute(
                    "UPDATE customers SET city = %s WHERE id = (SELECT id FROM customers "
                    "ORDER BY md5(id::text || %s) LIMIT 1)",
                    (self._chance.choice(_CITIES), str(self._chance.random())),
                )
            elif what < 0.32:
                connection.execute(
                    "DELETE FROM customers WHERE id = (SELECT min(id) FROM customers)"
                )
            elif what < 0.7:
                connection.execute(
                    "INSERT INTO orders (customer_id, status, amount) SELECT id, 'new', %s "
                    "FROM customers ORDER BY md5(id::text || %s) LIMIT 1",
                    (round(self._chance.uniform(1, 500), 2), str(self._chance.random())),
                )
            else:
                old = self._chance.choice(list(_NEXT))
                connection.execute(
                    "UPDATE orders SET status = %s WHERE id = (SELECT min(id) FROM orders "
                    "WHERE status = %s)",
                    (_NEXT[old], old),
                )

    def _come(self, connection: psycopg.Connection[Any]) -> None:
        name = f"{self._chance.choice(_NAMES)} {self._chance.randint(1, 10**6)}"
        tags = self._chance.sample(["new", "vip, gold", "mail"], self._chance.randint(0, 2))
        connection.execute(
            "INSERT INTO customers (name, city, tags, seen_at) VALUES (%s, %s, %s, now())",
            (name, self._chance.choice(_CITIES), tags),
        )
