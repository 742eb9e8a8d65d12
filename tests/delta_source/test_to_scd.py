"""A table copied by its change feed: current state and history."""

import polars as pl
import pyarrow as pa
import pytest

from orchestration import delta, scd1_sink, scd2_sink, stream
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.query import StreamingQuery
from tests.delta_source.table import Follower

FEED = {"delta.enableChangeDataFeed": "true"}


class Copy(Follower):
    sink = None

    def stream(self):
        return stream(delta(self.where, change_feed=True, **self.options))

    @property
    def query(self):
        return StreamingQuery(self.name, self.stream(), sink=self.sink, settings=self.settings)


def change(f):
    f.there.update({"v": "'new'"}, predicate="id = 1")
    f.there.delete("id = 0")
    f.write()
    f.there.optimize.compact()
    (
        f.there.merge(
            pa.table({"id": [1, 2, 9], "v": ["m", "gone", "n"]}),
            "s.id = t.id",
            source_alias="s",
            target_alias="t",
        )
        .when_matched_delete("s.v = 'gone'")
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )


def there(f):
    return sorted(pl.read_delta(f.where).select("id", "v").rows())


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_current_state_is_the_table(tmp_path, point):
    f = Copy(tmp_path, max_files=1)
    f.sink = scd1_sink("copy", keys="id")
    f.write(configuration=FEED)
    assert f.crash_at(point)
    change(f)
    f.crash_at(point)
    f.run()
    assert sorted(f.copied().select("id", "v").rows()) == there(f)
    assert f.copied().columns == ["id", "v", "__sequence"]
    f.query.reprocess()
    assert f.query.verify().outcome == "identical"


def test_changed_keys_want_the_rows_of_before(tmp_path):
    f = Copy(tmp_path, preimages="delete")
    f.sink = scd1_sink("copy", keys="id")
    f.write(configuration=FEED)
    f.run()
    f.there.update({"id": "id + 1"})
    f.run()
    assert sorted(f.copied().select("id", "v").rows()) == there(f)


def test_history(tmp_path):
    f = Copy(tmp_path)
    f.sink = scd2_sink("copy", keys="id")
    f.write(configuration=FEED)
    f.run()
    change(f)
    f.run()
    history = f.copied()
    now = history.filter(pl.col("__end_at").is_null())
    assert sorted(now.select("id", "v").rows()) == there(f)
    of_one = history.filter(pl.col("id") == 1).sort("__start_at")
    assert of_one["v"].to_list() == ["v1", "new", "m"]
    assert of_one["__end_at"].to_list()[:-1] == of_one["__start_at"].to_list()[1:]
