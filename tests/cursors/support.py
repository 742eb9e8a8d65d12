"""Plans and seals to write, and looks into the database that the store itself does not offer."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from orchestration.cursors import models
from orchestration.cursors.records import DataFile, FileEntry, Plan, Seal, Slice, TableChanges

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def entries(start, end, prefix="in/"):
    return tuple(
        FileEntry(f"{prefix}{number:06d}.json", 100 + number, 1_700_000_000_000_000 + number)
        for number in range(start, end)
    )


def make_plan(batch_id, files, *, start=None, generation=1, run_id="run-1", query="clicks"):
    first = start if start is not None else 0
    begin = {"files": first} if first else {}
    part = Slice("files", begin, {"files": first + len(files)}, tuple(files), 7, {"files": 99})
    return Plan(query, generation, batch_id, run_id, AT, (part,))


def make_seal(plan, attempt="a1"):
    file = DataFile(f"part-{plan.batch_id}-{attempt}.parquet", 10, 3, 1_700_000_000_000)
    return Seal(plan.hash, attempt, {"sink": TableChanges((file,))}, {"rows_in": 3, "seconds": 0.5})


def run_batch(store, lease, generation, plan, *, progress=None, ack=True):
    store.batches.plan(lease, plan)
    store.batches.seal(lease, generation, plan.batch_id, make_seal(plan))
    store.batches.commit(lease, generation, plan.batch_id, progress or {"rows_in": 3})
    if ack:
        store.batches.acknowledge(lease, generation, plan.batch_id)


def connect(url):
    """An engine past the store; it keeps no connection open."""
    return sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool
    )


def change_lease(url, query="clicks", **values):
    """Write into a lease's row, past the store."""
    engine = connect(url)
    with engine.begin() as connection:
        table = models.leases
        if "holder" in values:
            row = connection.execute(sa.select(table).where(table.c.query_id == query)).one()
            values["holder"] = json.dumps({**json.loads(row.holder), **values["holder"]})
        connection.execute(sa.update(table).where(table.c.query_id == query).values(**values))


def dump(url):
    """Everything in the database, the leases apart."""
    engine = connect(url)
    with engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in models.metadata.tables.values()
            if table is not models.leases
        }


def start_process(code, *arguments):
    """A Python process of its own; talks through its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
