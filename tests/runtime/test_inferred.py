"""A schema that is still to be inferred, and sources that leave out what was there before."""

import shutil

import pyarrow as pa
import pytest

from orchestration import files, stream
from orchestration.engine.duckdb import DuckDBEngine
from orchestration.errors import CursorStoreLost
from orchestration.runtime.rebuild import rebuild
from tests.support.world import World


@pytest.fixture(autouse=True)
def _inferred(monkeypatch):
    """What inference finds is the engine's affair; here it is when it is asked."""
    found = pa.schema([("id", pa.int64()), ("v", pa.string())])
    monkeypatch.setattr(DuckDBEngine, "infer", lambda *_, **__: found)


class Inferring(World):
    def stream(self):
        source = files(str(self.landing), schema="infer", **self.options)
        return stream(source).where("id >= 0").select("id", upper="upper(v)")


def forget(world):
    for path in world.settings.home.glob("cursors.db*"):
        path.unlink()


def test_a_reset_empties_the_tables_and_infers_again(tmp_path):
    world = Inferring(tmp_path)
    world.land(3, bad=1)
    world.run()
    world.query.reset()
    assert (world.ids(), world.bad()) == ([], [])
    world.run()
    assert world.ids() == [0, 1, 2]
    assert len(world.bad()) == 1


def test_a_reset_with_nothing_to_infer_from_goes_on_when_there_is(tmp_path):
    world = Inferring(tmp_path)
    landed = world.land(2)
    world.run()
    landed.unlink()
    world.query.reset()
    assert world.ids() == []
    assert world.run() == []
    world.land(1)
    world.run()
    assert world.ids() == [2]


def test_a_lost_store_is_reset(tmp_path):
    world = Inferring(tmp_path)
    world.land(3)
    world.run()
    forget(world)
    shutil.rmtree(world.settings.home / "state")
    with pytest.raises(CursorStoreLost):
        world.run()
    world.query.reset()
    world.run()
    assert world.ids() == [0, 1, 2]


@pytest.mark.parametrize("before", [0, 2])
def test_what_comes_after_the_first_look_is_read(tmp_path, before):
    world = Inferring(tmp_path, include_existing=False)
    if before:
        world.land(before)
    world.run()
    world.land(2)
    world.run()
    assert world.ids() == [before, before + 1]


@pytest.fixture
def later_only(tmp_path):
    """Two rows left out, and three read."""
    world = World(tmp_path, include_existing=False)
    world.land(2)
    world.run()
    world.land(3)
    world.run()
    assert world.ids() == [2, 3, 4]
    return world


def test_a_reset_reads_again_what_came_since_the_first_look(later_only):
    later_only.query.reset()
    later_only.land(1)
    later_only.run()
    assert later_only.ids() == [2, 3, 4, 5]


def test_a_rebuild_still_knows_what_was_left_out(later_only):
    later_only.land(1)  # comes while there is no store
    forget(later_only)
    with later_only.query.open(clock=later_only.clock) as session:
        rebuild(session)
    later_only.run()
    assert later_only.ids() == [2, 3, 4, 5]
