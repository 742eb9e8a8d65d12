"""For any split of the input into files and batches, and any crashes: incremental equals full."""

import os
import tempfile

from hypothesis import HealthCheck, given, settings

from orchestration import available_now
from tests.strategies import steps
from tests.support.world import World


@settings(
    max_examples=int(os.environ.get("HEADWATER_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(steps)
def test_incremental_equals_full_whatever_happens(schedule):
    with tempfile.TemporaryDirectory() as root:
        world = World(root)
        bad = 0
        for landed, crash, files in schedule:
            for number, (rows, faults) in enumerate(landed):
                # Older and older: a high-water mark would lose all but the first.
                world.land(rows, bad=faults, mtime=1_000_000_000 - bad * 100 - number)
                bad += faults
            trigger = available_now(max_files=files)
            if crash:
                world.crash_at(crash, trigger)
            else:
                world.run(trigger)
        world.run()
        assert world.ids() == list(range(world.next_id))
        assert len(world.bad()) == bad
        world.query.reprocess()
        verification = world.query.verify()
        assert verification.passed, verification.reason
