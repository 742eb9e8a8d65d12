"""Step 6: one batch becomes one commit, whatever other writers and crashes do."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration.cursors.records import DataFile
from orchestration.errors import (
    ConfigError,
    CursorStoreBehindSink,
    CursorStoreLost,
    DeclarationError,
    LeaseLost,
    SinkError,
    SinkOwned,
    SinkReplaced,
    SinkSchemaChanged,
)
from orchestration.sinks.actions import add_action, log_path, remove_action
from orchestration.sinks.commit import BATCH_NEVER, BatchCommit, commit_batch, overwrite
from orchestration.sinks.declaration import delta_sink
from orchestration.sinks.snapshot import read_snapshot
from orchestration.sinks.table import Owner, SinkTable

SCHEMA = pa.schema([("id", pa.int64()), ("day", pa.string())])
OWNER = Owner("clicks", "clicks/1-abc", "store-a", "sink")


def ours():
    """The lease is held."""


@pytest.fixture
def table(tmp_path):
    made = SinkTable(str(tmp_path / "clicks"), OWNER, SCHEMA)
    made.known = made.ensure(None)
    return made


def written(table, name, ids, **stats):
    path = Path(table.uri) / name
    pq.write_table(pa.table({"id": ids, "day": ["x"] * len(ids)}, schema=SCHEMA), path)
    found = {"numRecords": len(ids), "minValues": {"id": min(ids)}, "maxValues": {"id": max(ids)}}
    return DataFile(
        path=name,
        size=path.stat().st_size,
        rows=len(ids),
        modified_ms=1,
        stats=json.dumps(found | stats),
    )


def batch(table, number, ids, *, attempt="1-a", plan="p"):
    file = written(table, f"part-{number}-{attempt}.parquet", ids)
    return BatchCommit(number, attempt, plan, (file,), {"offsets": {"files": {"end": number}}})


def commit(table, commit_, still_ours=ours):
    return commit_batch(table, table.known, commit_, still_ours=still_ours)


def ids(table):
    return sorted(pl.read_delta(table.uri)["id"].to_list())


def test_a_batch_committed_twice_is_there_once(table):
    first = batch(table, 0, [1, 2])
    assert commit(table, first).repeated is False
    assert commit(table, first).repeated is True
    assert ids(table) == [1, 2]


def test_a_repeated_batch_is_found_behind_foreign_commits(table):
    first = batch(table, 0, [1])
    version = commit(table, first).version
    for number in range(20):
        write_deltalake(table.uri, pa.table({"id": [100 + number], "day": ["f"]}), mode="append")
    again = commit(table, first)
    assert (again.repeated, again.version) == (True, version)


def test_another_plan_under_the_same_id_is_refused(table):
    commit(table, batch(table, 0, [1], plan="p"))
    with pytest.raises(CursorStoreBehindSink, match="older copy"):
        commit(table, batch(table, 0, [2], attempt="2-b", plan="q"))
    assert ids(table) == [1]


def test_a_batch_below_the_newest_is_refused(table):
    commit(table, batch(table, 0, [1]))
    commit(table, batch(table, 1, [2]))
    with pytest.raises(CursorStoreBehindSink, match="already holds batch 1"):
        commit(table, batch(table, 0, [3], attempt="2-b"))
    assert ids(table) == [1, 2]


def test_a_zombie_from_before_a_reset_cannot_commit(table):
    commit(table, batch(table, 0, [1]))
    overwrite(table, (), transactions={OWNER.app_id: BATCH_NEVER}, details={}, still_ours=ours)
    assert ids(table) == []
    with pytest.raises(CursorStoreBehindSink):
        commit(table, batch(table, 1, [2]))

    def lost():
        raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        commit(table, batch(table, 1, [2]), still_ours=lost)
    assert ids(table) == []


def test_a_reset_repeated_is_done_once(table):
    commit(table, batch(table, 0, [1]))
    closing = {OWNER.app_id: BATCH_NEVER}
    first = overwrite(table, (), transactions=closing, details={}, still_ours=ours)
    commit_new = SinkTable(table.uri, Owner("clicks", "clicks/2-def", "store-a", "sink"), SCHEMA)
    commit_new.known = table.known
    commit(commit_new, batch(commit_new, 0, [7]))
    overwrite(table, (), transactions=closing, details={}, still_ours=ours)
    assert ids(table) == [7]
    assert first == 2


@pytest.mark.parametrize("foreign", ["append", "compact"])
def test_a_foreign_commit_between_check_and_commit_loses_nothing(table, foreign):
    commit(table, batch(table, 0, [1]))
    write_deltalake(table.uri, pa.table({"id": [50], "day": ["f"]}), mode="append")
    done = []

    def get_in_between():
        if done:
            return
        done.append(True)
        if foreign == "append":
            write_deltalake(table.uri, pa.table({"id": [99], "day": ["f"]}), mode="append")
        else:
            DeltaTable(table.uri).optimize.compact()

    commit(table, batch(table, 1, [2]), still_ours=get_in_between)
    assert ids(table) == sorted([1, 2, 50] + ([99] if foreign == "append" else []))


def test_two_runners_with_the_same_sealed_batch_commit_it_once(table):
    same = batch(table, 0, [1])
    other = []

    def the_other_is_first():
        if not other:
            other.append(True)
            commit(table, same)

    outcome = commit(table, same, still_ours=the_other_is_first)
    assert ids(table) == [1]
    assert outcome.version == 1


def test_a_deleted_table_is_not_made_anew(table):
    import shutil

    shutil.rmtree(table.uri)
    with pytest.raises(SinkReplaced, match="gone"):
        table.ensure(table.known)
    with pytest.raises(SinkReplaced):
        commit(table, BatchCommit(0, "1-a", "p", (), {}))


def test_a_recreated_table_is_noticed(table):
    import shutil

    shutil.rmtree(table.uri)
    SinkTable(table.uri, OWNER, SCHEMA).ensure(None)
    with pytest.raises(SinkReplaced, match="its id is"):
        commit(table, batch(table, 0, [1]))


def test_a_table_of_another_query_is_refused(table):
    thief = SinkTable(table.uri, Owner("other", "other/1-x", "store-a", "sink"), SCHEMA)
    with pytest.raises(SinkOwned, match="'clicks', not"):
        thief.ensure(None)


def test_a_table_that_headwater_did_not_make_is_refused(tmp_path):
    uri = str(tmp_path / "theirs")
    write_deltalake(uri, pa.table({"id": [1], "day": ["x"]}))
    with pytest.raises(SinkOwned, match="did not make"):
        SinkTable(uri, OWNER, SCHEMA).ensure(None)


def test_a_lost_cursor_store_is_noticed(table):
    newcomer = SinkTable(table.uri, Owner("clicks", "clicks/1-new", "store-b", "sink"), SCHEMA)
    with pytest.raises(CursorStoreLost, match="no record"):
        newcomer.ensure(None)


def test_a_store_that_was_replaced_by_a_rebuilt_one_may_not_write(table):
    SinkTable(table.uri, Owner("clicks", "clicks/1-abc", "store-b", "sink"), SCHEMA).take_over()
    with pytest.raises(SinkOwned, match="taken over by cursor store store-b"):
        commit(table, batch(table, 0, [1]))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (pa.schema([("id", pa.int32()), ("day", pa.string())]), "column id is int64"),
        (pa.schema([("id", pa.int64())]), "day was added by others"),
        (SCHEMA.append(pa.field("new", pa.int64())), "new .* is missing"),
    ],
)
def test_other_columns_are_refused(table, declared, message):
    with pytest.raises(SinkSchemaChanged, match=message):
        SinkTable(table.uri, OWNER, declared).ensure(table.known)


def test_other_partitioning_is_refused(table):
    with pytest.raises(SinkSchemaChanged, match="partitioned by"):
        SinkTable(table.uri, OWNER, SCHEMA, ("day",)).ensure(table.known)


def test_a_constraint_that_our_files_would_bypass_is_refused(table):
    DeltaTable(table.uri).alter.add_constraint({"positive": "id > 0"})
    with pytest.raises(SinkSchemaChanged, match="CHECK constraint positive"):
        table.ensure(table.known)


def test_add_columns_evolves_and_old_rows_read_null(table):
    commit(table, batch(table, 0, [1]))
    wider = SCHEMA.append(pa.field("extra", pa.struct([("a", pa.string())])))
    SinkTable(table.uri, OWNER, wider, schema_evolution="add_columns").ensure(table.known)
    assert pl.read_delta(table.uri).to_dicts() == [{"id": 1, "day": "x", "extra": None}]


def test_a_column_added_by_others_between_batches_is_refused(table):
    from deltalake.schema import Field, PrimitiveType

    DeltaTable(table.uri).alter.add_columns([Field("theirs", PrimitiveType("string"))])
    with pytest.raises(SinkSchemaChanged, match="theirs was added"):
        commit(table, batch(table, 0, [1]))


@pytest.mark.parametrize(
    "stats",
    [
        {"minValues": {"id": "text"}},
        {"minValues": {"id": True}},
        {"minValues": {"nope": 1}},
        {"numRecords": 7},
        {"maxValues": {"day": 5}},
        {"nullCount": {"id": None}},
    ],
)
def test_a_wrong_statistic_never_reaches_the_log(table, stats):
    file = written(table, "bad.parquet", [1], **stats)
    with pytest.raises(SinkError):
        commit(table, BatchCommit(0, "1-a", "p", (file,), {}))
    assert DeltaTable(table.uri).version() == 0
    assert ids(table) == []


def test_the_history_shows_what_a_commit_holds(table):
    commit(table, batch(table, 0, [1]))
    newest = DeltaTable(table.uri).history(1)[0]
    assert newest["headwater.batch_id"] == "0"
    assert json.loads(newest["headwater.offsets"]) == {"files": {"end": 0}}


def test_names_that_need_encoding_read_back(tmp_path):
    table = SinkTable(str(tmp_path / "a b#ü'?"), OWNER, SCHEMA)
    table.known = table.ensure(None)
    commit(table, batch(table, 0, [1], attempt="1 %41#ü"))
    assert DeltaTable(table.uri).to_pyarrow_table()["id"].to_pylist() == [1]
    snapshot = read_snapshot(table)
    assert (Path(table.uri) / snapshot.files[0].path).exists()


def test_a_path_that_delta_rs_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'%'"):
        SinkTable(str(tmp_path / "a%20b"), OWNER, SCHEMA)


def test_every_name_is_taken_out_as_it_was_added(table):
    """A removal under another name than the log's is taken without a word, and does nothing."""
    names = [f"x{chr(code)}y" for code in [*range(1, 127), 233, 0x4E2D, 0x1F600]]
    files = [
        DataFile(f"d{n}/{name}", 1, 1, 1, stats='{"numRecords":1}')
        for n, name in enumerate(names)
        if name not in ("x.y", "x/y")
    ]
    handle = DeltaTable(table.uri)
    adds = [add_action(file, SCHEMA, ()) for file in files]
    handle.create_write_transaction(adds, mode="append", schema=handle.schema())
    log = (Path(table.uri) / f"_delta_log/{1:020d}.json").read_text().splitlines()
    named = {json.loads(line)["add"]["path"] for line in log if '"add"' in line}
    assert named == {log_path(file.path) for file in files}
    snapshot = read_snapshot(table)
    assert {item.path for item in snapshot.files} == {file.path for file in files}
    assert all(item.removable for item in snapshot.files)
    handle = DeltaTable(table.uri)
    removes = [remove_action(file, datetime(2026, 1, 1, tzinfo=UTC)) for file in files]
    handle.create_write_transaction(removes, mode="append", schema=handle.schema())
    assert DeltaTable(table.uri).file_uris() == []


def test_files_are_only_removed_against_a_known_version():
    file = DataFile("a.parquet", 1, 1, 1)
    with pytest.raises(ValueError, match="known version"):
        BatchCommit(0, "a", "p", (), {}, removes=(file,))


def test_on_late_is_a_choice_of_two():
    assert delta_sink("t").on_late == "table"
    assert delta_sink("t", on_late="drop").on_late == "drop"
    with pytest.raises(DeclarationError, match="on_late='keep' is unknown"):
        delta_sink("t", on_late="keep")
