from dataclasses import replace

import pytest

from orchestration.clock import ManualClock
from orchestration.cursors.logfiles import BatchLog
from orchestration.cursors.rebuild import rebuild
from orchestration.cursors.store import CursorStore
from orchestration.errors import CursorStoreError, LeaseLost, UnknownQuery
from orchestration.objects import Place
from tests.cursors.support import dump, entries, make_plan, make_seal


@pytest.fixture
def place(tmp_path):
    return Place.open(str(tmp_path / "state" / "clicks"))


@pytest.fixture
def lost(tmp_path):
    """The store as it was before it was lost."""
    with CursorStore.open(f"sqlite:///{tmp_path}/lost.db", clock=ManualClock()) as store:
        yield store


def run(store, place, lease, generation, batch_id, *, until="commit", files=2):
    """One batch, stopped after a step, with its log files as the runner writes them."""
    log = BatchLog(place, generation)
    start = store.ledger.count(generation, "files")
    new = entries(start, start + files)
    plan = make_plan(batch_id, new, start=start, generation=generation.number)
    store.batches.plan(lease, plan)
    log.write_plan(plan)
    if until == "plan":
        return
    store.batches.seal(lease, generation, batch_id, make_seal(plan))
    log.write_seal(batch_id, make_seal(plan))
    if until == "seal":
        return
    store.batches.commit(lease, generation, batch_id, make_seal(plan).progress)
    store.batches.acknowledge(lease, generation, batch_id)


def begin(store, place):
    lease = store.leases.acquire("clicks", "run-0")
    generation = store.queries.register("clicks", {"a": 1}, input_schema={"x": "BIGINT"})
    generation = store.queries.update(lease, generation, table_ids={"sink": "i"})
    BatchLog(place, generation).write_generation()
    return lease, generation


def rebuilt(store, place, **options):
    lease = store.leases.acquire("clicks", "rebuild")
    try:
        return rebuild(store, place, lease, **options)
    finally:
        lease.release()


def test_an_empty_store_knows_everything_again(store, lost, place):
    lease, generation = begin(lost, place)
    for batch_id in range(3):
        run(lost, place, lease, generation, batch_id)
    report = rebuilt(store, place)
    assert (report.generation, report.generations, report.batches) == (generation, 1, 3)
    assert (report.files, report.unfinished, report.ignored) == (6, 2, ())
    assert store.queries.get("clicks") == generation
    plans = [item.plan for item in lost.batches.history(generation, with_files=True)]
    assert [i.plan for i in store.batches.history(generation, with_files=True)] == plans
    seals = [item.seal for item in lost.batches.history(generation)]
    assert [item.seal for item in store.batches.history(generation)] == seals
    assert store.ledger.seen(generation, "files") == lost.ledger.seen(generation, "files")
    assert store.ledger.offset(generation, "files") == {"files": 6}
    states = [
        (i.committed_at is None, i.acked_at is None) for i in store.batches.history(generation)
    ]
    assert states == [(True, True), (False, False), (False, False)]
    assert store.batches.totals(generation)["rows"] == 6
    # The run after it finishes the last batch from its seal, and goes on.
    lease = store.leases.acquire("clicks", "run-1")
    store.batches.commit(lease, generation, 2, {})
    run(store, place, lease, generation, 3)


def test_doing_it_again_changes_nothing(cursor_url, store, lost, place):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    run(lost, place, lease, generation, 1)
    assert rebuilt(store, place).batches == 2
    before = dump(cursor_url)
    assert rebuilt(store, place).batches == 0
    assert dump(cursor_url) == before


@pytest.mark.parametrize("until", ["plan", "seal", "commit"])
def test_a_store_that_is_behind_catches_up(store, lost, place, until):
    lease, generation = begin(lost, place)
    store.queries.adopt(generation)
    mine = store.leases.acquire("clicks", "before")
    run(lost, place, lease, generation, 0)
    run(store, place, mine, generation, 0, until=until)  # what the backup had
    mine.release()
    run(lost, place, lease, generation, 1)
    report = rebuilt(store, place)
    assert report.batches == (1 if until == "commit" else 2)
    assert [i.plan for i in store.batches.history(generation, with_files=True)] == [
        i.plan for i in lost.batches.history(generation, with_files=True)
    ]
    first = store.batches.get(generation, 0)
    assert first.committed_at
    assert first.seal == lost.batches.get(generation, 0).seal


def test_a_seal_that_was_replaced_since_the_backup_is_replaced(store, lost, place):
    lease, generation = begin(lost, place)
    store.queries.adopt(generation)
    mine = store.leases.acquire("clicks", "before")
    run(lost, place, lease, generation, 0, until="seal")
    run(store, place, mine, generation, 0, until="seal")
    mine.release()
    second = make_seal(make_plan(0, entries(0, 2)), "a2")
    BatchLog(place, generation).write_seal(0, second)
    rebuilt(store, place)
    assert store.batches.last(generation).seal == second


def test_a_batch_planned_and_not_sealed_is_to_be_run_again(store, lost, place):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    run(lost, place, lease, generation, 1, until="plan")
    report = rebuilt(store, place)
    assert report.unfinished == 1
    assert store.batches.get(generation, 0).committed_at
    assert store.batches.last(generation).seal is None


def test_generations_before_the_current_one_come_back_too(store, lost, place):
    lease, first = begin(lost, place)
    run(lost, place, lease, first, 0)
    second = lost.queries.finish_reset(lease, lost.queries.begin_reset(lease, {"b": 2}))
    BatchLog(place, second).write_generation()
    run(lost, place, lease, second, 0, files=3)
    report = rebuilt(store, place)
    assert (report.generation, report.generations, report.files) == (second, 2, 3)
    retired = store.queries.previous(second)
    assert (retired.token, retired.status) == (first.token, "retired")
    assert store.ledger.count(retired, "files") == 2


def test_a_reset_under_way_stays_under_way(store, lost, place):
    lease, first = begin(lost, place)
    run(lost, place, lease, first, 0)
    BatchLog(place, lost.queries.begin_reset(lease, {})).write_generation()
    assert rebuilt(store, place).generation.status == "resetting"


def test_a_generation_that_a_fresh_store_began_gives_way(store, lost, place):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    fresh = store.queries.register("clicks", {})
    BatchLog(place, fresh).write_generation()
    report = rebuilt(store, place)
    assert store.queries.get("clicks") == report.generation == generation
    assert report.ignored == (f"1-{fresh.token}",)


def test_between_two_lives_with_batches_the_tables_owner_decides(store, lost, place):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    other = replace(generation, token="0123")
    BatchLog(place, other).write_generation()
    BatchLog(place, other).write_plan(make_plan(0, entries(5, 6)))
    with pytest.raises(CursorStoreError, match="two generations 1"):
        rebuilt(store, place)
    assert rebuilt(store, place, app_id=other.app_id).generation == other


def damage(place, name):
    (path,) = place.local_path.rglob(name)
    path.write_bytes(path.read_bytes()[:30])


def test_a_plan_torn_by_the_crash_is_as_if_it_never_was(store, lost, place):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    run(lost, place, lease, generation, 1, until="plan")
    damage(place, "*1.plan.json")
    report = rebuilt(store, place)
    assert len(report.ignored) == 1
    assert report.unfinished is None  # nobody plans before the batch before is committed
    assert not BatchLog(place, generation).has_plan(1)
    lease = store.leases.acquire("clicks", "run-1")
    run(store, place, lease, generation, 1)


@pytest.mark.parametrize("name", ["*0.plan.json", "*0.seal.json", "*1.plan.json", "*1.seal.json"])
def test_damage_in_what_happened_is_an_error(store, lost, place, name):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    run(lost, place, lease, generation, 1)
    damage(place, name)
    with pytest.raises(CursorStoreError, match=r"damaged: .*json cannot be read"):
        rebuilt(store, place)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("*0.plan.json", "batch 0 has a seal and no plan"),
        ("*1.plan.json", "batch 1 has a seal and no plan"),
        ("*0.seal.json", "no seal"),
        ("*0.*.json", "batch 0 has no files"),
    ],
)
def test_missing_files_are_an_error(store, lost, place, name, match):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    run(lost, place, lease, generation, 1)
    for path in list(place.local_path.rglob(name)):
        path.unlink()
    with pytest.raises(CursorStoreError, match=match):
        rebuilt(store, place)


def test_a_store_that_holds_another_history_is_not_overwritten(cursor_url, store, lost, place):
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    store.queries.adopt(generation)
    mine = store.leases.acquire("clicks", "other")
    store.batches.plan(mine, make_plan(0, entries(7, 8)))
    mine.release()
    before = dump(cursor_url)
    with pytest.raises(CursorStoreError, match="planned already"):
        rebuilt(store, place)
    assert dump(cursor_url) == before


def test_without_files_or_lease_nothing_is_rebuilt(store, lost, place):
    with pytest.raises(UnknownQuery, match="no log files of 'clicks'"):
        rebuilt(store, place)
    lease, generation = begin(lost, place)
    run(lost, place, lease, generation, 0)
    mine = store.leases.acquire("clicks", "rebuild")
    mine.release()
    with pytest.raises(LeaseLost):
        rebuild(store, place, mine)
    assert store.batches.last(generation) is None
