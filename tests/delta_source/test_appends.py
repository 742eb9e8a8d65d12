"""Rows that are appended come once, whatever the table is like."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from orchestration import once
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.delta_source.table import Follower


@pytest.fixture(params=["local", "s3"])
def follower(request, tmp_path):
    places = {}
    if request.param == "s3":
        bucket = request.getfixturevalue("s3").uri
        places = {
            "where": f"{bucket}/there",
            "tables": f"{bucket}/tables",
            "state": f"{bucket}/state",
        }
    return lambda **options: Follower(tmp_path, **places, **options)


def test_first_the_table_as_it_is_then_what_comes(follower):
    f = follower()
    f.write()
    f.write()
    assert [b.num_input_rows for b in f.run()] == [6]
    assert f.run() == []
    f.write()
    f.write()
    (batch,) = f.run()
    assert batch.num_input_rows == 6
    assert batch.sources[0].start_offset["version"] == 2
    assert f.ids() == list(range(12))
    assert f.run() == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_any_point_loses_and_doubles_nothing(tmp_path, point):
    f = Follower(tmp_path, max_files=1)
    f.write()
    f.write()
    assert f.crash_at(point, once())
    f.write()
    f.run(once())
    f.write()
    f.crash_at(point)
    f.there.optimize.compact()
    f.there.vacuum(0, dry_run=True, enforce_retention_duration=False)
    f.write()
    f.run()
    assert f.ids() == list(range(15))
    assert f.run() == []


def test_a_table_that_is_not_there_yet(follower):
    f = follower()
    assert f.run() == []
    f.write()
    f.run()
    assert f.ids() == [0, 1, 2]


def test_a_table_without_rows(tmp_path):
    f = Follower(tmp_path)
    f.write(f.rows().slice(0, 0))
    assert f.run() == []
    assert f.copied().columns == ["id", "v"]
    f.write(count=2)
    f.run()
    f.write(f.rows().slice(0, 0))
    assert f.run() == []
    f.write(count=1)
    f.run()
    assert len(f.ids()) == 3


def test_limits_cut_a_commit_and_a_snapshot_between_files(tmp_path):
    f = Follower(tmp_path, max_files=2)
    day = pa.array([f"d{n}" for n in range(5)])
    rows = pa.table({"id": pa.array(range(5), pa.int64()), "day": day})
    f.write(rows, partition_by=["day"])
    assert [b.num_input_rows for b in f.run()] == [2, 2, 1]
    f.write(rows)
    f.write(rows)
    batches = f.run()
    assert [b.num_input_rows for b in batches] == [2, 2, 2, 2, 2]
    ends = [b.sources[0].end_offset for b in batches]
    assert [(e["version"], e["file"], e["files"]) for e in ends] == [
        (1, 2, 7),
        (1, 4, 9),
        (2, 1, 11),
        (2, 3, 13),
        (3, 0, 15),
    ]
    assert [b.sources[0].files_outstanding for b in batches] == [8, 6, 4, 2, 0]
    assert batches[0].sources[0].bytes_outstanding > batches[1].sources[0].bytes_outstanding > 0
    assert f.ids() == sorted([*range(5)] * 3)


def test_limits_across_processes_inside_the_snapshot(tmp_path):
    f = Follower(tmp_path, max_rows=2)
    f.write(count=2)
    f.write(count=2)
    f.write(count=2)
    assert f.crash_at("after_plan_log")
    f.write(count=2)
    f.there.optimize.compact()
    f.write(count=2)
    f.run()
    assert f.ids() == list(range(10))
    assert f.run() == []


def test_partition_values_come_from_the_log_with_their_types(follower):
    f = follower()
    rows = pa.table(
        {
            "id": pa.array([0, 1], pa.int64()),
            "day": pa.array([dt.date(2026, 1, 2), None]),
            "at": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), None]),
            "text": ["a b/ü=%", None],
            "ok": [True, None],
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        }
    )
    parts = ["day", "at", "text", "ok", "price"]
    f.write(rows, partition_by=parts)
    f.run()  # from the snapshot
    f.write(rows)
    f.run()  # from the log
    expected = pl.concat([pl.DataFrame(pl.from_arrow(rows))] * 2)
    found = f.copied().select(expected.columns)
    assert found.sort("id").rows() == expected.sort("id").rows()


def test_optimize_gives_no_row_and_no_batch(tmp_path):
    f = Follower(tmp_path)
    for _ in range(3):
        f.write()
    f.run()
    f.there.optimize.compact()
    assert f.run() == []
    f.write()
    f.there.optimize.z_order(["id"])
    f.there.create_checkpoint()
    f.write()
    f.run()
    assert f.ids() == list(range(15))


def test_starting_version(tmp_path):
    f = Follower(tmp_path, starting_version=1)
    for _ in range(3):
        f.write()
    f.run()
    f.write()
    f.run()
    assert f.ids() == list(range(3, 12))


def test_starting_version_that_is_still_to_come(tmp_path):
    f = Follower(tmp_path, starting_version=3)
    f.write()
    assert f.notes() == ("it begins at version 3, and the table is at 0",)
    f.write()
    f.write()
    assert f.run() == []
    f.write()
    f.run()
    assert f.ids() == [9, 10, 11]


def test_starting_with_the_latest_stays_where_it_first_looked(tmp_path):
    f = Follower(tmp_path, starting_version="latest")
    f.write()
    assert f.run() == []
    f.write()
    f.write()
    f.run()
    assert f.ids() == list(range(3, 9))
    f.query.reset()
    f.run()
    assert f.ids() == list(range(3, 9))


def test_starting_timestamp(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.write()
    times = sorted(entry["timestamp"] for entry in f.there.history())
    moment = dt.datetime.fromtimestamp(times[1] / 1000, dt.UTC)
    after = Follower(tmp_path, name="after", starting_timestamp=moment)
    after.run()
    assert after.ids() == [3, 4, 5]
    future = Follower(tmp_path, name="future", starting_timestamp="2099-01-01T00:00:00Z")
    assert future.run() == []
    assert "version 1 is older" in future.notes()[0]


def test_reset_reads_the_table_as_it_is_now(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.there.delete("id = 1")
    f.query.reset()
    f.run()
    assert f.ids() == [0, 2]


def test_the_twin_reads_the_same_files(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.write()
    f.there.optimize.compact()
    f.write()
    f.run()
    done = f.query.reprocess()
    assert (done.rows_read, done.notes) == (9, ())
    assert f.query.verify().outcome == "identical"


def test_the_twin_names_what_a_vacuum_took(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.write()
    f.run()
    f.there.optimize.compact()
    f.there.vacuum(0, dry_run=False, enforce_retention_duration=False)
    done = f.query.reprocess()
    assert done.rows_read == 0
    assert "2 files were taken by a vacuum since" in done.notes[0]


def test_declared_columns_are_read_and_no_others(tmp_path):
    f = Follower(tmp_path, schema={"v": "VARCHAR", "later": "BIGINT"})
    f.write()
    f.run()
    f.write(pa.table({"id": [9], "v": ["x"], "later": [5]}), schema_mode="merge")
    assert f.run()[0].num_input_rows == 1
    assert sorted(f.copied().rows()) == [("v0", None), ("v1", None), ("v2", None), ("x", 5)]


def test_a_copy_of_the_table_is_the_same_table(tmp_path):
    import shutil

    f = Follower(tmp_path)
    f.write()
    f.run()
    shutil.copytree(f.where, f.where + "2", copy_function=shutil.copyfile)
    shutil.rmtree(f.where)
    shutil.move(f.where + "2", f.where)
    f.write()
    f.run()
    assert f.ids() == list(range(6))
