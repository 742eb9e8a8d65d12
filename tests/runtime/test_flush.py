"""``flush``: the watermark moved once by hand, exactly once, and never back."""

from datetime import datetime

import pytest

from orchestration import stream
from orchestration.errors import DeclarationError
from orchestration.runtime.flush import flush
from orchestration.testing import CRASH_POINTS, SimulatedCrash
from tests.support.event_time import StreamTest, add, at, counts, said, source, totals, windows


@pytest.fixture
def src():
    return source()


@pytest.fixture
def test(src):
    found = StreamTest(counts(src))
    add(src, 10, 22)
    found.drain()
    return found


def test_everything_that_ends_by_then_is_given(test):
    (batch,) = test.query.flush(at(25), clock=test.clock).batches
    assert batch.num_output_rows == 2
    assert batch.event_time["watermark"] == "1970-01-01T00:00:25Z"
    assert windows(test.table()) == [(10.0, 1), (20.0, 1)]


def test_again_it_finds_nothing_to_do(test):
    assert test.query.flush(at(25), clock=test.clock).batches
    assert test.query.flush(at(25), clock=test.clock).batches == []
    assert test.query.flush(at(24), clock=test.clock).batches == []
    assert test.drain() == []


def test_what_ends_later_stays_open_and_later_batches_go_on_from_there(src, test):
    test.query.flush(at(24), clock=test.clock)
    assert windows(test.table()) == [(10.0, 1)]
    add(src, 21, 12)
    assert said(test.drain()) == [([], 24.0, 1, 1)]
    add(src, 36)
    assert said(test.drain()) == [([], 24.0, 0, 2), ([(20.0, 2)], 26.0, 0, 1)]


def test_input_that_was_not_read_is_not_read_by_it(src, test):
    add(src, 23)
    (batch,) = test.query.flush(at(24), clock=test.clock).batches
    assert batch.num_input_rows == 0
    assert said(test.drain())[0] == ([], 24.0, 0, 1)


@pytest.mark.parametrize("point", CRASH_POINTS)
@pytest.mark.parametrize("then", ["flush", "run"])
def test_a_crash_anywhere_changes_nothing(test, point, then):
    def die(name):
        if name == point:
            raise SimulatedCrash(name)

    with pytest.raises(SimulatedCrash):
        flush(test.query, at(25), clock=test.clock, reach=die)
    if then == "flush":
        test.query.flush(at(25), clock=test.clock)
    test.drain()
    assert windows(test.table()) == [(10.0, 1), (20.0, 1)]
    assert test.query.flush(at(25), clock=test.clock).batches == []
    with test.query.open(clock=test.clock) as session:
        generation = session.store.queries.get(test.query.name)
        plans = [item.plan for item in session.store.batches.history(generation)]
    assert [plan.event_time.get("flush_us") for plan in plans][0] == 25_000_000
    assert len([plan for plan in plans if "flush_us" in plan.event_time]) == 1


@pytest.mark.parametrize(
    ("query", "mode", "says"),
    [
        (lambda src: stream(src), "append", "no watermark"),
        (totals, "update", "no watermark"),
        (counts, "complete", "nothing to close"),
    ],
)
def test_where_nothing_closes_it_is_refused(src, query, mode, says):
    with pytest.raises(DeclarationError, match=says):
        StreamTest(query(src), output_mode=mode).query.flush(at(25))


def test_a_time_without_a_zone_is_refused(test):
    with pytest.raises(DeclarationError, match="zone"):
        test.query.flush(datetime(2026, 1, 1))
