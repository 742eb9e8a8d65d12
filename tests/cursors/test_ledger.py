import time
from dataclasses import replace

from orchestration.clock import ManualClock
from orchestration.cursors.store import CursorStore
from tests.cursors.support import entries, make_plan, run_batch

MANY = 100_000


def test_planned_files_are_seen_in_order_and_by_path(store, generation, lease):
    run_batch(store, lease, generation, make_plan(0, entries(0, 3)))
    store.batches.plan(lease, make_plan(1, entries(3, 5), start=3))
    seen = store.ledger.seen(generation, "files")
    assert list(seen.values()) == list(entries(0, 5))
    assert "in/000004.json" in seen
    assert "in/000005.json" not in seen
    assert store.ledger.count(generation, "files") == 5
    assert store.ledger.files(generation, "files", 2, 4) == entries(2, 4)
    assert store.ledger.batch_of(generation, "files", "in/000003.json") == 1
    assert store.ledger.batch_of(generation, "files", "other") is None
    assert store.ledger.offset(generation, "files") == {"files": 5}
    assert store.ledger.seen(generation, "another source") == {}
    assert store.ledger.offset(generation, "another source") == {}
    assert store.ledger.listing(generation, "another source") == {}


def test_of_a_rewritten_file_the_latest_version_counts(store, generation, lease):
    first, other = entries(0, 2)
    again = replace(first, size=1, etag='"e2"')
    run_batch(store, lease, generation, make_plan(0, (first, other)))
    run_batch(store, lease, generation, make_plan(1, (again,), start=2))
    assert store.ledger.seen(generation, "files") == {first.path: again, other.path: other}
    assert store.ledger.count(generation, "files") == 3
    assert store.ledger.batch_of(generation, "files", first.path) == 1
    assert store.ledger.files(generation, "files", 0, 3) == (first, other, again)


def test_what_was_seen_before_does_not_change_under_its_reader(store, generation, lease):
    run_batch(store, lease, generation, make_plan(0, entries(0, 2)))
    before = store.ledger.seen(generation, "files")
    run_batch(store, lease, generation, make_plan(1, entries(2, 3), start=2))
    assert len(before) == 2
    assert len(store.ledger.seen(generation, "files")) == 3


def test_files_that_another_process_planned_are_seen(cursor_url, store, generation, lease):
    with CursorStore.open(cursor_url, clock=ManualClock()) as sensor:
        assert len(sensor.ledger.seen(generation, "files")) == 0
        run_batch(store, lease, generation, make_plan(0, entries(0, 2)))
        assert len(sensor.ledger.seen(generation, "files")) == 2


def test_paths_are_kept_to_the_letter(store, generation, lease):
    names = [
        "a b.json",
        "100%.json",
        "x#1?.json",
        "é/日本.json",
        'it\'s "q".json',
        "tab\t\\N.json",
        "/x",
    ]
    files = tuple(replace(entries(0, 1)[0], path=name, etag=f'"{name}"') for name in names)
    run_batch(store, lease, generation, make_plan(0, files))
    assert tuple(store.ledger.seen(generation, "files").values()) == files
    assert store.batches.last(generation).plan.slices[0].files == files


def test_the_listing_can_be_saved_without_a_batch(store, generation, lease):
    store.ledger.save_listing(lease, generation, "files", {"runs": 1})
    store.ledger.save_listing(lease, generation, "files", {"runs": 2})
    assert store.ledger.listing(generation, "files") == {"runs": 2}
    assert store.ledger.offset(generation, "files") == {}
    store.batches.plan(lease, make_plan(0, entries(0, 1)), listings={"files": {"runs": 0}})
    assert store.ledger.listing(generation, "files") == {"runs": 0}
    assert store.ledger.offset(generation, "files") == {"files": 1}


def test_a_hundred_thousand_files_are_no_matter(cursor_url, store, generation, lease):
    plan = make_plan(0, entries(0, MANY))
    store.batches.plan(lease, plan)
    with CursorStore.open(cursor_url, clock=ManualClock()) as fresh:
        started = time.perf_counter()
        seen = fresh.ledger.seen(generation, "files")
        first = time.perf_counter() - started
        started = time.perf_counter()
        again = fresh.ledger.seen(generation, "files")
        second = time.perf_counter() - started
    assert len(seen) == len(again) == MANY
    assert seen["in/099999.json"] == entries(MANY - 1, MANY)[0]
    assert store.batches.last(generation).plan.hash == plan.hash
    # Measured 0.2 to 0.3 s and 1 ms; the bounds leave room for a busy machine.
    assert first < 2
    assert second < 0.1
