"""A stateful query without a runtime: batches through the engine, watermarks by the rules."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.engine.duckdb import DuckDBEngine
from orchestration.engine.stateful.job import SourceInput, StatefulJob
from orchestration.objects import Place
from orchestration.sources.inputs import TableInput
from orchestration.sources.rows import rows_to_table
from orchestration.state.files import StateFiles
from orchestration.state.watermarks import next_watermark
from orchestration.streams.schema import parse_schema

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class StatefulQuery:
    """Runs one plan batch by batch in a directory."""

    def __init__(self, directory: Path, plan, mode="append", *, engine=None):
        self.plan, self.mode, self.directory = plan, mode, directory
        self.engine = engine or DuckDBEngine("512MiB", 2, directory / "spill")
        self.schema = self.engine.describe_plan(plan)
        self.files = StateFiles(Place.open(str(directory / "state")), "g1", directory / "cache")
        self.state = self.output = None
        self.batch_id = self.watermark = self.late = self.next = 0
        self.maxima = {}

    def batch(self, **sources) -> list[dict]:
        """One batch of rows for each source: dicts, or a table; what it gave."""
        if self.batch_id:
            self.late, self.watermark = self.watermark, self.next
        inputs = {
            name: SourceInput(TableInput(self._table(name, rows))) for name, rows in sources.items()
        }
        self.output = self.engine.run_stateful(
            StatefulJob(
                plan=self.plan,
                inputs=inputs,
                output_mode=self.mode,
                output_schema=self.schema,
                watermark_ms=self.watermark,
                late_ms=self.late,
                state=self.state,
                files=self.files,
                sink_dir=self.directory / "sink",
                quarantine_dir=self.directory / "quarantine",
                late_dir=self.directory / "late",
                file_prefix=f"part-{self.batch_id:010d}-a",
                batch_id=self.batch_id,
                timestamp=NOW,
            )
        )
        self.state, self.batch_id = self.output.state, self.batch_id + 1
        for key, value in self.output.maxima_us.items():
            self.maxima[key] = max(value, self.maxima.get(key, value))
        self.next = next_watermark(self.watermark, self.maxima, self.plan.watermarks())
        return self.rows()

    def rows(self) -> list[dict]:
        """What the last batch gave."""
        return self.table().to_pylist()

    def table(self) -> pa.Table:
        """The same as a table."""
        root = self.directory / "sink"
        tables = [pq.read_table(root / file.path) for file in self.output.sink]
        return pa.concat_tables(tables) if tables else self.schema.empty_table()

    def _table(self, name, rows):
        if isinstance(rows, pa.Table):
            return rows
        (schema,) = [
            chain.root.schema
            for chain in self.plan.walk()
            if getattr(chain.root, "name", "") == name
        ]
        return rows_to_table(rows, schema)


def schema(**columns: str) -> pa.Schema:
    return parse_schema(columns)
