"""Upserts into a real Delta table, step by step, without a source or a runner."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from orchestration.cursors.records import Plan, Seal, TableChanges
from orchestration.engine.base import BatchJob, TableInput
from orchestration.objects import storage_options
from orchestration.runtime.execution import keep
from orchestration.runtime.upsert import attempt_of, rebuild, upsert
from orchestration.sinks.commit import BatchCommit, commit_batch
from orchestration.sinks.outdated import UpsertOutdated
from orchestration.sinks.snapshot import read_snapshot
from orchestration.sinks.table import Owner, SinkTable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Upserts:
    """A query in update mode, as far as its sink is concerned."""

    def __init__(self, engine, root, schema, keys, *, partition_by=(), uri=None):
        self.root = Path(root)
        self.schema = schema
        self.keys = keys
        self.table = SinkTable(
            uri or str(self.root / "table"),
            Owner("totals", "totals/1-abc", "store", "sink"),
            schema,
            partition_by,
        )
        self.known = self.table.ensure(None)
        self.session = SimpleNamespace(
            engine=engine,
            sink_table=self.table,
            settings=SimpleNamespace(spool_dir=self.root / "spool"),
            query=SimpleNamespace(sink=SimpleNamespace(target_file_size=1 << 20)),
        )
        self.number = -1
        self.rebuilt = 0

    @property
    def uri(self):
        return self.table.uri

    @property
    def options(self):
        return storage_options(self.uri)

    # -- a batch ---------------------------------------------------------------------------------

    def seal(self, rows, *, overwrite=False):
        """Compute the next batch: these rows in the place of those of the same keys."""
        self.number += 1
        attempt = f"abc-1-{uuid.uuid4().hex[:12]}"
        prefix = f"part-{self.number:010d}-{attempt}"
        local = self.table.place.is_local
        directory = self.table.place.local_path if local else self.root / f"stage-{attempt}"
        emitted = self._emit(rows, directory, prefix)
        if overwrite:
            changes = TableChanges(emitted, overwrite=True)
        else:
            changes = upsert(self.session, emitted, directory, self.keys, prefix)
        keep(self.table, directory, changes.adds)
        seal = Seal(self.plan().hash, attempt, {"sink": changes})
        assert Seal.from_json(json.loads(json.dumps(seal.to_json()))) == seal
        return seal

    def plan(self):
        return Plan("totals", 1, self.number, "run", NOW, ())

    def _emit(self, rows, directory, prefix):
        output = self.session.engine.run(
            BatchJob(
                input=TableInput(pa.Table.from_pylist(rows, schema=self.schema)),
                operators=(),
                output_schema=self.schema,
                sink_dir=directory,
                quarantine_dir=self.root / "quarantine",
                file_prefix=prefix,
                batch_id=self.number,
                timestamp=NOW,
                partition_by=self.table.partition_by,
            )
        )
        return output.sink

    def commit_once(self, seal, still_ours=lambda: None):
        changes = seal.tables["sink"]
        batch = BatchCommit(
            batch_id=self.number,
            attempt=attempt_of(seal, "sink"),
            plan_hash=seal.plan_hash,
            adds=changes.adds,
            details={},
            removes=changes.removes,
            overwrite=changes.overwrite,
            base_version=changes.base_version,
            removed_at=NOW,
        )
        return commit_batch(self.table, self.known, batch, still_ours=still_ours)

    def commit(self, seal, still_ours=lambda: None):
        """Commit, rebuilding the upsert as often as that takes; the seal that was committed."""
        while seal.tables["sink"]:
            try:
                self.commit_once(seal, still_ours)
                break
            except UpsertOutdated:
                seal = rebuild(self.session, self.plan(), seal)
                self.rebuilt += 1
        return seal

    def batch(self, rows, **options):
        return self.commit(self.seal(rows, **options))

    # -- others, and what is there ---------------------------------------------------------------

    def foreign_append(self, rows):
        table = pa.Table.from_pylist(rows, schema=self.schema)
        write_deltalake(
            self.uri, table, mode="append", storage_options=self.options,
            partition_by=list(self.table.partition_by) or None,
        )  # fmt: skip

    def foreign_compact(self):
        self.delta().optimize.compact()

    def delta(self):
        return DeltaTable(self.uri, storage_options=self.options)

    def paths(self):
        return {item.path for item in read_snapshot(self.table).files}

    def rows(self):
        """Every row, by Polars."""
        return pl.read_delta(self.uri, storage_options=self.options).to_dicts()


def replaced(rows, new, keys):
    """What a table of ``rows`` holds after an upsert."""
    given = [tuple(row[key] for key in keys) for row in new]
    return [row for row in rows if tuple(row[key] for key in keys) not in given] + new


def ordered(rows):
    return sorted(rows, key=lambda row: str(sorted(row.items())))
