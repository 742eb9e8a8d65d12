"""SCD type 1 end to end: the table is as its source is, in whatever order changes come."""

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from orchestration.errors import BadRecords, SinkSchemaChanged
from tests.scd.runtime.feeds import Feed, cleared, gone, seq, up


def test_inserts_updates_and_deletes():
    feed = Feed()
    assert feed.counts(up(1, 1, "a"), up(2, 1, "b"), up(3, 1, "c")) == (3, 0, 0, 0)
    assert feed.counts(up(1, 2, "A"), gone(2, 2), up(4, 2, "d")) == (1, 1, 1, 0)
    assert feed.rows() == feed.expected()
    assert [(row["id"], row["name"], row["__sequence"]) for row in feed.rows()] == [
        (1, "A", seq(2)),
        (3, "c", seq(1)),
        (4, "d", seq(2)),
    ]


def test_an_older_change_never_overwrites_a_newer_one():
    feed = Feed()
    feed.batch(up(1, 5, "new"))
    assert feed.counts(up(1, 3, "old")) == (0, 0, 0, 1)
    assert feed.rows() == feed.expected()
    assert feed.rows()[0]["name"] == "new"


def test_a_deleted_row_is_not_brought_back_by_an_older_insert():
    feed = Feed()
    feed.batch(up(1, 1, "a"))
    feed.batch(gone(1, 5))
    assert feed.counts(up(1, 3, "late")) == (0, 0, 0, 1)
    assert feed.rows() == []
    assert feed.counts(up(1, 6, "again")) == (1, 0, 0, 0)
    assert feed.rows() == feed.expected()


def test_a_delete_that_comes_before_its_insert():
    feed = Feed()
    feed.batch(gone(1, 5))
    feed.test.restart()
    assert feed.batch(up(1, 3, "late")).rows == []
    assert feed.rows() == []


def test_the_same_changes_again_change_nothing():
    feed = Feed()
    changes = (up(1, 1, "a"), up(2, 1, "b"), gone(2, 2), up(1, 3, "c"))
    feed.batch(*changes)
    version = DeltaTable(feed.uri).version()
    inserted, updated, deleted, ignored = feed.counts(*changes)
    assert (inserted, updated, deleted) == (0, 0, 0)
    assert ignored == len(changes)
    assert DeltaTable(feed.uri).version() == version  # nothing to commit
    assert feed.rows() == feed.expected()


def test_a_truncate_deletes_what_is_older():
    feed = Feed()
    feed.batch(up(1, 1, "a"), up(2, 7, "b"), up(3, 2, "c"))
    feed.batch(cleared(5))
    assert feed.rows() == feed.expected()
    assert [row["id"] for row in feed.rows()] == [2]
    feed.batch(up(1, 4, "too old"), up(9, 3, "too old"), up(3, 6, "new"))
    assert feed.rows() == feed.expected()


def test_truncates_can_be_left_out():
    feed = Feed(sink_options={"apply_truncates": False})
    feed.batch(up(1, 1, "a"))
    feed.batch(cleared(5))
    assert [row["id"] for row in feed.rows()] == [1]


def test_soft_deletes_keep_the_row():
    feed = Feed(sink_options={"soft_delete": "is_deleted"})
    feed.batch(up(1, 1, "a"), up(2, 1, "b"))
    feed.batch(gone(1, 2))
    assert [(row["id"], row["is_deleted"]) for row in feed.rows()] == [(1, True), (2, False)]
    feed.batch(up(1, 3, "c"))
    assert [(row["name"], row["is_deleted"]) for row in feed.rows()] == [("c", False), ("b", False)]


def test_null_can_mean_as_before():
    feed = Feed(sink_options={"ignore_null_updates": True})
    feed.batch(up(1, 1, "a", 1))
    feed.batch(up(1, 3, None, 3))
    feed.batch(up(1, 2, "b", None))
    (row,) = feed.rows()
    assert (row["name"], row["seen"], row["__sequence"]) == ("b", 3, seq(3))


def test_unchanged_columns_are_as_before():
    schema = {
        "_op": "VARCHAR", "_sequence": "VARCHAR", "_unchanged": "VARCHAR[]", "id": "BIGINT",
        "name": "VARCHAR", "seen": "BIGINT",
    }  # fmt: skip
    feed = Feed(schema=schema)
    feed.batch({**up(1, 1, "long", 1), "_unchanged": None})
    feed.batch({**up(1, 2, None, 2), "_unchanged": ["name"]})
    (row,) = feed.rows()
    assert (row["name"], row["seen"]) == ("long", 2)


def test_keys_of_several_columns_and_partitions():
    feed = Feed(sink_options={"keys": ["id", "name"], "partition_by": "name"})
    feed.batch(up(1, 1, "a", 1), up(1, 1, "b", 1), up(2, 1, "a", 1))
    feed.batch(up(1, 2, "b", 9))
    assert [(r["id"], r["name"], r["seen"]) for r in feed.rows()] == [
        (1, "a", 1),
        (1, "b", 9),
        (2, "a", 1),
    ]


def test_a_row_that_moves_to_another_partition():
    feed = Feed(sink_options={"partition_by": "name"})
    feed.batch(up(1, 1, "a"), up(2, 1, "a"))
    feed.batch(up(1, 2, "b"))
    assert [(r["id"], r["name"]) for r in feed.rows()] == [(1, "b"), (2, "a")]


def test_only_files_with_changed_rows_are_written_anew():
    feed = Feed()
    for first in range(0, 100, 10):
        feed.batch(*(up(first + n, 1, "a") for n in range(10)))
    before = set(DeltaTable(feed.uri).file_uris())
    feed.batch(up(95, 2, "b"), gone(96, 2), up(100, 2, "new"))
    after = set(DeltaTable(feed.uri).file_uris())
    assert len(before - after) == 1
    assert len(after - before) == 2  # the batch's rows, and what stays of the file
    assert feed.rows() == feed.expected()


def test_changes_without_key_or_sequence_fail_before_anything_is_written():
    feed = Feed()
    feed.batch(up(1, 1, "a"))
    version = DeltaTable(feed.uri).version()
    feed.add({**up(None, 2, "no key")}, up(2, 2, "b"))
    with pytest.raises(BadRecords, match="1 of the batch's changes") as caught:
        feed.test.drain()
    assert "no key" in str(caught.value)
    assert DeltaTable(feed.uri).version() == version


def test_changes_of_files_without_a_key_go_to_quarantine(tmp_path):
    import json

    from orchestration import StreamingQuery, files, scd1_sink, stream
    from orchestration.config import Settings
    from orchestration.runtime.contents import quarantined, table_rows
    from tests.scd.runtime.feeds import SCHEMA

    landing = tmp_path / "landing"
    landing.mkdir()
    lines = [
        up(1, 1, "a"),
        up(None, 2, "no key"),
        {**up(2, 1, "b"), "_sequence": None},
        up(3, 1, "c"),
    ]
    (landing / "1.json").write_text("\n".join(json.dumps(line) for line in lines))
    query = StreamingQuery(
        "customers",
        stream(files(str(landing), format="json", schema=SCHEMA)),
        sink=scd1_sink("customers", "id"),
        settings=Settings.load(home=tmp_path / "home"),
    )
    (batch,) = query.run()
    assert batch.quarantined_rows == 2
    assert batch.details["changes"]["inserted"] == 2
    with query.open() as session:
        found = quarantined(session, 10)
    assert found.total == 2
    assert any("no key" in row["raw"] for row in found.newest)
    rows = table_rows(query.settings.tables_uri("customers"))
    assert sorted(row["id"] for row in rows) == [1, 3]


def test_a_table_with_a_change_data_feed_is_refused():
    feed = Feed()
    feed.batch(up(1, 1, "a"))
    DeltaTable(feed.uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    feed.add(up(1, 2, "b"))
    with pytest.raises(SinkSchemaChanged, match="change data feed") as caught:
        feed.test.drain()
    assert "delta.enableChangeDataFeed to false" in caught.value.remedy
    DeltaTable(feed.uri).alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    feed.test.drain()
    assert feed.rows() == feed.expected()


def test_by_any_type_of_sequence():
    for kind, values in (
        ("TIMESTAMPTZ", (1.5, 2.5)),
        ("BIGINT", (1, 2)),
        ("DATE", ("2026-01-01", "2026-01-02")),
        ("DECIMAL(10,2)", ("1.10", "1.20")),
    ):
        schema = {"id": "BIGINT", "name": "VARCHAR", "at": kind}
        feed = Feed(schema=schema, sink_options={"sequence_by": "at"})
        feed.batch({"id": 1, "name": "new", "at": values[1]})
        feed.batch({"id": 1, "name": "old", "at": values[0]})
        assert [row["name"] for row in feed.test.table()] == ["new"]


def test_what_is_remembered_expires():
    feed = Feed(sink_options={"tombstone_retention": "1 hour"})
    feed.batch(up(1, 1, "a"))
    feed.batch(gone(1, 5))
    assert feed.batch(up(2, 1, "b")).state_rows == 1
    feed.test.clock.advance(3700)
    done = feed.batch(up(1, 3, "late"))
    assert [row["name"] for row in done.rows] == ["late"]
    assert done.operators[0]["rows_removed"] == 1
    assert done.state_rows == 0


def test_readers_agree_on_counts():
    feed = Feed()
    feed.batch(*(up(n, 1, "a") for n in range(50)))
    feed.batch(*(gone(n, 2) for n in range(0, 50, 2)))
    table = DeltaTable(feed.uri)
    assert table.count() == 25
    assert pa.table(table.to_pyarrow_dataset().to_table()).num_rows == 25


def test_with_many_keys_files_are_left_out_by_bounds_alone(monkeypatch):
    monkeypatch.setattr("orchestration.engine.stateful.changes._MANY", 0)
    feed = Feed()
    for first in (0, 10, 20):
        feed.batch(*(up(first + n, 1, "a") for n in range(10)))
    before = set(DeltaTable(feed.uri).file_uris())
    feed.batch(up(21, 2, "b"), gone(29, 2))
    after = set(DeltaTable(feed.uri).file_uris())
    assert len(before - after) == 1
    assert feed.rows() == feed.expected()
    feed.batch(up(0, 3, "c"), up(29, 3, "d"), up(-5, 3, "e"))
    assert feed.rows() == feed.expected()


def test_a_batch_that_makes_several_files_is_sorted_by_key(monkeypatch):
    monkeypatch.setattr("orchestration.engine.stateful.changes._SORTED", 1)
    feed = Feed()
    feed.batch(*(up(n * 7 % 50, 1, "a") for n in range(50)))
    (path,) = DeltaTable(feed.uri).file_uris()
    import pyarrow.parquet as pq

    ids = pq.read_table(path)["id"].to_pylist()
    assert ids == sorted(ids)


def test_an_empty_key_in_a_partition_is_refused():
    feed = Feed(sink_options={"keys": ["id", "name"], "partition_by": "name"})
    feed.batch(up(1, 1, "a"), cleared(0))
    feed.add(up(1, 2, ""), up(2, 2, None))
    with pytest.raises(BadRecords, match="2 of the batch's changes") as caught:
        feed.test.drain()
    assert "Delta keeps as null" in str(caught.value)
    assert "name is null" in str(caught.value)


def test_an_inferred_schema(tmp_path):
    import json

    from orchestration import StreamingQuery, files, scd1_sink, stream
    from orchestration.config import Settings
    from orchestration.errors import SchemaError
    from orchestration.runtime.contents import table_rows

    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "1.json").write_text("\n".join(json.dumps(up(n, 1, "a")) for n in range(3)))

    def query(keys):
        return StreamingQuery(
            "customers",
            stream(files(str(landing), format="json")),
            sink=scd1_sink("customers", keys),
            settings=Settings.load(home=tmp_path / "home"),
        )

    with pytest.raises(SchemaError, match='did you mean "id"'):
        query("idd").run()
    (batch,) = query("id").run()
    assert batch.details["changes"]["inserted"] == 3
    rows = table_rows(query("id").settings.tables_uri("customers"))
    assert {"__sequence", "id", "name", "seen"} == set(rows[0])


def row_of(key, day, name):
    return {"id": key, "name": name, "day": f"2026-01-{day:02d}"}


@pytest.mark.parametrize("scd_type", [1, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_deletes_are_inferred_from_full_snapshots(scd_type, whole):
    schema = {"id": "BIGINT", "name": "VARCHAR", "day": "DATE"}
    options = {"sequence_by": "day", "full_snapshots": True, "except_columns": "day"}
    feed = Feed(scd_type, schema=schema, sink_options=options)
    snapshots = {
        1: {1: "a", 2: "b", 3: "c"},
        3: {1: "a", 3: "C", 4: "d"},
        5: {1: "a", 2: "b again", 4: "d"},
        4: {1: "a", 4: "D"},  # late
    }
    for day, rows in snapshots.items():
        given = [row_of(key, day, name) for key, name in rows.items()]
        if whole:
            feed.batch(*given)
        else:  # a snapshot in two batches
            feed.batch(*given[:1])
            feed.batch(*given[1:])
    if scd_type == 1:
        found = [(row["id"], row["name"], row["__sequence"].day) for row in feed.test.table()]
        assert sorted(found) == [(1, "a", 5), (2, "b again", 5), (4, "d", 5)]
    else:
        found = [
            (row["id"], row["name"], row["__start_at"].day, row["__end_at"] and row["__end_at"].day)
            for row in feed.test.table()
        ]
        assert sorted(found, key=str) == [
            (1, "a", 1, None),
            (2, "b again", 5, None),
            (2, "b", 1, 3),
            (3, "C", 3, 4),
            (3, "c", 1, 3),
            (4, "D", 4, 5),
            (4, "d", 3, 4),
            (4, "d", 5, None),
        ]
    feed.test.query.reprocess()
    verified = feed.test.query.verify()
    assert verified.passed, verified.reason


def test_memory_of_many_batches_is_merged_and_still_right():
    feed = Feed()
    for key in range(20):
        feed.batch(gone(key, 5), gone(0, 10 + key))
    done = feed.batch(*(up(key, 4, "late") for key in range(20)), up(0, 28, "late"))
    assert done.rows == []
    assert done.progress.details["changes"]["ignored"] == 21
    with feed.test.query.open(clock=feed.test.clock) as session:
        from orchestration.runtime.state_report import state_report

        (operator,) = state_report(session).operators
    assert operator.runs < 8
    assert feed.batch(up(0, 30, "new")).rows[0]["name"] == "new"
