"""The change data feed, in the one format that changes have."""

import pyarrow as pa
import pytest

from orchestration.errors import TableUnsupported
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.delta_source.table import Follower

FEED = {"delta.enableChangeDataFeed": "true"}


def changes(f, *columns):
    columns = columns or ("_op", "id", "v")
    return f.copied().sort("_sequence").select(columns).rows()


def replayed(f):
    """What the changes leave when they are applied in their order."""
    held = {}
    for op, key, value in changes(f):
        if op == "delete":
            held.pop(key, None)
        else:
            held[key] = value
    return held


def test_every_kind_of_change(tmp_path):
    f = Follower(tmp_path, change_feed=True)
    f.write(configuration=FEED)
    f.run()
    assert changes(f) == [("read", 0, "v0"), ("read", 1, "v1"), ("read", 2, "v2")]
    f.there.update({"v": "'new'"}, predicate="id = 1")
    f.there.delete("id = 0")
    f.write(count=1)
    f.there.optimize.compact()
    f.run()
    found = changes(f, "_op", "id", "v", "_commit_version")[3:]
    assert found == [
        ("update", 1, "new", 1),
        ("delete", 0, "v0", 2),
        ("insert", 3, "v3", 3),
    ]
    f.write(pa.table({"id": [7], "v": ["only"]}), mode="overwrite")
    f.run()
    assert replayed(f) == {7: "only"}
    row = f.copied().sort("_sequence").row(-1, named=True)
    assert row["_transaction"] == str(row["_commit_version"])
    assert row["_table"].endswith("/there")
    assert row["_unchanged"] is None
    assert row["_source_time"] == row["_commit_time"]
    assert f.run() == []


def test_merge(tmp_path):
    f = Follower(tmp_path, change_feed=True, starting_version=1)
    f.write(configuration=FEED)
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
    f.run()
    assert sorted(changes(f)) == [("delete", 2, "v2"), ("insert", 9, "n"), ("update", 1, "m")]


def test_preimages_are_deletes_that_come_first(tmp_path):
    f = Follower(tmp_path, change_feed=True, preimages="delete")
    f.write(configuration=FEED)
    f.run()
    f.there.update({"id": "id + 1"})
    f.run()
    later = changes(f)[3:]
    assert [op for op, *_ in later] == ["delete"] * 3 + ["update"] * 3
    assert replayed(f) == {1: "v0", 2: "v1", 3: "v2"}


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_changes_nothing(tmp_path, point):
    f = Follower(tmp_path, change_feed=True, max_files=1)
    f.write(configuration=FEED)
    f.run()
    f.there.update({"v": "'a'"}, predicate="id = 1")
    f.write()
    f.there.delete("id = 4")
    f.crash_at(point)
    f.there.update({"v": "'b'"}, predicate="id = 2")
    f.crash_at(point)
    f.run()
    found = changes(f)
    assert len(found) == 3 + 1 + 3 + 1 + 1
    assert replayed(f) == {0: "v0", 1: "a", 2: "b", 3: "v3", 5: "v5"}
    assert f.query.reprocess().notes == ()
    assert f.query.verify().outcome == "identical"


def test_sequences_are_the_same_whenever_they_are_read(tmp_path):
    one = Follower(tmp_path, name="one", change_feed=True, starting_version=0)
    one.write(configuration=FEED)
    one.there.update({"v": "'a'"})
    two = Follower(tmp_path, name="two", change_feed=True, starting_version=0, max_files=1)
    one.run()
    assert len(two.run()) > 1
    columns = ("_sequence", "_op", "id")
    assert changes(one, *columns) == changes(two, *columns)
    assert len(set(one.copied()["_sequence"])) == 6


def test_partitions_and_limits(tmp_path):
    f = Follower(tmp_path, change_feed=True, max_rows=2, preimages="delete")
    rows = pa.table({"id": [0, 1, 2], "v": ["a", "b", "c"], "p": ["x", "y", "y"]})
    f.write(rows, configuration=FEED, partition_by=["p"])
    f.run()
    f.there.update({"v": "'z'"})
    f.run()
    found = f.copied().sort("_sequence").select("_op", "id", "p").rows()[3:]
    assert sorted(found) == sorted(
        (op, key, part)
        for op in ("delete", "update")
        for key, part in ((0, "x"), (1, "y"), (2, "y"))
    )


def test_on_s3(tmp_path, s3):
    f = Follower(
        tmp_path,
        where=f"{s3.uri}/there",
        tables=f"{s3.uri}/tables",
        state=f"{s3.uri}/state",
        change_feed=True,
    )
    f.write(configuration=FEED)
    f.run()
    f.there.update({"v": "'new'"}, predicate="id = 1")
    f.run()
    assert replayed(f) == {0: "v0", 1: "new", 2: "v2"}
    f.query.reprocess()
    assert f.query.verify().outcome == "identical"


def test_a_table_without_a_feed(tmp_path):
    f = Follower(tmp_path, change_feed=True)
    f.write()
    with pytest.raises(TableUnsupported, match="keeps no change data feed"):
        f.run()


def test_a_feed_that_is_switched_off(tmp_path):
    f = Follower(tmp_path, change_feed=True)
    f.write(configuration=FEED)
    f.run()
    f.write()
    f.there.alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    f.run()
    assert len(changes(f)) == 6
    with pytest.raises(TableUnsupported, match="switches the change data feed off"):
        f.run()


def test_a_column_that_is_added(tmp_path):
    f = Follower(tmp_path, change_feed=True, schema={"id": "BIGINT", "more": "VARCHAR"})
    f.write(configuration=FEED)
    f.run()
    f.write(pa.table({"id": [9], "v": ["v"], "more": ["m"]}), schema_mode="merge")
    f.there.update({"more": "'n'"}, predicate="id = 9")
    f.run()
    assert changes(f, "id", "more")[-2:] == [(9, "m"), (9, "n")]
