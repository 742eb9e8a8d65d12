"""Killed anywhere, run again: every change once, and none missing."""

import pytest

from orchestration import available_now
from orchestration.errors import SourceError
from orchestration.testing import CRASH_POINTS

TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, v text)"


def ids(shop):
    return [row["after"]["id"] for row in shop.log() if row["_op"] != "read"]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_any_point_changes_no_row(shop, point):
    shop.options["snapshot"] = "never"
    shop.sql(TABLE)
    shop.run()
    shop.sql("INSERT INTO t SELECT g FROM generate_series(1, 5) g")
    shop.run()
    shop.sql("INSERT INTO t SELECT g FROM generate_series(6, 9) g")
    reached = shop.crash_at(point)
    assert reached or point in {"after_quarantine_commit", "after_late_commit"}
    shop.sql("ALTER TABLE t ADD COLUMN w int")  # it waits for its own batch
    shop.sql("INSERT INTO t VALUES (10)")
    shop.run()
    assert ids(shop) == [str(n) for n in range(1, 11)]
    assert [op for op, _, _ in shop.said(shapes=True)].count("schema") == 2
    assert shop.run() == []
    sequences = [row["_sequence"] for row in shop.log(shapes=True)]
    assert len(set(sequences)) == len(sequences)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_while_slot_and_copy_are_made_changes_no_row(shop, point):
    shop.options["chunk_rows"] = 10
    shop.sql(TABLE)
    shop.sql("INSERT INTO t SELECT g FROM generate_series(1, 25) g")
    for nth in range(5):
        shop.crash_at(point)
        shop.sql("INSERT INTO t VALUES (%s)", 100 + nth)
    shop.run()
    newest = {}
    for row in shop.log():
        newest[row["after"]["id"]] = row["after"]
    assert sorted(int(key) for key in newest) == [*range(1, 26), *range(100, 105)]
    read = [row["after"]["id"] for row in shop.log() if row["_op"] == "read"]
    assert len(set(read)) == len(read)


def test_the_copy_goes_on_where_it_was_killed(shop):
    shop.options["chunk_rows"] = 10
    shop.sql("CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b))")
    shop.sql("INSERT INTO t SELECT g / 7, chr(97 + g % 7), g FROM generate_series(1, 45) g")
    assert shop.crash_at("after_mark_committed")  # slot made
    assert shop.crash_at("after_mark_committed")  # ten rows
    assert len(shop.log()) == 10
    shop.sql("UPDATE t SET v = v + 1000")
    shop.sql("DELETE FROM t WHERE a = 3")
    assert [batch.num_output_rows for batch in shop.run()][:3] == [10, 10, 8]  # of 38 left
    read = [row for row in shop.log() if row["_op"] == "read"]
    assert len({row["_sequence"] for row in read}) == 2  # two processes, two places in the log
    state = {}
    for row in shop.log():
        values = row["after"] or row["before"]
        key = (values["a"], values["b"])
        if row["_op"] == "delete":
            state.pop(key, None)
        else:
            state[key] = values["v"]
    there = {(str(a), b): str(v) for a, b, v in shop.sql("SELECT a, b, v FROM t")}
    assert state == there


def test_a_table_without_a_key_is_copied_in_one_part(shop):
    shop.options["chunk_rows"] = 10
    shop.sql("CREATE TABLE t (v text)")
    shop.sql("ALTER TABLE t REPLICA IDENTITY FULL")
    shop.sql("INSERT INTO t SELECT 'x' FROM generate_series(1, 25) g")
    assert [batch.num_output_rows for batch in shop.run()] == [0, 25]


def test_a_table_that_is_declared_later_is_copied_then(shop):
    shop.sql(TABLE)
    shop.sql("CREATE TABLE u (id int PRIMARY KEY)")
    shop.sql("INSERT INTO u VALUES (1), (2)")
    shop.run()
    shop.tables.append("public.u")
    shop.sql("ALTER PUBLICATION p ADD TABLE u")
    shop.sql("INSERT INTO u VALUES (3)")
    shop.run()
    read = sorted(row["after"]["id"] for row in shop.log(table="public.u") if row["_op"] == "read")
    assert read == ["1", "2", "3"]


def test_a_filtered_publication_copies_what_it_publishes(shop):
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, v text, secret text)")
    shop.sql("CREATE PUBLICATION p FOR TABLE t (id, v) WHERE (id > 1)")
    shop.sql("INSERT INTO t VALUES (1, 'a', 's'), (2, 'b', 's')")
    shop.run()
    shop.sql("INSERT INTO t VALUES (3, 'c', 's')")
    shop.run()
    assert [after for _, _, after in shop.said()] == [
        {"id": "2", "v": "b"},
        {"id": "3", "v": "c"},
    ]


def test_after_a_reset_tables_are_copied_again(shop):
    shop.sql(TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    shop.query.reset()
    shop.sql("INSERT INTO t VALUES (2, 'b')")
    shop.run()
    assert sorted(after["id"] for op, _, after in shop.said() if op == "read") == ["1", "2"]


def test_the_log_itself_is_not_read_a_second_time(shop):
    shop.sql(TABLE)
    shop.run()
    with pytest.raises(SourceError, match="read once") as caught:
        shop.query.reprocess()
    assert "change log holds them" in caught.value.remedy


def test_a_dry_run_makes_nothing_and_takes_nothing(shop):
    from orchestration.runtime.preview import preview

    def previewed():
        with shop.query.open(clock=shop.clock) as session:
            return preview(session, available_now())

    shop.sql(TABLE)
    assert previewed().batches
    assert shop.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", shop.slot)[
        0
    ] == (0,)
    shop.run()
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    before = shop.confirmed()
    assert len(previewed().batches) == 1
    assert shop.confirmed() == before
    shop.run()
    assert len(shop.log()) == 1


def test_the_cursor_store_may_be_on_the_same_server(shop):
    shop.settings = type(shop.settings).load(home=shop.settings.home, cursors=shop.url)
    shop.sql(TABLE)
    shop.run()
    for _ in range(3):
        assert shop.run() == []  # its own commits are nobody's changes


def test_a_lost_cursor_store_is_rebuilt(shop):
    from orchestration.runtime.rebuild import rebuild

    shop.sql(TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    shop.sql("INSERT INTO t VALUES (2, 'b')")
    shop.run()
    for path in shop.settings.home.glob("cursors.db*"):
        path.unlink()
    with shop.query.open(clock=shop.clock) as session:
        rebuild(session)
    shop.sql("INSERT INTO t VALUES (3, 'c')")
    shop.run()
    assert sorted(after["id"] for _, _, after in shop.said()) == ["1", "2", "3"]


def test_it_is_not_proved_by_reading_it_again(shop):
    from orchestration.errors import HeadwaterError
    from orchestration.runtime.prove import prove

    shop.sql(TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    with pytest.raises(HeadwaterError):
        prove(shop.query, ["false"])
    assert len(shop.log()) == 1


def test_how_far_behind_is_told_until_it_is_read(shop):
    from datetime import UTC, datetime

    shop.options["snapshot"] = "never"
    shop.sql(TABLE)
    shop.run()
    shop.sql("INSERT INTO t SELECT g FROM generate_series(1, 50) g")
    query = shop.query

    class History:
        listing = {}
        offset = shop_offset(shop)

    waiting = query.source.poll(History(), clock=shop.clock, settings=shop.settings)
    assert waiting.bytes > 1000
    assert abs((datetime.now(UTC) - waiting.oldest).total_seconds()) < 60
    assert "behind" in waiting.notes[0]
    summary = query.execute(clock=shop.clock)
    assert (summary.backlog.bytes, summary.backlog.oldest) == (0, None)


def shop_offset(shop):
    from orchestration.cursors.store import CursorStore

    with CursorStore.open(shop.settings.cursors_url, clock=shop.clock) as store:
        return store.batches.last(store.queries.get(shop.name)).plan.slices[0].end
