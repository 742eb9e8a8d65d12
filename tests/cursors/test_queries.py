import pytest

from orchestration.cursors.records import Generation
from orchestration.errors import CursorStoreError, UnknownQuery
from tests.cursors.support import AT, entries, make_plan, make_seal, run_batch, start_process


def test_a_query_is_registered_once(store, clock):
    assert store.queries.get("clicks") is None
    first = store.queries.register("clicks", {"a": 1}, input_schema={"x": "BIGINT"})
    assert (first.number, first.status, first.created_at) == (1, "active", clock.now())
    assert (first.fingerprint, first.input_schema, first.table_ids) == (
        {"a": 1},
        {"x": "BIGINT"},
        {},
    )
    assert store.queries.register("clicks", {"a": 2}) == first
    assert store.queries.get("clicks") == first
    other = store.queries.register("alpha", {})
    assert other.token != first.token
    assert store.queries.all() == [other, first]
    assert first.app_id == f"clicks/1-{first.token}"


REGISTER = """
import sys
from orchestration.clock import SystemClock
from orchestration.cursors.store import CursorStore
store = CursorStore.open(sys.argv[1], clock=SystemClock())
print("ready", flush=True)
sys.stdin.readline()
print(store.queries.register("clicks", {}).token, flush=True)
store.close()
"""


def test_processes_that_register_at_once_get_the_same_generation(cursor_url, store):
    processes = [start_process(REGISTER, cursor_url) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    tokens = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert tokens == {store.queries.get("clicks").token}


def test_what_is_recorded_of_a_generation_can_change(store, generation, lease):
    changed = store.queries.update(lease, generation, table_ids={"sink": "id-1"})
    assert changed.table_ids == {"sink": "id-1"}
    changed = store.queries.update(
        lease, generation, fingerprint={"b": 2}, input_schema={"x": "VARCHAR"}
    )
    assert store.queries.get("clicks") == changed
    assert (changed.table_ids, changed.token) == ({"sink": "id-1"}, generation.token)


def test_a_reset_begins_a_new_generation_with_an_empty_ledger(store, generation, lease):
    run_batch(store, lease, generation, make_plan(0, entries(0, 5)))
    reset = store.queries.begin_reset(lease, {"b": 2})
    assert (reset.number, reset.status, reset.fingerprint) == (2, "resetting", {"b": 2})
    assert reset.token != generation.token
    assert store.queries.get("clicks") == reset
    assert (
        store.queries.begin_reset(lease, {"c": 3}).token == reset.token
    )  # it died, and began anew
    active = store.queries.finish_reset(lease, reset)
    assert (active.status, active.fingerprint) == ("active", {"c": 3})
    assert store.queries.get("clicks") == active
    retired = store.queries.previous(active)
    assert (retired.number, retired.token, retired.status) == (1, generation.token, "retired")
    assert store.queries.previous(retired) is None
    assert len(store.ledger.seen(active, "files")) == 0
    assert store.ledger.offset(active, "files") == {}
    assert store.batches.last(active) is None
    assert len(store.ledger.seen(retired, "files")) == 5
    run_batch(store, lease, active, make_plan(0, entries(0, 2), generation=2))
    assert store.ledger.count(active, "files") == 2


def test_nothing_is_written_to_a_generation_that_was_reset(store, generation, lease):
    plan = make_plan(0, entries(0, 1))
    store.batches.plan(lease, plan)
    reset = store.queries.begin_reset(lease, {})
    writes = [
        lambda: store.batches.seal(lease, generation, 0, make_seal(plan)),
        lambda: store.batches.plan(lease, make_plan(1, (), start=1)),
        lambda: store.batches.fail(lease, generation, 0, "E", "m", 1),
        lambda: store.queries.update(lease, generation, fingerprint={"old": 1}),
        lambda: store.queries.finish_reset(lease, generation),
    ]
    for write in writes:
        with pytest.raises(CursorStoreError, match="retired by a reset"):
            write()
    assert store.queries.get("clicks") == reset


def test_only_a_known_query_can_be_reset(store):
    lease = store.leases.acquire("nothing", "run-1")
    with pytest.raises(UnknownQuery, match="'nothing'"):
        store.queries.begin_reset(lease, {})


def stranger(number, token, status="active"):
    return Generation("clicks", number, token, status, {"s": 1}, None, {"sink": "i"}, AT)


def test_a_generation_is_adopted_with_its_token(store):
    store.queries.adopt(stranger(1, "aaaa"))
    store.queries.adopt(stranger(2, "bbbb"))
    assert store.queries.get("clicks") == stranger(2, "bbbb")
    assert store.queries.previous(stranger(2, "bbbb")).status == "retired"
    store.queries.adopt(stranger(2, "bbbb"))
    assert store.queries.get("clicks") == stranger(2, "bbbb")


def test_an_adopted_generation_replaces_an_unused_one_never_a_used_one(store, generation, lease):
    store.queries.adopt(stranger(1, "aaaa"))
    assert store.queries.get("clicks").token == "aaaa"
    run_batch(store, lease, store.queries.get("clicks"), make_plan(0, entries(0, 1)))
    with pytest.raises(CursorStoreError, match="as aaaa.*say cccc"):
        store.queries.adopt(stranger(1, "cccc"))
