import pytest

from orchestration.clock import ManualClock
from orchestration.cursors.store import CursorStore


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(cursor_url, clock):
    with CursorStore.open(cursor_url, clock=clock) as store:
        yield store


@pytest.fixture
def generation(store):
    return store.queries.register("clicks", {"columns": ["a"]})


@pytest.fixture
def lease(store, generation):
    return store.leases.acquire("clicks", "run-1")
