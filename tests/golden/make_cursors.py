"""Make a golden cursor store of this version: ``python tests/golden/make_cursors.py``.

It writes ``tests/golden/cursors-<schema version>/``: the database, and the log files below
``state/``. Run it once when the schema's version changes, commit what it wrote, and never change
an old one: every later Headwater must open it (``tests/cursors/test_golden.py``).
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from orchestration.clock import ManualClock  # noqa: E402
from orchestration.cursors.logfiles import BatchLog  # noqa: E402
from orchestration.cursors.migrate import HEAD  # noqa: E402
from orchestration.cursors.records import (  # noqa: E402
    DataFile,
    FileEntry,
    Plan,
    Seal,
    Slice,
    TableChanges,
)
from orchestration.cursors.store import CursorStore  # noqa: E402
from orchestration.objects import Place  # noqa: E402

QUERY = "clicks"


def main() -> None:
    """Two lives of a query: one reset, one with a committed, a sealed batch and a failure."""
    target = Path(__file__).parent / f"cursors-{HEAD}"
    if target.exists():
        sys.exit(f"{target} is there already. Golden stores are never made again.")
    target.mkdir()
    clock = ManualClock(datetime(2026, 11, 23, 12, tzinfo=UTC))
    place = Place.open(str(target.resolve() / "state" / QUERY))
    with CursorStore.open(f"sqlite:///{target}/cursors.db", clock=clock) as store:
        lease = store.leases.acquire(QUERY, "run-1")
        first = store.queries.register(QUERY, {"version": 1}, input_schema={"a": "BIGINT"})
        first = store.queries.update(lease, first, table_ids={"sink": "table-1"})
        BatchLog(place, first).write_generation()
        batch(store, place, lease, first, clock, 0, 0, 1)
        second = store.queries.begin_reset(lease, {"version": 2})
        second = store.queries.finish_reset(lease, second)
        second = store.queries.update(
            lease,
            second,
            input_schema={"a": "BIGINT", "b": "VARCHAR"},
            table_ids={"sink": "table-2"},
        )
        BatchLog(place, second).write_generation()
        batch(store, place, lease, second, clock, 0, 0, 3)
        batch(store, place, lease, second, clock, 1, 3, 2, sealed_only=True)
        store.costs.record_reprocess(
            QUERY,
            offsets={"files": {"files": 3}},
            rows=30,
            bytes=300,
            files=3,
            seconds=1.5,
            table_version=1,
            finished_at=clock.now(),
            run_id="run-2",
        )
        store.costs.record_verification(
            QUERY,
            verdict="equal",
            offsets={"files": {"files": 3}},
            table_version=1,
            twin_version=1,
            detail={"rows": 30},
            checked_at=clock.now(),
            run_id="run-3",
        )
        lease.release()


def batch(store, place, lease, generation, clock, batch_id, start, n, *, sealed_only=False):  # noqa: ANN001, ANN201, D103, PLR0917
    log = BatchLog(place, generation)
    files = tuple(
        FileEntry(
            f"day=1/f {i}é.json", 100 + i, 1_763_900_000_000_000 + i, f'"e{i}"' if i else None
        )
        for i in range(start, start + n)
    )
    part = Slice(
        "files",
        {"files": start} if start else {},
        {"files": start + n},
        files,
        100 * n,
        {"files": 9},
    )
    plan = Plan(QUERY, generation.number, batch_id, "run-1", clock.now(), (part,))
    store.batches.plan(lease, plan, listings={"files": {"runs": batch_id}})
    log.write_plan(plan)
    store.batches.fail(lease, generation, batch_id, "FileMissing", "it was away", 3)
    clock.advance(1)
    added = DataFile(
        f"p=x%20y/part-{batch_id}.parquet",
        1000,
        10 * n,
        1_763_900_000_000,
        {"p": "x y"},
        '{"numRecords":10}',
    )
    bad = DataFile(f"bad-{batch_id}.parquet", 10, 1, 1_763_900_000_000)
    progress = {"rows_in": 10 * n, "rows_out": 10 * n - 1, "rows_bad": 1, "seconds": 0.5}
    seal = Seal(
        plan.hash,
        f"attempt-{batch_id}",
        {"sink": TableChanges((added,)), "quarantine": TableChanges((bad,))},
        progress,
    )
    store.batches.seal(lease, generation, batch_id, seal)
    log.write_seal(batch_id, seal)
    if not sealed_only:
        clock.advance(1)
        store.batches.commit(lease, generation, batch_id, progress)
        store.batches.acknowledge(lease, generation, batch_id)


if __name__ == "__main__":
    main()
