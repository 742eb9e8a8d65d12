"""One query's output is the next one's stream, whoever dies when."""

import contextlib

import polars as pl
import pytest

from orchestration import delta, delta_sink, once, stream
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.query import StreamingQuery
from tests.delta_source.table import Follower
from tests.support.runs import Crash


class Chain(Follower):
    """``there`` -> ``copy`` -> ``after``."""

    def after(self, reach=None, trigger=None):
        query = StreamingQuery(
            "after",
            stream(delta("copy", max_files=1)).select("id", w="upper(v)"),
            sink=delta_sink("after"),
            settings=self.settings,
        )
        with contextlib.suppress(Crash):
            query.execute(trigger, clock=self.clock, reach=reach or (lambda _: None))
        return query


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_both_die_at_any_point(tmp_path, point):
    f = Chain(tmp_path, max_files=1)

    def die(name):
        if name == point:
            raise Crash(point)

    for _ in range(3):
        f.write()
        f.write()
        f.crash_at(point)
        f.after()
        f.after(die)
        f.run(once())
        f.after(die, once())
    f.run()
    query = f.after()
    with query.open() as session:
        uri = session.sink_table.uri
    found = pl.read_delta(uri)
    assert sorted(found["id"]) == f.ids() == list(range(18))
    assert sorted(found["w"]) == sorted(f"V{n}" for n in range(18))
    query.reprocess()
    assert query.verify().outcome == "identical"
