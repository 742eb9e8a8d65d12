"""Killed at every step, taken over at every step, beside other writers: the same table."""

import contextlib

import pytest
import sqlalchemy as sa
from deltalake import DeltaTable

from orchestration.errors import HeadwaterError
from orchestration.testing import CRASH_POINTS
from tests.scd.runtime.feeds import Feed, cleared, gone, up
from tests.support.postgres import postgres_database

#: Batches with late, doubled and older changes, deletes and inserts after them, and a truncate.
STEPS = (
    (up(1, 10, "a"), up(2, 11, "b"), up(3, 12, "c"), up(4, 13, "d"), up(5, 3, "e")),
    (up(1, 20, "A"), gone(2, 21), up(3, 5, "older"), gone(9, 30), up(6, 22, "f")),
    (up(2, 15, "late"), up(9, 25, "late"), up(1, 20, "A"), gone(3, 23), up(3, 24, "back")),
    (cleared(21), up(1, 26, "new"), up(4, 14, "too old"), gone(6, 27)),
)


@pytest.fixture(params=[1, 2])
def scd_type(request):
    return request.param


def play(scd_type, point, times=1, **options):
    """Die at ``point`` in every step but the first, and go on."""
    feed = Feed(scd_type, **options)
    for number, step in enumerate(STEPS):
        feed.add(*step)
        for _ in range(times if number else 0):
            feed.die(point)
        feed.test.drain()
    assert feed.test.drain() == []
    return feed


def test_undisturbed(scd_type):
    feed = Feed(scd_type)
    for step in STEPS:
        feed.batch(*step)
        assert feed.rows() == feed.expected()


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_any_point_changes_nothing(scd_type, point):
    feed = play(scd_type, point)
    assert feed.rows() == feed.expected()


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_crashing_there_again_and_again_changes_nothing(point):
    feed = play(2, point, times=2)
    assert feed.rows() == feed.expected()


@pytest.mark.parametrize("point", ["after_seal", "after_sink_commit"])
def test_nor_does_it_with_postgresql(postgres_url, scd_type, point):
    with postgres_database(postgres_url) as url:
        feed = play(scd_type, point, cursors=url)
        assert feed.rows() == feed.expected()


def test_tables_and_state_in_an_object_store(s3, scd_type):
    from orchestration.runtime.contents import table_rows
    from tests.scd.runtime.feeds import sorted_rows

    places = {"tables": f"{s3.uri}/tables", "state": f"{s3.uri}/state"}
    feed = Feed(scd_type, **places)
    for step, point in zip(
        STEPS, ("during_write", "after_write", "after_seal", "after_sink_commit"), strict=True
    ):
        feed.add(*step)
        assert feed.die(point)
        feed.test.drain()
    assert sorted_rows(table_rows(feed.uri)) == feed.expected()
    spooled = feed.test.settings.spool_dir
    assert not [path for path in spooled.rglob("*") if path.is_file()]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_runner_that_lost_its_lease_changes_nothing(scd_type, point):
    feed = Feed(scd_type)
    taken_over = []

    def lose():
        engine = sa.create_engine(feed.test.settings.cursors_url)
        with engine.begin() as connection:
            connection.execute(sa.text("update headwater_leases set expires_at = 1"))
        engine.dispose()
        taken_over.append(point)
        feed.test.query.execute(clock=feed.test.clock)

    for number, step in enumerate(STEPS):
        feed.add(*step)
        if number:
            feed.test.at(point, lose)
        with contextlib.suppress(HeadwaterError):  # which one depends on where it was
            feed.test.drain()
        feed.test.drain()
    assert taken_over
    assert feed.rows() == feed.expected()


@pytest.mark.parametrize("crash", [False, True])
def test_a_foreign_compaction_between_seal_and_commit(scd_type, crash):
    feed = Feed(scd_type)
    compacted = []

    def compact():
        compacted.append(DeltaTable(feed.uri).optimize.compact())

    for step in STEPS:
        feed.add(*step)
        feed.test.at("after_seal", compact)
        if crash:
            assert feed.die("after_seal")
        assert len(feed.test.drain()) == 1
        assert feed.rows() == feed.expected()
    assert len(compacted) == len(STEPS)


def test_only_deletes_and_a_foreign_compaction(scd_type):
    """The seal adds no row, and still knows which rows to take out."""
    feed = Feed(scd_type)
    feed.batch(up(1, 1, "a"), up(2, 1, "b"))
    feed.batch(up(3, 1, "c"))
    feed.test.at("after_seal", lambda: DeltaTable(feed.uri).optimize.compact())
    feed.batch(gone(1, 2), gone(3, 2))
    assert feed.rows() == feed.expected()


def test_a_lost_commit_is_found_in_the_table(scd_type):
    feed = Feed(scd_type)
    for number, step in enumerate(STEPS):
        feed.add(*step)
        feed.test.drain()
        feed.test.lose_commit(number)
        feed.test.restart()
    feed.test.drain()
    assert feed.rows() == feed.expected()


def test_a_lost_cursor_store_is_rebuilt_with_its_memory(scd_type, tmp_path):
    from orchestration.runtime.rebuild import rebuild

    feed = Feed(scd_type, home=tmp_path)
    for step in STEPS:
        feed.add(*step)
        feed.test.drain()
        for path in tmp_path.glob("cursors.db*"):
            path.unlink()
        with feed.test.query.open(clock=feed.test.clock) as session:
            rebuild(session)
        feed.test.restart()
    feed.test.drain()
    assert feed.rows() == feed.expected()


def test_a_dead_attempt_leaves_no_file(scd_type, tmp_path):
    found = []
    for home, point in ((tmp_path / "plain", None), (tmp_path / "killed", "after_write")):
        feed = Feed(scd_type, home=home)
        for step in STEPS:
            feed.add(*step)
            if point:
                feed.die(point)
            feed.test.drain()
        found.append(len(list(home.rglob("*.parquet"))))
    assert found[0] == found[1]


def test_a_reset_starts_anew(scd_type):
    feed = Feed(scd_type)
    for step in STEPS:
        feed.batch(*step)
    feed.test.query.reset()
    assert feed.rows() == []
    feed.test.drain()
    assert feed.rows() == feed.expected()


def test_a_skipped_batch_goes_on_with_its_memory():
    from orchestration.runtime.blocked import skip_to_quarantine

    feed = Feed()
    feed.batch(gone(1, 5))
    feed.add(up(2, 1, "skipped"))
    assert feed.die("after_plan_log")
    with feed.test.query.open(clock=feed.test.clock) as session:
        skip_to_quarantine(session)
    (skipped,) = feed.test.drain()
    assert skipped.progress.skipped
    feed.batch(up(1, 3, "late"))
    assert feed.rows() == []
