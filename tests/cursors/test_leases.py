import logging
import os
import signal
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from orchestration.clock import ManualClock
from orchestration.cursors.store import CursorStore
from orchestration.errors import CursorStoreUnavailable, LeaseLost, QueryAlreadyRunning
from tests.cursors.support import (
    change_lease,
    connect,
    dump,
    entries,
    make_plan,
    make_seal,
    run_batch,
    start_process,
)
from tests.support.postgres import postgres_database

RUNNER = """
import sys
from orchestration.clock import SystemClock
from orchestration.cursors.store import CursorStore
from orchestration.errors import QueryAlreadyRunning
store = CursorStore.open(sys.argv[1], clock=SystemClock())
print("ready", flush=True)
sys.stdin.readline()
try:
    print(store.leases.acquire("clicks", "run-of-another-process").token, flush=True)
except QueryAlreadyRunning:
    print("refused", flush=True)
sys.stdin.readline()
store.close()
"""


def runner(url):
    process = start_process(RUNNER, url)
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def until(condition):
    """Look again and again; each look asks the database."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"


def test_a_lease_is_held_by_one_and_the_other_is_told_by_whom(store):
    lease = store.leases.acquire("clicks", "run-1")
    with pytest.raises(QueryAlreadyRunning) as caught:
        store.leases.acquire("clicks", "run-2")  # the same process, all the same
    assert str(os.getpid()) in str(caught.value)
    assert "run-1" in str(caught.value)
    assert " since 20" in str(caught.value)
    assert "Wait" in caught.value.remedy
    lease.check()
    other = store.leases.acquire("other", "run-2")
    other.check()


def test_tokens_grow_for_ever(cursor_url):
    tokens = []
    for number in range(4):
        with CursorStore.open(cursor_url, clock=ManualClock()) as store:
            lease = store.leases.acquire("clicks", f"run-{number}")
            tokens.append(lease.token)
            lease.release()
    assert tokens == sorted(set(tokens))


def test_tokens_grow_even_past_a_lost_store(tmp_path, store):
    before = store.leases.acquire("clicks", "run-1").token
    with CursorStore.open(f"sqlite:///{tmp_path}/new.db", clock=ManualClock()) as new:
        assert new.leases.acquire("clicks", "run-2").token >= before


def test_a_released_lease_is_free_and_good_for_nothing_more(store, generation):
    lease = store.leases.acquire("clicks", "run-1")
    lease.release()
    assert store.leases.holder("clicks") is None
    with pytest.raises(LeaseLost, match="released"):
        lease.check()
    with pytest.raises(LeaseLost):
        store.batches.plan(lease, make_plan(0, entries(0, 1)))
    store.leases.acquire("clicks", "run-2").check()
    lease.release()  # a second time, and the lease is another's by now
    assert store.leases.holder("clicks").run_id == "run-2"


def test_the_holder_is_shown(store):
    assert store.leases.holder("clicks") is None
    lease = store.leases.acquire("clicks", "run-1")
    held = store.leases.holder("clicks")
    assert (held.query_id, held.token, held.run_id) == ("clicks", lease.token, "run-1")
    assert held.holder.pid == os.getpid()
    assert held.alive
    assert not held.expired
    assert held.expires_at - held.acquired_at == timedelta(seconds=60)
    assert f"process {os.getpid()} on" in str(held)


def test_of_two_processes_that_ask_at_once_exactly_one_gets_it(cursor_url, store):
    processes = [runner(cursor_url) for _ in range(2)]
    for process in processes:
        tell(process)
    answers = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate("done\n", timeout=30)
    assert sorted(answer == "refused" for answer in answers) == [False, True]


def test_a_killed_process_is_taken_over_at_once_a_living_one_is_not(cursor_url, store):
    process = runner(cursor_url)
    tell(process)
    token = int(process.stdout.readline())
    with pytest.raises(QueryAlreadyRunning, match="run-of-another-process"):
        store.leases.acquire("clicks", "run-2")
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie still
    assert store.leases.holder("clicks") is None
    lease = store.leases.acquire("clicks", "run-2")
    assert lease.token > token
    assert lease.taken_over.holder.pid == process.pid
    process.communicate()


def test_a_killed_and_reaped_process_is_taken_over_at_once(cursor_url, store):
    process = runner(cursor_url)
    tell(process)
    token = int(process.stdout.readline())
    process.kill()
    process.communicate()
    assert store.leases.acquire("clicks", "run-2").token > token


@pytest.mark.parametrize(
    "holder",
    [{"started": 12345.0}, {"boot": "another-boot"}],
    ids=["its process id was used again", "the machine was restarted"],
)
def test_a_holder_that_cannot_live_any_more_is_taken_over(cursor_url, store, lease, holder):
    change_lease(cursor_url, holder=holder)
    assert store.leases.acquire("clicks", "run-2").token > lease.token


@pytest.mark.parametrize(
    "holder",
    [{"machine": "another"}, {"host": "another"}, {"namespace": "pid:[42]"}],
    ids=["another machine", "another host of the same image", "another container"],
)
def test_a_holder_elsewhere_is_left_alone_until_it_expires(cursor_url, store, lease, holder):
    # A process id that is dead here says nothing about the one there.
    change_lease(cursor_url, holder={**holder, "pid": 2**22 + 1})
    with pytest.raises(QueryAlreadyRunning):
        store.leases.acquire("clicks", "run-2")
    assert store.leases.holder("clicks").alive is None
    change_lease(cursor_url, expires_at=1)
    assert store.leases.holder("clicks") is None
    assert store.leases.acquire("clicks", "run-2").token > lease.token


def test_an_expired_lease_is_taken_even_from_a_living_process(cursor_url, store, lease):
    change_lease(cursor_url, expires_at=1)
    taken = store.leases.acquire("clicks", "run-2")
    assert taken.taken_over.run_id == "run-1"
    with pytest.raises(LeaseLost, match=r"run run-2 \(process \d+ on .*\) took it over"):
        lease.check()
    assert lease.lost
    taken.check()


def test_an_expired_lease_that_nobody_took_is_still_good_and_is_renewed(cursor_url, store, lease):
    change_lease(cursor_url, expires_at=1)
    lease.check()
    assert store.leases.holder("clicks").run_id == "run-1"


def test_a_lost_lease_is_refused_at_every_write_and_nothing_is_written(
    cursor_url, store, generation, lease
):
    run_batch(store, lease, generation, make_plan(0, entries(0, 2)), ack=False)
    plan = make_plan(1, entries(2, 3), start=2)
    store.batches.plan(lease, plan)
    store.batches.fail(lease, generation, 1, "E", "m", 1)
    change_lease(cursor_url, expires_at=1)
    store.leases.acquire("clicks", "run-2")
    before = dump(cursor_url)
    batches, queries = store.batches, store.queries
    writes = [
        lambda: batches.plan(lease, plan),
        lambda: batches.plan(lease, make_plan(2, entries(3, 4), start=3)),
        lambda: batches.seal(lease, generation, 1, make_seal(plan)),
        lambda: batches.seal(lease, generation, 0, make_seal(plan, "a2"), replaces="a1"),
        lambda: batches.commit(lease, generation, 0, {}),
        lambda: batches.acknowledge(lease, generation, 0),
        lambda: batches.fail(lease, generation, 1, "E", "m", 1),
        lambda: batches.unblock(lease, generation, 1),
        lambda: batches.mark_skip(lease, generation, 1),
        lambda: batches.restore(lease, plan, None, sealed_at=plan.timestamp, committed=False),
        lambda: queries.begin_reset(lease, {}),
        lambda: queries.finish_reset(lease, generation),
        lambda: queries.update(lease, generation, table_ids={"sink": "x"}),
        lambda: store.ledger.save_listing(lease, generation, "files", {"n": 1}),
        lease.renew,
        lease.check,
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert dump(cursor_url) == before


def test_a_holder_of_the_same_token_in_a_copy_of_the_store_is_told_apart(cursor_url, store, lease):
    change_lease(cursor_url, nonce="someone-elses")
    with pytest.raises(LeaseLost):
        lease.check()


def test_the_heartbeat_renews_the_lease_until_it_is_given_back(cursor_url, store):
    with store.leases.acquire("clicks", "run-1") as lease:
        lease.start_heartbeat()  # runs already
        assert sum(t.name == "lease-clicks" for t in threading.enumerate()) == 1
    assert store.leases.holder("clicks") is None
    assert not any(t.name == "lease-clicks" for t in threading.enumerate())
    lease = store.leases.acquire("clicks", "run-2")
    change_lease(cursor_url, expires_at=1)
    lease.start_heartbeat(interval=0.01)
    until(lambda: store.leases.holder("clicks") is not None)
    lease.release()


def test_the_heartbeat_ends_once_the_lease_is_lost(cursor_url, store):
    lease = store.leases.acquire("clicks", "run-1")
    change_lease(cursor_url, expires_at=1)
    store.leases.acquire("clicks", "run-2")
    lease.start_heartbeat(interval=0.01)
    lease._thread.join(30)
    assert not lease._thread.is_alive()
    assert lease.lost
    lease.release()
    assert store.leases.holder("clicks").run_id == "run-2"


def test_the_heartbeat_survives_a_database_that_is_away_for_a_while(postgres_url):
    with (
        postgres_database(postgres_url) as url,
        CursorStore.open(url, clock=ManualClock()) as store,
    ):
        name = url.rpartition("/")[2]
        server = connect(postgres_url).execution_options(isolation_level="AUTOCOMMIT")

        def allow(yes):
            with server.connect() as connection:
                connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {yes}"))
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        f"WHERE datname = '{name}'"
                    )
                )

        failed = threading.Event()
        log = logging.getLogger("orchestration.cursors.leases")
        handler = logging.NullHandler()
        handler.handle = lambda record: failed.set()
        log.addHandler(handler)
        lease = store.leases.acquire("clicks", "run-1")
        allow("false")
        lease.start_heartbeat(interval=0.01)
        assert failed.wait(30)
        log.removeHandler(handler)
        with pytest.raises(CursorStoreUnavailable):
            lease.check()
        assert not lease.lost  # nobody knows
        allow("true")
        change_lease(url, expires_at=1)
        until(lambda: store.leases.holder("clicks") is not None)
        lease.release()


def test_leaving_the_block_when_the_database_is_gone_keeps_the_first_error(postgres_url, caplog):
    with postgres_database(postgres_url) as url:
        store = CursorStore.open(url, clock=ManualClock())
        admin = connect(postgres_url).execution_options(isolation_level="AUTOCOMMIT")

        def work():
            with store.leases.acquire("clicks", "run-1"), admin.connect() as connection:
                name = url.rpartition("/")[2]
                connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            work()
        assert "could not be released" in caplog.text
        store.close()
