"""A database and a query that lands its changes, with everything a test wants to do to both."""

import json

import polars as pl
import psycopg

from orchestration import delta_sink, stream
from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.postgres import postgres
from tests.support.runs import Runs


class Shop(Runs):
    """A database of its own on a server with ``wal_level=logical``."""

    def __init__(self, url, root, *, tables=("public.t",), name="shop_changes", **options):
        self.url = url
        self.settings = Settings.load(home=root / "home")
        self.name = name
        self.tables = list(tables)
        self.slot = f"s_{url.rpartition('/')[2]}"
        self.options = options
        self.clock = ManualClock()
        self.source = None
        self._connection = None

    def sql(self, query, *values):
        """Run statements in one session that stays open; gives rows where there are any."""
        if self._connection is None:
            self._connection = psycopg.connect(self.url, autocommit=True)
        cursor = self._connection.execute(query, values or None)
        return cursor.fetchall() if cursor.description else None

    def transaction(self, *queries):
        """Several statements as one transaction."""
        self.sql("BEGIN;" + ";".join(queries) + ";COMMIT")

    def new_source(self, **options):
        given = {"publication": "p", "slot": self.slot, **self.options, **options}
        return postgres(given.pop("dsn", self.url), given.pop("tables", self.tables), **given)

    @property
    def query(self):
        """The query, in a process of its own as far as its source is concerned."""
        self.source = self.new_source()
        return StreamingQuery(
            self.name,
            stream(self.source),
            sink=delta_sink(self.name),
            settings=self.settings,
        )

    def log(self, *, shapes=False, table=None):
        """The change log in its order, the rows before and after as dicts."""
        rows = pl.read_delta(self.uri).sort("_sequence").to_dicts()
        for row in rows:
            for side in ("before", "after"):
                row[side] = None if row[side] is None else json.loads(row[side])
        return [
            row
            for row in rows
            if (shapes or row["_op"] != "schema") and table in {None, row["_table"]}
        ]

    def said(self, **options):
        """The log as operation, before, after."""
        return [(row["_op"], row["before"], row["after"]) for row in self.log(**options)]

    def confirmed(self):
        return self.sql(
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", self.slot
        )[0][0]

    def drop_slot(self):
        self.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = %s AND NOT active",
            self.slot,
        )
        self._connection.close()
