"""A Delta table that somebody else writes, and a query of ours that follows it."""

from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from orchestration import available_now, delta, delta_sink, stream
from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.objects import storage_options
from orchestration.runtime.query import StreamingQuery
from tests.support.runs import Runs


class Follower(Runs):
    """A table of ids, its writer, and a query that reads it."""

    def __init__(self, root, *, name="copy", tables=None, state=None, where=None, **options):
        root = Path(root)
        self.where = where or str(root / "there")
        places = {k: v for k, v in {"tables": tables, "state": state}.items() if v is not None}
        self.settings = Settings.load(home=root / "home", **places)
        self.name = name
        self.options = options
        self.clock = ManualClock()
        self.next_id = 0

    # -- the writer -----------------------------------------------------------------------------

    @property
    def there(self):
        return DeltaTable(self.where, storage_options=storage_options(self.where))

    def rows(self, count=3):
        ids = list(range(self.next_id, self.next_id + count))
        self.next_id += count
        return pa.table({"id": pa.array(ids, pa.int64()), "v": [f"v{n}" for n in ids]})

    def write(self, table=None, count=3, **options):
        table = self.rows(count) if table is None else table
        write_deltalake(
            self.where,
            table,
            mode=options.pop("mode", "append"),
            storage_options=storage_options(self.where),
            **options,
        )
        return table

    # -- the reader -----------------------------------------------------------------------------

    def stream(self):
        return stream(delta(self.where, **self.options))

    @property
    def query(self):
        return StreamingQuery(
            self.name,
            self.stream(),
            sink=delta_sink(self.name, schema_evolution="add_columns"),
            settings=self.settings,
        )

    def notes(self):
        return self.query.execute(available_now(), clock=self.clock).notes

    def copied(self):
        return pl.read_delta(self.uri, storage_options=storage_options(self.uri))

    def ids(self):
        return sorted(self.copied()["id"])
