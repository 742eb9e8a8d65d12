"""Tables whose rows are marked as deleted instead of rewritten."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.errors import FileMissing, TableRewritten, TableUnsupported
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.delta_source.table import Follower
from tests.delta_source.vectors import CONFIGURATION, mark_deleted


def paths(f):
    return pa.table(f.there.get_add_actions()).column("path").to_pylist()


def world(tmp_path, **options):
    f = Follower(tmp_path, **options)
    rows = pa.table({"id": [0, 1, 2, 3], "p": ["a b", "a b", "c", "c"]})
    f.write(rows, partition_by=["p"], configuration={**CONFIGURATION, **options_of(options)})
    f.next_id = 4
    return f


def options_of(options):
    return {"delta.enableChangeDataFeed": "true"} if options.get("change_feed") else {}


def more(f, *ids):
    f.write(pa.table({"id": list(ids), "p": ["c"] * len(ids)}))


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_rows_that_were_gone_at_the_start_are_left_out(tmp_path, point):
    f = world(tmp_path, max_files=1)
    (path,) = [item for item in paths(f) if "a%" in item]
    mark_deleted(f.where, {path: [0]})
    assert f.crash_at(point)
    more(f, 7)
    f.run()
    assert f.ids() == [1, 2, 3, 7]
    f.query.reprocess()
    assert f.query.verify().outcome == "identical"


def test_large_files(tmp_path):
    f = Follower(tmp_path)
    f.write(count=70_000, configuration=CONFIGURATION)
    (path,) = paths(f)
    mark_deleted(f.where, {path: [0, 5, 65_535]})
    f.run()
    expected = set(range(70_000)) - {0, 5, 65_535}
    assert f.ids() == sorted(expected)


def test_later_deletes_are_changes_like_others(tmp_path):
    f = world(tmp_path)
    f.run()
    (path,) = [item for item in paths(f) if "a%" in item]
    mark_deleted(f.where, {path: [0]})
    more(f, 7)
    with pytest.raises(TableRewritten, match="DELETE"):
        f.run()
    f.options["on_change"] = "ignore_deletes"
    f.run()
    assert f.ids() == [0, 1, 2, 3, 7]


def test_an_update_by_marking_is_an_update(tmp_path):
    f = world(tmp_path, on_change="ignore_deletes")
    f.run()
    (path,) = [item for item in paths(f) if "a%" in item]
    mark_deleted(f.where, {path: [0]}, operation="UPDATE")
    with pytest.raises(TableRewritten, match="UPDATE"):
        f.run()


def test_a_change_stream_begins_with_what_is_there(tmp_path):
    f = world(tmp_path, change_feed=True)
    (path,) = [item for item in paths(f) if "a%" in item]
    mark_deleted(f.where, {path: [1]})
    f.run()
    found = f.copied().sort("_sequence").select("_op", "id", "p").rows()
    assert sorted(found) == [("read", 0, "a b"), ("read", 2, "c"), ("read", 3, "c")]


def test_what_the_feed_does_not_tell_is_refused(tmp_path):
    f = world(tmp_path, change_feed=True)
    f.run()
    (path,) = [item for item in paths(f) if "a%" in item]
    mark_deleted(f.where, {path: [0]})
    with pytest.raises(TableUnsupported, match="deletion vectors"):
        f.run()


def test_a_log_that_forgot_which_rows_were_deleted(tmp_path):
    f = world(tmp_path)
    (path,) = [item for item in paths(f) if "a%" in item]
    mark_deleted(f.where, {path: [0]})
    assert f.crash_at("after_plan_log")
    more(f, 7)
    f.there.create_checkpoint()
    log = Path(f.where) / "_delta_log"
    (log / f"{0:020d}.json").unlink()
    shutil.copy(log / f"{1:020d}.json", tmp_path / "kept")
    (log / f"{1:020d}.json").unlink()
    with pytest.raises(FileMissing, match="is not to be found any more"):
        f.run()
    f.query.reset()
    f.run()
    assert f.ids() == [1, 2, 3, 7]
