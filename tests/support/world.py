"""A query over newline JSON with everything a test wants to do to it."""

import json
import os
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from orchestration import delta_sink, files, stream
from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.runtime.query import StreamingQuery
from tests.support.runs import Runs

SCHEMA = {"id": "BIGINT", "v": "VARCHAR"}


class World(Runs):
    """One query, its landing directory and its home."""

    def __init__(self, root, *, cursors=None, tables=None, state=None, name="clicks", **options):
        self.landing = Path(root) / "landing"
        self.landing.mkdir(parents=True, exist_ok=True)
        places = {"cursors": cursors, "tables": tables, "state": state}
        self.settings = Settings.load(
            home=Path(root) / "home", **{k: v for k, v in places.items() if v is not None}
        )
        self.options = options
        self.name = name
        self.clock = ManualClock()
        self.next_id = 0

    def stream(self):
        source = files(str(self.landing), schema=SCHEMA, **self.options)
        return stream(source).where("id >= 0").select("id", upper="upper(v)")

    @property
    def query(self):
        return StreamingQuery(
            self.name, self.stream(), sink=delta_sink(self.name), settings=self.settings
        )

    def land(self, rows=3, *, bad=0, name=None, mtime=None):
        """Write a file of fresh ids, and perhaps some lines that cannot be read."""
        lines = []
        for _ in range(rows):
            lines.append(json.dumps({"id": self.next_id, "v": f"v{self.next_id}"}))
            self.next_id += 1
        lines += [f"{{bad {self.next_id}-{n}" for n in range(bad)]
        path = self.landing / (name or f"{self.next_id:06d}-{os.urandom(3).hex()}.json")
        path.write_text("".join(line + "\n" for line in lines))
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    def storage_options(self):
        from orchestration.objects import storage_options

        return storage_options(self.uri)

    def ids(self):
        """Every id in the sink, read by Polars."""
        return sorted(pl.read_delta(self.uri, storage_options=self.storage_options())["id"])

    def bad(self):
        """Every raw text in quarantine."""
        uri = self.uri + "__quarantine"
        options = self.storage_options()
        if not DeltaTable.is_deltatable(uri, options):
            return []
        return sorted(pl.read_delta(uri, storage_options=options)["raw"])

    def delta(self):
        return DeltaTable(self.uri, storage_options=self.storage_options())
