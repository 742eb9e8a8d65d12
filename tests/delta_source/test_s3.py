"""The same troubles in an object store."""

import pyarrow as pa
import pytest

from orchestration import once
from orchestration.errors import (
    FileMissing,
    SourceUnavailable,
    TableLogGone,
    TableReplaced,
    TableRewritten,
)
from orchestration.objects import Place
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.delta_source.table import Follower


@pytest.fixture
def follower(tmp_path, s3):
    uri = s3.uri
    places = {"where": f"{uri}/there", "tables": f"{uri}/tables", "state": f"{uri}/state"}
    return lambda **options: Follower(tmp_path, **places, **options)


def forget(f, wanted):
    place = Place.open(f.where)
    place.delete([info.path for info in list(place.list()) if wanted(info.path)])


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_any_point(follower, point):
    f = follower(max_files=1, on_change="ignore_deletes")
    f.write()
    f.run()
    f.write()
    assert f.crash_at(point)
    f.there.optimize.compact()
    f.write()
    f.there.delete("id = 1")
    f.run(once())
    f.write()
    f.run()
    assert f.ids() == list(range(12))
    assert f.run() == []


def test_a_change_stops_it_and_a_reset_reads_the_table_anew(follower):
    f = follower()
    f.write()
    f.run()
    f.write(pa.table({"id": [9], "v": ["x"]}), mode="overwrite")
    with pytest.raises(TableRewritten, match=r"version 1 of s3://.*: WRITE \(Overwrite\)"):
        f.run()
    f.query.reset()
    f.run()
    assert f.ids() == [9]


def test_a_table_that_was_made_anew(follower):
    f = follower()
    f.write()
    f.write()
    f.run()
    forget(f, lambda _: True)
    with pytest.raises(SourceUnavailable, match="no Delta table"):
        f.run()
    f.write()
    with pytest.raises(TableReplaced, match="another table"):
        f.run()
    f.write()
    f.write()
    with pytest.raises(TableReplaced, match="another table"):
        f.run()


def test_a_log_that_was_cleaned(follower):
    f = follower()
    f.write()
    f.run()
    f.write()
    f.write()
    f.there.create_checkpoint()
    forget(f, lambda path: path.endswith(("0.json", "1.json")))
    with pytest.raises(TableLogGone, match="begins at version 2 now, and version 1 was next"):
        f.run()


def test_a_cleaned_log_that_was_read(follower):
    f = follower()
    f.write()
    f.write()
    f.run()
    f.there.create_checkpoint()
    f.write()
    forget(f, lambda path: path.endswith(("0.json", "1.json")))
    f.run()
    assert f.ids() == list(range(9))
    assert f.run() == []


def test_a_vacuum(follower):
    f = follower()
    f.write()
    f.write()
    f.there.optimize.compact()
    f.there.vacuum(0, dry_run=False, enforce_retention_duration=False)
    late = follower(name="late", starting_version=0)
    with pytest.raises(FileMissing, match="a vacuum took it"):
        late.run()
    f.run()
    assert f.ids() == list(range(6))
    done = f.query.reprocess()
    assert done.notes == ()
    assert f.query.verify().outcome == "identical"


def test_a_store_that_does_not_answer(tmp_path, s3, monkeypatch):
    f = Follower(tmp_path, where=f"{s3.uri}/there")
    f.write()
    f.run()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable):
        f.run()
    fresh = Follower(tmp_path, where=f"{s3.uri}/there", name="fresh")
    with pytest.raises(SourceUnavailable):
        fresh.run()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(SourceUnavailable):
        fresh.run()
