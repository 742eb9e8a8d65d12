"""The cursor store deleted, or brought back from an older copy."""

import shutil

import pytest

from orchestration.errors import CursorStoreBehindSink, CursorStoreLost
from orchestration.runtime.rebuild import rebuild
from tests.runtime.test_zombies import steal
from tests.support.world import World


def forget(world):
    for path in world.settings.home.glob("cursors.db*"):
        path.unlink()


def copy(world, to):
    for path in world.settings.home.glob("cursors.db*"):
        shutil.copy(path, to / path.name)


def bring_back(world, source):
    forget(world)
    for path in source.glob("cursors.db*"):
        shutil.copy(path, world.settings.home / path.name)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.land(3, bad=1)
    made.run()
    return made


@pytest.fixture
def older(world, tmp_path):
    """A copy of the store from before the second batch, which is there now."""
    directory = tmp_path / "backup"
    directory.mkdir()
    copy(world, directory)
    world.land(2)
    world.run()
    return directory


def mended(world):
    with world.query.open(clock=world.clock) as session:
        return rebuild(session)


def test_a_deleted_store_is_noticed_and_nothing_is_written(world):
    forget(world)
    with pytest.raises(CursorStoreLost, match="no record") as caught:
        world.run()
    assert "cursors rebuild" in caught.value.remedy
    assert world.ids() == [0, 1, 2]


def test_a_deleted_store_is_rebuilt_and_goes_on(world):
    forget(world)
    report = mended(world)
    assert (report.batches, report.files) == (1, 1)
    world.land(2)
    world.run()
    assert world.ids() == [0, 1, 2, 3, 4]
    assert len(world.bad()) == 1
    world.query.reprocess()
    assert world.query.verify().passed


def test_an_older_copy_is_noticed_and_nothing_is_written(world, older):
    bring_back(world, older)
    world.land(1)
    with pytest.raises(CursorStoreBehindSink, match="older copy"):
        world.run()
    assert world.ids() == [0, 1, 2, 3, 4]


def test_an_older_copy_is_noticed_where_the_lost_batch_added_no_row(world, tmp_path):
    directory = tmp_path / "backup"
    directory.mkdir()
    copy(world, directory)
    (world.landing / "negative.json").write_text('{"id": -5, "v": "x"}\n')
    world.run()
    bring_back(world, directory)
    with pytest.raises(CursorStoreBehindSink, match="state directory"):
        world.run()


def test_an_older_copy_is_rebuilt_and_goes_on(world, older):
    bring_back(world, older)
    mended(world)
    world.land(1)
    world.run()
    assert world.ids() == [0, 1, 2, 3, 4, 5]
    world.query.reprocess()
    assert world.query.verify().passed


def test_the_store_that_was_replaced_may_not_come_back(world, tmp_path):
    directory = tmp_path / "backup"
    directory.mkdir()
    copy(world, directory)
    forget(world)
    mended(world)
    world.land(1)
    world.run()
    bring_back(world, directory)
    with pytest.raises((CursorStoreBehindSink, Exception), match="taken over|older copy"):
        world.run()
    assert world.ids() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "point", ["after_plan_log", "after_write", "after_seal", "after_sink_commit"]
)
def test_a_store_lost_in_the_middle_of_a_batch_is_rebuilt(world, point):
    world.land(4, bad=1)
    assert world.crash_at(point)
    forget(world)
    mended(world)
    world.run()
    assert world.ids() == list(range(7))
    assert len(world.bad()) == 2


def test_a_rebuild_without_log_files_says_what_to_do(world):
    forget(world)
    shutil.rmtree(world.settings.home / "state")
    with pytest.raises(CursorStoreLost, match="holds no plan"):
        mended(world)
    world.query.reset()
    world.run()
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


@pytest.mark.parametrize("point", ["after_plan_log", "after_write"])
def test_a_copy_made_in_the_middle_of_a_batch_is_noticed_and_rebuilt(world, tmp_path, point):
    directory = tmp_path / "backup"
    directory.mkdir()
    world.land(2)
    world.run(reach=lambda name: copy(world, directory) if name == point else None)
    bring_back(world, directory)
    steal(world)  # the copy says that this very process runs it
    with pytest.raises(CursorStoreBehindSink, match="holds its result"):
        world.run()
    mended(world)
    world.land(1)
    world.run()
    assert world.ids() == [0, 1, 2, 3, 4, 5]
