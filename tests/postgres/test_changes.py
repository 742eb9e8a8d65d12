"""Every kind of message, every common type, as the server writes them."""

import pytest

from orchestration import available_now
from orchestration.sources.postgres import slot as slot_module
from orchestration.sources.postgres import spooled as spooled_module
from orchestration.sources.postgres.rows import lsn_number
from tests.postgres.types import VALUES


def started(shop, *statements, **options):
    """Tables made, slot made, nothing copied."""
    shop.options.update(snapshot="never", **options)
    for statement in statements:
        shop.sql(statement)
    shop.run()
    return shop


TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, name text, big text)"


def test_insert_update_delete_truncate(shop):
    started(shop, TABLE)
    shop.transaction(
        "INSERT INTO t VALUES (1, 'a', null), (2, 'b', 'x')",
        "UPDATE t SET name = 'c' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "TRUNCATE t",
    )
    shop.run()
    assert shop.said() == [
        ("insert", None, {"id": "1", "name": "a", "big": None}),
        ("insert", None, {"id": "2", "name": "b", "big": "x"}),
        ("update", None, {"id": "1", "name": "c", "big": None}),
        ("delete", {"id": "2"}, None),
        ("truncate", None, None),
    ]
    rows = shop.log(shapes=True)
    assert {row["_table"] for row in rows} == {"public.t"}
    assert len({row["_transaction"] for row in rows}) == 1
    assert len({row["_source_time"] for row in rows}) == 1
    ends = {row["_sequence"][:16] for row in rows}
    assert len(ends) == 1
    assert [row["_sequence"][17:] for row in rows] == [f"{n:010d}" for n in range(6)]
    assert ends == {f"{lsn_number(shop.confirmed()):016x}"}


def test_a_changed_key_is_a_delete_and_an_insert(shop):
    started(shop, TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a', null)")
    shop.sql("UPDATE t SET id = 2, name = 'b'")
    shop.run()
    assert shop.said()[1:] == [
        ("delete", {"id": "1"}, None),
        ("insert", None, {"id": "2", "name": "b", "big": None}),
    ]


def test_values_stored_apart_that_did_not_change(shop):
    started(shop, TABLE)
    shop.sql("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    shop.sql("INSERT INTO t VALUES (1, 'a', repeat('x', 20000)), (2, 'b', 'short')")
    shop.sql("UPDATE t SET name = name || '!'")
    shop.run()
    first, second = shop.log()[2:]
    assert (first["after"], first["_unchanged"]) == (
        {"id": "1", "name": "a!", "big": None},
        ["big"],
    )
    assert (second["after"]["big"], second["_unchanged"]) == ("short", None)


def test_full_identity_gives_the_row_before(shop):
    started(shop, TABLE, "ALTER TABLE t REPLICA IDENTITY FULL")
    shop.sql("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    shop.sql("INSERT INTO t VALUES (1, 'a', repeat('x', 20000))")
    shop.sql("UPDATE t SET name = 'b'")
    shop.sql("UPDATE t SET id = 5")
    shop.sql("DELETE FROM t")
    shop.run()
    big = "x" * 20000
    assert shop.said()[1:] == [
        ("update", {"id": "1", "name": "a", "big": big}, {"id": "1", "name": "b", "big": big}),
        ("delete", {"id": "1", "name": "b", "big": big}, None),
        ("insert", None, {"id": "5", "name": "b", "big": big}),
        ("delete", {"id": "5", "name": "b", "big": big}, None),
    ]
    assert all(row["_unchanged"] is None for row in shop.log())


def test_without_a_key_another_value_is_another_row(shop):
    started(shop, "CREATE TABLE t (a int, b text)", "ALTER TABLE t REPLICA IDENTITY FULL")
    shop.sql("INSERT INTO t VALUES (1, 'x'), (1, 'x')")
    shop.sql("UPDATE t SET b = 'y'")
    shop.sql("UPDATE t SET b = 'y'")
    shop.run()
    assert [op for op, _, _ in shop.said()] == [
        *("insert", "insert", "delete", "insert", "delete", "insert"),
        *("update", "update"),
    ]


def test_an_index_as_identity(shop):
    started(
        shop,
        "CREATE TABLE t (id int, code text NOT NULL UNIQUE)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key",
    )
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.sql("DELETE FROM t")
    shop.run()
    assert shop.said()[1] == ("delete", {"code": "a"}, None)


def test_several_tables_in_one_transaction(shop):
    shop.tables = ["public.t", 'public.Od"d']
    started(shop, TABLE, 'CREATE TABLE "Od""d" (" k" int PRIMARY KEY, "v""\\" text)')
    shop.transaction(
        "INSERT INTO t VALUES (1)",
        'INSERT INTO "Od""d" VALUES (1, E\'a"\\\\b\\n\\t\\x01ü😀\')',
        "INSERT INTO t VALUES (2)",
        'TRUNCATE t, "Od""d"',
    )
    shop.run()
    assert [(row["_table"], row["_op"]) for row in shop.log()] == [
        ("public.t", "insert"),
        ('public.Od"d', "insert"),
        ("public.t", "insert"),
        *sorted([("public.t", "truncate"), ('public.Od"d', "truncate")], reverse=True),
    ]
    assert shop.log()[1]["after"] == {" k": "1", 'v"\\': 'a"\\b\n\t\x01ü😀'}


def test_tables_that_were_not_asked_for_are_left_out(shop):
    shop.sql(TABLE)
    shop.sql("CREATE TABLE other (id int PRIMARY KEY)")
    shop.sql("CREATE PUBLICATION p FOR ALL TABLES")
    started(shop)
    shop.transaction("INSERT INTO other VALUES (1)", "INSERT INTO t VALUES (1)", "TRUNCATE other")
    shop.run()
    assert [row["_table"] for row in shop.log(shapes=True)] == ["public.t", "public.t"]


def test_a_column_added_dropped_and_retyped_is_noticed_in_its_place(shop):
    started(shop, "CREATE TABLE t (id bigint PRIMARY KEY, v int)")
    shop.sql("INSERT INTO t VALUES (1, 1)")
    shop.sql("ALTER TABLE t ADD COLUMN more text")
    shop.sql("INSERT INTO t VALUES (2, 2, 'x')")
    shop.sql("ALTER TABLE t ALTER v TYPE numeric(10,2)")
    shop.sql("INSERT INTO t VALUES (3, 3, 'y')")
    shop.transaction("ALTER TABLE t DROP COLUMN more", "INSERT INTO t VALUES (4, 4)")
    shop.run()
    assert [(op, after) for op, _, after in shop.said(shapes=True)] == [
        ("schema", {"id": "bigint", "v": "integer"}),
        ("insert", {"id": "1", "v": "1"}),
        ("schema", {"id": "bigint", "v": "integer", "more": "text"}),
        ("insert", {"id": "2", "v": "2", "more": "x"}),
        ("schema", {"id": "bigint", "v": "numeric(10,2)", "more": "text"}),
        ("insert", {"id": "3", "v": "3.00", "more": "y"}),
        ("schema", {"id": "bigint", "v": "numeric(10,2)"}),
        ("insert", {"id": "4", "v": "4.00"}),
    ]
    shop.sql("INSERT INTO t VALUES (5, 5)")
    shop.run()
    assert [op for op, _, _ in shop.said(shapes=True)][8:] == ["insert"]  # nothing new to say


@pytest.mark.parametrize("way", ["copied", "followed"])
def test_every_type_as_the_server_writes_it(shop, way):
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(VALUES))
    shop.sql("CREATE TYPE mood AS ENUM ('sad', 'so so')")
    shop.sql("CREATE DOMAIN positive AS int CHECK (value > 0)")
    shop.sql("CREATE TYPE pair AS (a int, b text)")
    shop.sql(f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
    if way == "followed":
        started(shop)
    values = ", ".join(f"({text})::{kind}" for kind, text, _ in VALUES)
    shop.sql(f"INSERT INTO t VALUES (1, {values}), (2{', null' * len(VALUES)})")
    shop.run()
    first, second = (after for _, _, after in shop.said())
    found = {kind: first[f"c{n}"] for n, (kind, _, _) in enumerate(VALUES)}
    assert found == {kind: expected for kind, _, expected in VALUES}
    assert set(second.values()) == {"2", None}


def test_batches_are_whole_transactions(shop):
    started(shop, TABLE)
    for start in range(1, 60, 20):
        shop.sql(f"INSERT INTO t SELECT g FROM generate_series({start}, {start + 19}) g")
    sizes = [batch.num_output_rows for batch in shop.run(available_now(max_rows=30))]
    assert sizes == [41, 20]  # one row says what the table is like
    assert len(shop.log()) == 60


def test_a_batch_takes_about_so_many_bytes_of_the_log(shop):
    started(shop, TABLE)
    for n in range(20):
        shop.sql(f"INSERT INTO t SELECT g FROM generate_series({n * 100}, {n * 100 + 99}) g")
    batches = shop.run(available_now(max_bytes=20_000))
    assert len(batches) > 5
    assert all(batch.num_output_rows in {100, 101, 200, 201, 300, 301} for batch in batches)
    assert len(shop.log()) == 2000
    assert [after["id"] for _, _, after in shop.said()] == [str(n) for n in range(2000)]


def test_a_transaction_larger_than_anything_is_spilled(shop, monkeypatch):
    monkeypatch.setattr(slot_module, "_ONE_PIECE", 10_000)
    monkeypatch.setattr(slot_module, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(spooled_module, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(spooled_module, "_KEPT", 50_000)
    started(shop, TABLE, max_bytes=5_000, idle_bytes=10_000)
    shop.sql("INSERT INTO t VALUES (0)")
    shop.sql("INSERT INTO t SELECT g, 'name ' || g FROM generate_series(1, 20000) g")
    shop.sql("UPDATE t SET name = 'x' WHERE id = 1")
    sizes = [batch.num_output_rows for batch in shop.run()]
    assert 20_000 in sizes
    rows = shop.log()
    assert [row["after"]["id"] for row in rows] == [*(str(n) for n in range(20_001)), "1"]
    large = rows[1:-1]
    assert len({row["_transaction"] for row in large}) == 1
    assert [row["_sequence"][17:] for row in large] == [f"{n:010d}" for n in range(20_000)]
    assert list((shop.settings.spool_dir).glob("fetch-*")) == []


@pytest.mark.slow
def test_more_than_the_server_can_send_in_one_piece(shop, monkeypatch):
    monkeypatch.setattr(slot_module, "_ONE_PIECE", 2**60)
    started(shop, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    shop.sql("ALTER TABLE t ALTER v SET STORAGE MAIN")
    shop.sql("INSERT INTO t SELECT g, repeat('x', 200000000) FROM generate_series(1, 6) g")
    shop.run()
    import polars as pl

    sizes = pl.read_delta(shop.uri).filter(pl.col("_op") == "insert")["after"].str.len_bytes()
    assert sizes.to_list() == [200000000 + len('{"id":"1","v":""}')] * 6


def test_an_idle_table_does_not_hold_the_log(shop):
    started(shop, TABLE, idle_bytes=3_000_000)
    shop.sql("CREATE TABLE busy (v text)")
    shop.sql("INSERT INTO busy SELECT repeat('x', 100) FROM generate_series(1, 100)")
    assert shop.run() == []
    before = shop.confirmed()
    shop.sql("INSERT INTO busy SELECT repeat('x', 100) FROM generate_series(1, 40000)")
    assert [batch.num_output_rows for batch in shop.run()] == [0]
    assert shop.confirmed() != before
    assert shop.run() == []
    shop.sql("INSERT INTO t VALUES (1)")
    shop.run()
    assert shop.said() == [("insert", None, {"id": "1", "name": None, "big": None})]


def test_what_a_transaction_wrote_before_the_slot_moved_on_is_not_lost(shop):
    """Open while batches run, committed after: its changes come whole."""
    import psycopg

    started(shop, TABLE)
    with psycopg.connect(shop.url) as other:
        other.execute("INSERT INTO t SELECT g FROM generate_series(1, 3000) g")
        shop.sql("INSERT INTO t VALUES (9000)")
        shop.run()
        assert [after["id"] for _, _, after in shop.said()] == ["9000"]
        other.commit()
    shop.run()
    assert len(shop.log()) == 3001


def test_rolled_back_work_never_comes(shop):
    started(shop, TABLE)
    shop.sql("BEGIN; INSERT INTO t VALUES (1); ROLLBACK")
    shop.sql(
        "BEGIN; INSERT INTO t VALUES (2); SAVEPOINT s; INSERT INTO t VALUES (3); "
        "ROLLBACK TO s; COMMIT"
    )
    shop.run()
    assert [after["id"] for _, _, after in shop.said()] == ["2"]


def test_partitions_are_their_table(shop):
    started(
        shop,
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
    )
    shop.sql("INSERT INTO t VALUES (1, 'a'), (11, 'b')")
    shop.sql("UPDATE t SET id = 12 WHERE id = 1")
    shop.run()
    assert {row["_table"] for row in shop.log()} == {"public.t"}
    assert [op for op, _, _ in shop.said()] == ["insert", "insert", "delete", "insert"]


def test_an_open_transaction_does_not_keep_us_waiting(shop):
    """Its records may end in the middle of the last page that is on disk."""
    import psycopg

    started(shop, TABLE)
    with psycopg.connect(shop.url) as other:
        for n in range(3):
            first, last = n * 3000, n * 3000 + 2999
            other.execute(
                f"INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series({first}, {last}) g"
            )
            assert shop.run() == []
        other.commit()
    shop.run()
    assert len(shop.log()) == 9000


def test_a_change_between_much_that_is_nobodys(shop):
    started(shop, TABLE, idle_bytes=2_000_000, max_bytes=3_000_000)
    shop.sql("CREATE TABLE busy (v text)")
    much = "INSERT INTO busy SELECT repeat('x', 100) FROM generate_series(1, 30000)"
    shop.sql(much)
    shop.sql("INSERT INTO t VALUES (1)")
    shop.sql(much)
    shop.sql(much)
    assert sum(batch.num_output_rows for batch in shop.run()) == 2  # the change, and the shape
    shop.run()
    assert shop.run() == []
    assert [after["id"] for _, _, after in shop.said()] == ["1"]
    behind = shop.sql("SELECT pg_current_wal_lsn() - %s::pg_lsn", shop.confirmed())[0][0]
    assert behind < 2_000_000
