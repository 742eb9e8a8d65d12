"""Stores that earlier versions wrote must open, say the same, and go on."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.clock import ManualClock
from orchestration.cursors.migrate import HEAD, REVISIONS
from orchestration.cursors.rebuild import rebuild
from orchestration.cursors.records import FileEntry
from orchestration.cursors.store import CursorStore
from orchestration.objects import Place
from tests.cursors.support import make_plan, run_batch

GOLDEN = sorted(Path(__file__).parents[1].joinpath("golden").glob("cursors-*"))
EXPECTED_FILES = [
    FileEntry(f"day=1/f {i}é.json", 100 + i, 1_763_900_000_000_000 + i, f'"e{i}"' if i else None)
    for i in range(5)
]


def test_every_schema_version_has_a_golden_store():
    assert [path.name for path in GOLDEN] == [f"cursors-{revision}" for revision in REVISIONS]


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def copy(request, tmp_path):
    return shutil.copytree(request.param, tmp_path / "copy")


def open_copy(copy):
    return CursorStore.open(f"sqlite:///{copy}/cursors.db", clock=ManualClock())


def check(store):
    """What both the database and the log files tell."""
    generation = store.queries.get("clicks")
    assert (generation.number, generation.status) == (2, "active")
    assert generation.fingerprint == {"version": 2}
    assert generation.input_schema == {"a": "BIGINT", "b": "VARCHAR"}
    assert generation.table_ids == {"sink": "table-2"}
    before = store.queries.previous(generation)
    assert (before.status, before.input_schema) == ("retired", {"a": "BIGINT"})
    assert store.ledger.count(before, "files") == 1
    assert list(store.ledger.seen(generation, "files").values()) == EXPECTED_FILES
    last = store.batches.last(generation)
    assert last.plan.slices[0].files == tuple(EXPECTED_FILES[3:])
    assert last.plan.hash == last.seal.plan_hash
    assert last.seal.attempt == "attempt-1"
    (added,) = last.seal.tables["sink"].adds
    assert (added.path, added.partition_values) == ("p=x%20y/part-1.parquet", {"p": "x y"})
    assert last.committed_at is None
    first = store.batches.get(generation, 0)
    assert first.committed_at
    assert first.acked_at
    assert store.batches.totals(generation)["rows"] == 30
    return generation


def test_a_golden_store_says_what_it_said_and_goes_on(copy):
    with open_copy(copy) as store:
        assert store.schema_version == HEAD
        generation = check(store)
        last = store.batches.last(generation)
        assert (last.failures, last.last_error, last.blocked) == (1, "it was away", False)
        assert last.planned_at == datetime(2026, 11, 23, 12, 0, 4, tzinfo=UTC)
        assert store.ledger.listing(generation, "files") == {"runs": 1}
        assert store.costs.reprocesses("clicks")[0].rows == 30
        assert store.costs.latest_verification("clicks").verdict == "equal"
        lease = store.leases.acquire("clicks", "run-9")
        store.batches.commit(lease, generation, 1, {})
        more = (FileEntry("day=2/x.json", 1, 2),)
        run_batch(store, lease, generation, make_plan(2, more, start=5, generation=2))
        assert store.ledger.count(generation, "files") == 6


def test_golden_log_files_give_the_same_store(copy, cursor_url):
    place = Place.open(str(copy / "state" / "clicks"))
    with CursorStore.open(cursor_url, clock=ManualClock()) as store:
        report = rebuild(store, place, store.leases.acquire("clicks", "rebuild"))
        assert (report.generations, report.batches, report.unfinished) == (2, 3, 1)
        check(store)
