"""Runners that lost their lease, at any step, and other writers in between."""

import contextlib

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration.errors import HeadwaterError
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.support.world import World


def steal(world):
    """Make the lease look expired, as after 60 silent seconds, and run as somebody else."""
    import sqlalchemy as sa

    engine = sa.create_engine(world.settings.cursors_url)
    with engine.begin() as connection:
        connection.execute(sa.text("update headwater_leases set expires_at = 1"))
    engine.dispose()


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_runner_that_lost_its_lease_writes_nothing_twice(tmp_path, point):
    world = World(tmp_path)
    world.land(3, bad=1)
    successor = []

    def lose(name):
        if name == point and not successor:
            successor.append(True)
            steal(world)
            world.run()

    with contextlib.suppress(HeadwaterError):  # which one depends on where it was
        world.run(reach=lose)
    world.run()
    assert successor
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_zombie_from_before_a_reset_writes_nothing(tmp_path, point):
    world = World(tmp_path)
    world.land(3, bad=1)
    done = []

    def reset(name):
        if name == point and not done:
            done.append(True)
            steal(world)
            world.query.reset()
            world.run()

    with contextlib.suppress(HeadwaterError):
        world.run(reach=reset)
    world.run()
    assert done
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


@pytest.mark.parametrize("what", ["append", "compact"])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_another_writer_between_any_two_steps_loses_nothing(tmp_path, point, what):
    world = World(tmp_path)
    world.land(2)
    world.run()
    world.land(2)
    world.run()
    world.land(3, bad=1)
    done = []

    def interfere(name):
        if name == point and not done:
            done.append(True)
            if what == "append":
                row = pa.table({"id": [1000], "upper": ["FOREIGN"]})
                write_deltalake(world.uri, row, mode="append")
            else:
                DeltaTable(world.uri).optimize.compact()

    world.run(reach=interfere)
    assert done
    assert world.ids() == [*range(7), *([1000] if what == "append" else [])]
    assert len(world.bad()) == 1
