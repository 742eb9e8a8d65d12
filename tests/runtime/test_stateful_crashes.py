"""Killed at every step, taken over at every step: state, late rows and table as undisturbed."""

import contextlib

import pytest
import sqlalchemy as sa

from orchestration import once
from orchestration.errors import HeadwaterError
from orchestration.testing import CRASH_POINTS
from tests.support.event_time import StreamTest, add, counts, die, distinct, settled, source, totals
from tests.support.postgres import postgres_database

#: Additions, each with what is late, early, double and of several keys in it.
STEPS = (
    ((10, "a"), (11, "a"), (12, "b"), (15, "a")),
    ((25, "a"), (12, "b"), (11, "a")),
    ((3, "a"), (25, "b"), (31, "b")),
    ((10, "a"), (50, "a"), (2, "c")),
)
QUERIES = {
    "append": (counts, "append"),
    "dedup": (distinct, "append"),
    "update": (totals, "update"),
    "complete": (totals, "complete"),
}


def feed(src, step):
    for ts, key in step:
        add(src, ts, k=key, v=int(ts))


@pytest.fixture(scope="module")
def undisturbed():
    """By query: what its tables hold when nothing happens."""
    found = {}
    for name, (query, mode) in QUERIES.items():
        src = source()
        test = StreamTest(query(src), output_mode=mode)
        for step in STEPS:
            feed(src, step)
            test.drain()
        found[name] = settled(test)
    return found


def play(name, point, **options):
    """Die at ``point`` in every step but the first, and go on."""
    query, mode = QUERIES[name]
    src = source()
    test = StreamTest(query(src), output_mode=mode, **options)
    for number, step in enumerate(STEPS):
        feed(src, step)
        assert number == 0 or die(test, point)
        test.drain()
    assert test.drain() == []
    return settled(test)


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_any_point_changes_nothing(undisturbed, name, point):
    assert play(name, point) == undisturbed[name]


@pytest.mark.parametrize("name", ["append", "update"])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_nor_does_it_with_postgresql(undisturbed, postgres_url, name, point):
    with postgres_database(postgres_url) as url:
        assert play(name, point, cursors=url) == undisturbed[name]


@pytest.mark.parametrize("name", ["append"])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_crashing_there_again_and_again_changes_nothing(undisturbed, name, point):
    query, mode = QUERIES[name]
    src = source()
    test = StreamTest(query(src), output_mode=mode)
    for step in STEPS:
        feed(src, step)
        for _ in range(2):
            die(test, point)
        test.drain()
    assert settled(test) == undisturbed[name]


@pytest.mark.parametrize("name", ["append", "update"])
def test_tables_and_state_in_an_object_store(undisturbed, s3, name):
    query, mode = QUERIES[name]
    src = source()
    places = {"tables": f"{s3.uri}/tables", "state": f"{s3.uri}/state"}
    test = StreamTest(query(src), output_mode=mode, **places)
    for step, point in zip(
        STEPS, ("during_write", "after_write", "after_seal", "after_late_commit"), strict=True
    ):
        feed(src, step)
        assert die(test, point)
        test.drain()
    assert settled(test) == undisturbed[name]


@pytest.mark.parametrize("name", ["append", "update"])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_runner_that_lost_its_lease_changes_nothing(undisturbed, name, point):
    query, mode = QUERIES[name]
    src = source()
    test = StreamTest(query(src), output_mode=mode)
    taken_over = []

    def lose():
        engine = sa.create_engine(test.settings.cursors_url)
        with engine.begin() as connection:
            connection.execute(sa.text("update headwater_leases set expires_at = 1"))
        engine.dispose()
        taken_over.append(point)
        test.query.execute(clock=test.clock)

    for number, step in enumerate(STEPS):
        feed(src, step)
        if number:
            test.at(point, lose)
        with contextlib.suppress(HeadwaterError):  # which one depends on where it was
            test.drain()
        test.drain()
    assert len(taken_over) == len(STEPS) - 1
    assert settled(test) == undisturbed[name]


def test_a_dead_attempt_leaves_no_file(tmp_path):
    def present(home):
        return {path.relative_to(home) for path in home.rglob("*") if path.suffix == ".parquet"}

    found = []
    for home, point in ((tmp_path / "plain", None), (tmp_path / "killed", "after_write")):
        src = source()
        test = StreamTest(counts(src), home=home)
        for step in STEPS:
            feed(src, step)
            if point:
                die(test, point)
            test.drain(once())
        found.append(present(home))
    plain, killed = found
    assert len(killed) == len(plain)
    manifests = list((tmp_path / "killed/state").rglob("v*.json"))
    assert len(manifests) == len(STEPS)


def test_a_lost_cursor_store_is_rebuilt_with_watermarks_and_state(undisturbed, tmp_path):
    from orchestration.runtime.rebuild import rebuild

    src = source()
    test = StreamTest(counts(src), home=tmp_path)
    for step in STEPS:
        feed(src, step)
        test.drain()
        for path in tmp_path.glob("cursors.db*"):
            path.unlink()
        with test.query.open(clock=test.clock) as session:
            rebuild(session)
        test.restart()
    test.drain()
    assert settled(test) == undisturbed["append"]


def test_another_writer_makes_the_upsert_be_made_anew(undisturbed):
    from deltalake import DeltaTable

    src = source()
    test = StreamTest(totals(src), output_mode="update")
    compacted = []

    def compact():
        uri = test.settings.tables_uri(test.query.sink.table)
        compacted.append(DeltaTable(uri).optimize.compact())

    for step in STEPS:
        feed(src, step)
        test.at("after_seal", compact)
        assert len(test.drain()) == 1
    assert len(compacted) == len(STEPS)
    assert settled(test) == undisturbed["update"]


def test_a_skipped_batch_goes_on_with_state_and_watermarks():
    from orchestration.runtime.blocked import skip_to_quarantine

    src = source()
    test = StreamTest(counts(src))
    feed(src, STEPS[0])
    test.drain()
    add(src, 25)
    test.drain(once())  # its watermark, 15, is due
    add(src, 99)
    assert die(test, "after_plan_log")
    with test.query.open(clock=test.clock) as session:
        skip_to_quarantine(session)
    (skipped,) = test.drain()
    assert (skipped.progress.skipped, skipped.quarantined) == (True, 1)
    assert [row["n"] for row in skipped.rows] == [3]  # of 10 to 15, closed in passing
    assert skipped.state_rows == 2
    add(src, 26)
    assert [batch.late_rows for batch in test.drain()] == [0, 0]
