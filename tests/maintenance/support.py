"""A query of many small batches, and the days that pass over its tables."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestration import once
from orchestration.runtime.maintenance import maintain
from tests.support.runs import Crash

DAY = timedelta(days=1)


def at_now(world):
    """Its clock shows the real time, by which files are old or young."""
    world.clock.advance(datetime.now(UTC) - world.clock.now())
    return world


def later(world, days=8):
    world.clock.advance(days * DAY)


def batches(world, number, rows=3, bad=0):
    for _ in range(number):
        world.land(rows, bad=bad)
        world.run(once())


def maintained(world, *, reach=None, **options):
    with world.query.open(clock=world.clock) as session:
        return maintain(session, reach=reach, **options)


def of(done, role="sink"):
    return next(item for item in done.tables if item.role == role)


def data_files(world, suffix=""):
    return sorted(Path(world.uri + suffix).glob("*.parquet"))


def log_files(world):
    return sorted(path.name for path in Path(world.uri, "_delta_log").iterdir())


def crash_at(world, point, **options):
    def reach(name):
        if name == point:
            raise Crash(point)

    with pytest.raises(Crash):
        maintained(world, reach=reach, **options)
