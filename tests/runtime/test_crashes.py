"""Killed at every step of the protocol, run again: the same table."""

import pytest

from orchestration import available_now, once
from orchestration.errors import QueryAlreadyRunning
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.support.runs import Crash
from tests.support.world import World


@pytest.fixture(params=["local-sqlite", "local-postgres", "s3-sqlite"])
def world(request, tmp_path):
    kind = request.param
    cursors = tables = state = None
    if kind.endswith("postgres"):
        from tests.support.postgres import postgres_database

        with postgres_database(request.getfixturevalue("postgres_url")) as url:
            yield World(tmp_path, cursors=url)
        return
    if kind.startswith("s3"):
        bucket = request.getfixturevalue("s3").uri
        tables, state = f"{bucket}/tables", f"{bucket}/state"
    yield World(tmp_path, cursors=cursors, tables=tables, state=state)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_any_point_changes_no_row(world, point):
    world.land(3, bad=1)
    world.run()
    world.land(4, bad=2)
    assert world.crash_at(point)
    world.land(2)  # new data waits for its own batch
    batches = world.run()
    assert world.ids() == list(range(9))
    assert len(world.bad()) == 3
    assert [batch.batch_id for batch in batches][-1] == 2
    assert world.run() == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_in_the_first_batch_changes_no_row(tmp_path, point):
    world = World(tmp_path)
    world.land(3, bad=1)
    assert world.crash_at(point)
    world.run()
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_crashing_there_again_and_again_changes_no_row(tmp_path, point):
    world = World(tmp_path)
    world.land(3, bad=1)
    for _ in range(3):
        world.crash_at(point)
    world.run()
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


def test_a_replay_reads_the_same_range_at_the_same_time(tmp_path):
    world = World(tmp_path)
    world.land(3)
    seen = []
    query = world.query

    def die(point):
        if point == "after_write":
            raise Crash

    with pytest.raises(Crash):
        query.execute(
            clock=world.clock, reach=die, on_plan=lambda plan, _: seen.append(plan.timestamp)
        )
    world.land(5)
    world.clock.advance(3600)
    replayed, following = world.run()
    assert (replayed.replayed, replayed.num_output_rows) == (True, 3)
    assert replayed.at == seen[0]
    assert following.num_output_rows == 5


def test_a_sealed_batch_is_committed_without_its_input(tmp_path):
    world = World(tmp_path)
    landed = world.land(3)
    assert world.crash_at("after_seal")
    landed.unlink()
    world.run()
    assert world.ids() == [0, 1, 2]


def test_a_dead_attempt_leaves_no_file(tmp_path):
    world = World(tmp_path)
    world.land(3)
    assert world.crash_at("after_write")
    world.run()
    on_disk = {path.name for path in (world.settings.home / "tables/clicks").glob("*.parquet")}
    assert len(on_disk) == 1


def test_once_counts_a_replayed_batch_as_its_one(tmp_path):
    world = World(tmp_path)
    world.land(1)
    assert world.crash_at("after_write", once())
    world.land(1)
    assert [batch.batch_id for batch in world.run(once())] == [0]
    assert [batch.batch_id for batch in world.run(once())] == [1]


def test_two_runners_at_once_are_one(tmp_path):
    world = World(tmp_path)
    world.land(3)
    refused = []

    def second(point):
        if point == "after_write":
            with pytest.raises(QueryAlreadyRunning) as caught:
                world.run()
            refused.append(str(caught.value))

    world.run(reach=second)
    assert world.ids() == [0, 1, 2]
    assert len(refused) == 1


def test_available_now_stops_at_what_was_there(tmp_path):
    world = World(tmp_path)
    for _ in range(4):
        world.land(1)

    def more(point):
        if point == "after_plan_log":
            world.land(1)

    batches = world.run(available_now(max_files=2), reach=more)
    assert [batch.num_output_rows for batch in batches] == [2, 2]
