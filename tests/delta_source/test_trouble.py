"""What happens to a table that is followed: the rows, or the named error, that the option says."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration import delta, delta_sink, stream
from orchestration.errors import (
    BatchBlocked,
    FileChanged,
    FileMissing,
    SchemaError,
    SourceUnavailable,
    TableColumnsChanged,
    TableLogGone,
    TableReplaced,
    TableRewritten,
    TableUnsupported,
)
from orchestration.runtime.blocked import skip_to_quarantine
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.preview import preview
from orchestration.runtime.query import StreamingQuery
from orchestration.runtime.rebuild import rebuild
from tests.delta_source.table import Follower


def delete(f):
    f.there.delete("id = 1")  # part of a file: what is left of it is written anew


def delete_a_file(f):
    f.there.delete("id < 3")


def update(f):
    f.there.update({"v": "'x'"}, predicate="id = 1")


def merge(f):
    (
        f.there.merge(
            pa.table({"id": [1, 100], "v": ["m", "n"]}),
            "s.id = t.id",
            source_alias="s",
            target_alias="t",
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )


def overwrite(f):
    f.write(pa.table({"id": [200], "v": ["o"]}), mode="overwrite")


def restore(f):
    f.there.restore(0)


CHANGES = [delete, delete_a_file, update, merge, overwrite, restore]
NAMES = {
    delete: "DELETE",
    delete_a_file: "DELETE",
    update: "UPDATE",
    merge: "MERGE",
    overwrite: "WRITE",
    restore: "RESTORE",
}


@pytest.mark.parametrize("change", CHANGES)
def test_by_default_a_change_stops_the_stream_and_is_named(tmp_path, change):
    f = Follower(tmp_path)
    f.write()
    f.write()
    f.run()
    f.write()
    change(f)
    f.write()
    stopped = f.query.execute(clock=f.clock)
    assert f.ids() == list(range(9)), "what comes before it is read"
    assert f"it stops there: version 3 of {f.where}: {NAMES[change]}" in stopped.notes[0]
    for _ in range(2):
        with pytest.raises(TableRewritten) as caught:
            f.run()
        assert f"version 3 of {f.where}: {NAMES[change]}" in str(caught.value)
        for choice in ("on_change='skip'", "change_feed=True", "'headwater reset'"):
            assert choice in caught.value.remedy
    assert f.ids() == list(range(9))
    before = sorted(DeltaTable(f.where).to_pyarrow_table()["id"].to_pylist())
    f.query.reset()
    f.run()
    assert f.ids() == before


@pytest.mark.parametrize("change", CHANGES)
def test_skip_leaves_out_the_commit_and_goes_on(tmp_path, change):
    f = Follower(tmp_path, on_change="skip")
    f.write()
    f.write()
    f.run()
    f.write()
    change(f)
    f.write()
    summary = f.query.execute(clock=f.clock)
    assert f.ids() == list(range(12))
    assert f"passed over because on_change='skip': version 3 ({NAMES[change]})" in summary.notes
    assert f.run() == []


@pytest.mark.parametrize("change", CHANGES)
def test_ignore_deletes_goes_on_after_deletes_only(tmp_path, change):
    f = Follower(tmp_path, on_change="ignore_deletes")
    f.write()
    f.write()
    f.run()
    change(f)
    f.write()
    if change in {delete, delete_a_file, restore}:  # this restore takes a file away, no more
        f.run()
        assert f.ids() == list(range(9))
    else:
        with pytest.raises(TableRewritten, match=NAMES[change]):
            f.run()
        assert f.ids() == list(range(6))


def test_a_restore_that_brings_rows_back_gives_none_twice(tmp_path):
    f = Follower(tmp_path, on_change="ignore_deletes")
    f.write()
    f.run()
    f.there.delete("id < 3")
    f.run()
    f.there.restore(0)
    f.write()
    with pytest.raises(TableRewritten, match="RESTORE"):
        f.run()
    f.options["on_change"] = "skip"
    f.run()
    assert f.ids() == list(range(6))


@pytest.mark.parametrize("point", CRASH_POINTS)
@pytest.mark.parametrize("change", [delete, update, overwrite])
def test_a_crash_beside_a_change(tmp_path, point, change):
    f = Follower(tmp_path, on_change="skip", max_files=1)
    f.write()
    f.run()
    f.write()
    assert f.crash_at(point)
    change(f)
    f.write()
    f.crash_at(point)
    f.write()
    f.run()
    assert f.ids() == list(range(12))
    assert f.run() == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_change_after_the_plan_does_not_disturb_it(tmp_path, point):
    f = Follower(tmp_path)
    f.write()
    assert f.crash_at(point)
    f.there.delete("id = 1")
    with pytest.raises(TableRewritten):
        f.run()
    assert f.ids() == [0, 1, 2]


def test_a_vacuum_takes_what_was_planned(tmp_path):
    f = Follower(tmp_path, max_files=1)
    f.write()
    f.write()
    assert f.crash_at("after_plan_log")
    f.there.optimize.compact()
    f.there.vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(FileMissing) as caught:
        f.run()
    assert "a vacuum took it" in str(caught.value)
    for choice in ("'headwater retry'", "--to-quarantine", "'headwater reset'"):
        assert choice in caught.value.remedy
    f.query.reset()
    f.run()
    assert f.ids() == list(range(6))


def test_a_vacuum_takes_what_was_not_planned_yet(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.write()
    f.write()
    f.there.optimize.compact()
    f.there.vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(FileMissing):
        f.run()
    assert f.ids() == [0, 1, 2]


# -- columns --------------------------------------------------------------------------------------


def test_an_added_column_stops_the_stream_until_it_is_declared(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.write()
    f.write(pa.table({"id": [50], "v": ["x"], "more": [1.5]}), schema_mode="merge")
    f.run()
    assert f.ids() == list(range(6))
    for _ in range(2):
        with pytest.raises(TableColumnsChanged) as caught:
            f.run()
    assert "version 2" in str(caught.value)
    assert "more DOUBLE is new" in str(caught.value)
    wanted = {"id": "BIGINT", "v": "VARCHAR", "more": "DOUBLE"}
    assert ", ".join(f'"{k}": "{v}"' for k, v in wanted.items()) in caught.value.remedy
    f.options["schema"] = wanted
    f.run()
    assert f.ids() == [*range(6), 50]
    assert f.copied()["more"].drop_nulls().to_list() == [1.5]


def test_columns_may_be_left_out_when_they_come(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.write(pa.table({"id": [50], "v": ["x"], "more": [1.5]}), schema_mode="merge")
    f.options["schema"] = {"id": "BIGINT", "v": "VARCHAR"}
    f.run()
    assert f.ids() == [0, 1, 2, 50]


def test_another_schema_by_overwrite(tmp_path):
    f = Follower(tmp_path, on_change="skip")
    f.write()
    f.run()
    f.write(pa.table({"id": ["a"], "v": [1]}), mode="overwrite", schema_mode="overwrite")
    with pytest.raises(TableColumnsChanged, match="id was BIGINT and is VARCHAR"):
        f.run()


def test_properties_may_change(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.there.alter.set_table_description("told")
    f.there.alter.set_table_properties({"delta.logRetentionDuration": "interval 3 days"})
    assert f.run() == []
    f.write()
    f.run()
    assert f.ids() == list(range(6))


def test_an_older_start_than_the_last_change_of_columns(tmp_path):
    f = Follower(tmp_path, starting_version=0)
    f.write()
    f.write(pa.table({"id": [50], "v": ["x"], "more": [1.5]}), schema_mode="merge")
    f.run()
    assert f.ids() == [0, 1, 2, 50]
    assert f.copied()["more"].drop_nulls().to_list() == [1.5]


# -- another table --------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [1, 2, 4])
def test_a_table_that_was_made_anew(tmp_path, commits):
    f = Follower(tmp_path)
    f.write()
    f.write()
    f.run()
    shutil.rmtree(f.where)
    with pytest.raises(SourceUnavailable, match="no Delta table at .* any more"):
        f.run()
    for _ in range(commits):
        f.write()
    for _ in range(2):
        with pytest.raises(TableReplaced, match="another table"):
            f.run()
    f.query.reset()
    f.run()
    assert f.ids() == list(range(6, 6 + 3 * commits))


def test_a_copy_that_went_another_way(tmp_path):
    f = Follower(tmp_path)
    f.write()
    shutil.copytree(f.where, f.where + "2")
    f.write()
    f.run()
    shutil.rmtree(f.where)
    shutil.move(f.where + "2", f.where)
    with pytest.raises(TableReplaced, match="older copy"):
        f.run()
    f.write()
    f.write()
    with pytest.raises(TableReplaced, match="another commit"):
        f.run()


def test_replaced_in_its_own_log(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    DeltaTable.create(f.where, schema=f.there.schema(), mode="overwrite")
    f.write()
    with pytest.raises((TableReplaced, TableRewritten)):
        f.run()


# -- the log --------------------------------------------------------------------------------------


def clean_log(f, keep_from):
    """What a checkpoint and the retention do, without waiting for a month."""
    log = Path(f.where) / "_delta_log"
    for path in log.glob("*.json"):
        if path.stem.isdigit() and int(path.stem) < keep_from:
            path.unlink()


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_log_that_was_cleaned_past_the_offset(tmp_path, forgotten):
    f = Follower(tmp_path)
    f.write()
    f.run()
    for _ in range(3):
        f.write()
    f.there.create_checkpoint()
    clean_log(f, 3)
    if forgotten:  # some cleaners take it along, and readers then list
        (Path(f.where) / "_delta_log/_last_checkpoint").unlink()
    for _ in range(2):
        with pytest.raises(TableLogGone) as caught:
            f.run()
    assert "begins at version 3 now, and version 1 was next" in str(caught.value)
    assert f.ids() == [0, 1, 2]
    f.query.reset()
    f.run()
    assert f.ids() == list(range(12))


def test_a_cleaned_log_does_not_matter_where_it_was_read(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.write()
    f.run()
    f.there.create_checkpoint()
    f.write()
    clean_log(f, 2)
    f.run()
    assert f.ids() == list(range(9))
    assert f.run() == []


def test_it_is_told_before_the_log_is_cleaned(tmp_path):
    f = Follower(tmp_path)
    f.write(configuration={"delta.logRetentionDuration": "interval 10 days"})
    f.run()
    f.write()

    class Later:
        def now(self):
            return datetime.now(UTC) + timedelta(days=6)

    with f.query.open() as session:
        session.clock = Later()
        notes = preview(session).backlog.notes
    assert "version 1 waits to be read and is 6.0 days old" in notes[0]
    assert "keeps its log for 10.0 days" in notes[0]


def test_a_start_that_the_log_has_no_more(tmp_path):
    f = Follower(tmp_path, starting_version=1)
    for _ in range(4):
        f.write()
    f.there.create_checkpoint()
    clean_log(f, 3)
    with pytest.raises(TableLogGone, match="begins at version 3 now, and version 1 was next"):
        f.run()


def test_the_snapshot_goes_on_after_the_log_is_cleaned(tmp_path):
    f = Follower(tmp_path, max_files=1)
    for _ in range(3):
        f.write()
    assert f.crash_at("after_ack")
    f.there.create_checkpoint()
    f.write()
    clean_log(f, 2)
    f.run()
    assert f.ids() == list(range(12))


# -- what cannot be read --------------------------------------------------------------------------


def test_deletion_vectors_column_mapping_and_what_nobody_knows(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    commit(f, {"add": {**data_file(f), "deletionVector": {"storageType": "u", "cardinality": 1}}})
    with pytest.raises(TableUnsupported, match="deletion vectors"):
        f.run()
    g = Follower(tmp_path, where=str(tmp_path / "mapped"), name="mapped")
    g.write(configuration={"delta.columnMapping.mode": "id"})
    with pytest.raises(TableUnsupported, match="by id \\(column mapping"):
        g.run()
    h = Follower(tmp_path, where=str(tmp_path / "new"), name="new")
    h.write()
    h.run()
    commit(
        h,
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["fromTheFuture", "timestampNtz"],
                "writerFeatures": ["fromTheFuture", "timestampNtz"],
            }
        },
    )
    with pytest.raises(TableUnsupported, match="fromTheFuture"):
        h.run()


def commit(f, *actions):
    version = f.there.version() + 1
    path = Path(f.where) / "_delta_log" / f"{version:020d}.json"
    path.write_text("\n".join(json.dumps(item) for item in actions))


def data_file(f, version=0):
    (line,) = [
        line
        for line in (Path(f.where) / "_delta_log" / f"{version:020d}.json").read_text().splitlines()
        if '"add"' in line
    ]
    return json.loads(line)["add"]


def test_timestamps_without_a_zone_need_one(tmp_path):
    f = Follower(tmp_path)
    f.write(pa.table({"at": pa.array([0], pa.timestamp("us"))}))
    with pytest.raises(SchemaError, match="name no time zone"):
        f.run()
    f.options["timezone"] = "Europe/Berlin"
    f.run()
    assert str(f.copied()["at"][0]) == "1969-12-31 23:00:00+00:00"


def test_partitions_by_times_without_a_zone(tmp_path):
    f = Follower(tmp_path, timezone="UTC")
    rows = pa.table({"id": [1], "at": pa.array([3_600_000_000], pa.timestamp("us"))})
    f.write(rows, partition_by=["at"])
    f.run()
    f.write(rows)
    f.run()
    assert [str(item) for item in f.copied()["at"]] == ["1970-01-01 01:00:00+00:00"] * 2
    g = Follower(tmp_path, name="g", where=f.where, timezone="Europe/Berlin")
    with pytest.raises(SchemaError, match='partitioned by "at"'):
        g.run()


# -- our own tables -------------------------------------------------------------------------------


def test_a_query_in_update_mode_is_told_what_to_do(tmp_path):
    f = Follower(tmp_path)
    f.write(pa.table({"id": [1, 2], "v": ["a", "b"]}))
    counts = StreamingQuery(
        "counts",
        stream(delta(f.where, name="in")).group_by("v").agg(n="count(*)"),
        sink=delta_sink("counts", output_mode="update"),
        settings=f.settings,
    )
    counts.run()
    g = StreamingQuery(
        "after", stream(delta("counts")), sink=delta_sink("after"), settings=f.settings
    )
    g.run()
    f.write(pa.table({"id": [3], "v": ["a"]}))
    counts.run()
    with pytest.raises(TableRewritten) as caught:
        g.run()
    assert "batch 1 of query 'counts', which rewrites files" in str(caught.value)
    assert "static(...)" in caught.value.remedy
    assert "write it in mode 'append' with a watermark" in caught.value.remedy


def test_one_pipeline_after_another(tmp_path):
    f = Follower(tmp_path)
    f.write()
    after = StreamingQuery(
        "after", stream(delta("copy")), sink=delta_sink("after"), settings=f.settings
    )
    assert after.run() == []
    f.run()
    assert [b.num_input_rows for b in after.run()] == [3]
    f.write()
    f.run()
    assert [b.num_input_rows for b in after.run()] == [3]
    assert after.reprocess().rows_read == 6
    assert after.verify().outcome == "identical"
    f.query.reset()
    with pytest.raises(TableRewritten, match="a reset of query 'copy' took away"):
        after.run()


def test_files_that_cannot_be_read(tmp_path):
    f = Follower(tmp_path)
    f.write()
    (path,) = Path(f.where).glob("*.parquet")
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(FileChanged):
        f.run()


def test_it_is_found_by_any_writer(tmp_path):
    write_deltalake(str(tmp_path / "there"), pa.table({"Id": [1], "V a l": ["x"]}))
    f = Follower(tmp_path)
    f.run()
    assert f.copied().columns == ["Id", "V a l"]


def test_a_rebuilt_cursor_store_goes_on(tmp_path):
    f = Follower(tmp_path, max_files=1)
    f.write()
    f.write()
    f.run()
    f.write()
    f.settings.home.joinpath("cursors.db").unlink()
    with f.query.open() as session:
        rebuild(session)
    f.run()
    assert f.ids() == list(range(9))
    f.settings.home.joinpath("cursors.db").unlink()
    with f.query.open() as session:
        rebuild(session)
    f.write(pa.table({"id": [50], "v": ["x"], "more": [1.5]}), schema_mode="merge")
    with pytest.raises(TableColumnsChanged, match="more DOUBLE is new"):
        f.run()


def test_a_batch_set_aside_by_hand(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.write()
    assert f.crash_at("after_plan_log")
    (Path(f.where) / data_file(f, 1)["path"]).unlink()
    for _ in range(3):
        with pytest.raises(FileMissing):
            f.run()
    with pytest.raises(BatchBlocked):
        f.run()
    with f.query.open() as session:
        skip_to_quarantine(session)
    f.write()
    f.run()
    assert f.ids() == [0, 1, 2, 6, 7, 8]
    assert f.query.reprocess().rows_read == 6
    assert f.query.verify().outcome == "identical"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"ID": "BIGINT"}, 'has the column "id"'),
        ({"other": "BIGINT"}, "none of the declared columns"),
        ({"id": "VARCHAR"}, 'the column "id" is int64 and was declared VARCHAR'),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused_before_anything_is_read(tmp_path, schema, said):
    f = Follower(tmp_path, schema=schema)
    f.write()
    with pytest.raises(SchemaError, match=said):
        f.run()


def test_columns_that_are_not_there_and_names_that_are_ours_are_told(tmp_path):
    f = Follower(tmp_path, schema={"id": "BIGINT", "later": "DATE"})
    f.write()
    assert f.notes() == ("the table has no later yet: null",)
    g = Follower(tmp_path, name="g", where=str(tmp_path / "g"))
    g.write(pa.table({"id": [1], "_file": ["x"]}))
    assert g.notes() == ("not read, because the names are reserved: _file",)
    assert g.copied().columns == ["id"]
