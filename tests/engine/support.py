"""Batches for an engine, without a source or a sink."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.engine.base import BatchJob, FileFormat, InputFile, TableInput
from orchestration.engine.reading import source_of
from orchestration.streams.schema import parse_schema

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
MODIFIED = datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=UTC)


class Files:
    """Local files as an engine is given them, a group each."""

    def __init__(self, paths, schema, *, partitions=None, values=None, **format_):
        format_.setdefault("name", "json")
        self.paths = [Path(path) for path in paths]
        self.partition_columns = tuple(partitions or ())
        self.schema = parse_schema({**schema, **(partitions or {})}) if schema else pa.schema([])
        self.format = FileFormat(**format_)
        self.values = values or {}
        self.missing = ()

    def groups(self):
        for path in self.paths:
            yield self._group(path)

    @contextmanager
    def _group(self, path):
        size = path.stat().st_size
        yield [InputFile(path, str(path), size, MODIFIED, self.values.get(path.name, {}))]


class Batch:
    """What a batch wrote, read back without the engine."""

    def __init__(self, root, output, schema, partition_by):
        self.root = root
        self.output = output
        self.schema = schema
        self.partition_by = partition_by

    @property
    def rows(self):
        found = []
        for file in self.output.sink:
            table = pq.ParquetFile(self.root / "sink" / file.path).read()
            assert table.num_rows == file.rows == json.loads(file.stats)["numRecords"]
            for row in table.to_pylist(maps_as_pydicts="strict"):
                found.append({**row, **file.partition_values})
        return found

    @property
    def table(self):
        tables = [pq.ParquetFile(self.root / "sink" / f.path).read() for f in self.output.sink]
        return pa.concat_tables(tables) if tables else self.schema.empty_table()

    @property
    def bad(self):
        found = []
        for file in self.output.quarantine:
            table = pq.ParquetFile(self.root / "quarantine" / file.path).read()
            assert table.num_rows == file.rows
            found += table.to_pylist()
        return sorted(found, key=lambda row: (row["file"], row["line"] or 0))

    @property
    def reasons(self):
        return {row["line"]: row["reason"] for row in self.bad}


def run(engine, root, given, operators=(), *, partition_by=(), **options):
    """Compute one batch into ``root``."""
    if isinstance(given, TableInput):
        schema = given.table.schema
    else:
        schema, _ = source_of(given)
    output_schema = engine.describe(schema, tuple(operators))
    root = Path(root)
    job = BatchJob(
        input=given,
        operators=tuple(operators),
        output_schema=output_schema,
        sink_dir=root / "sink",
        quarantine_dir=root / "quarantine",
        file_prefix=options.pop("file_prefix", "000003-a1b2"),
        batch_id=3,
        timestamp=NOW,
        partition_by=partition_by,
        **options,
    )
    return Batch(root, engine.run(job), output_schema, partition_by)


def left_behind(root):
    """Every file under a directory."""
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file())
