"""What cannot be followed is refused before it does harm, and says what to do."""

import json
import logging

import psycopg
import pytest

from orchestration.errors import (
    ConfigError,
    DeclarationError,
    PublicationChanged,
    ServerChanged,
    SlotInUse,
    SlotLost,
    SourceNotReady,
    SourceUnavailable,
)
from orchestration.sources.postgres import postgres
from tests.support.following import Shop
from tests.support.postgres import postgres_database

TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, v text)"


def refused(shop, error, *words):
    with pytest.raises(error) as caught:
        shop.run()
    text = str(caught.value)
    for word in words:
        assert word in text
    assert caught.value.remedy
    return text


@pytest.fixture
def running(shop):
    shop.sql(TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    return shop


def test_wal_level(postgres_url, tmp_path):
    with postgres_database(postgres_url) as url:
        shop = Shop(url, tmp_path)
        shop.sql(TABLE)
        refused(shop, SourceNotReady, "wal_level = replica", "ALTER SYSTEM", "restart")
        shop.drop_slot()


def test_the_right_to_replicate_and_to_read(shop):
    shop.sql(TABLE)
    role = f"poor_{shop.slot}"
    shop.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'pwd-of-the-poor'")
    host = shop.url.rpartition("@")[2]
    shop.options["dsn"] = f"postgresql://{role}:pwd-of-the-poor@{host}"
    refused(shop, SourceNotReady, role, f'ALTER ROLE "{role}" REPLICATION')
    shop.sql(f"ALTER ROLE {role} REPLICATION")
    refused(shop, SourceNotReady, "may not read public.t", 'GRANT SELECT ON "public"."t"')
    shop.sql(f"GRANT SELECT ON t TO {role}")
    refused(shop, SourceNotReady, "permission denied", "GRANT CREATE")
    shop.sql("CREATE PUBLICATION p FOR TABLE t")
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    shop.sql("INSERT INTO t VALUES (2, 'b')")
    shop.run()
    assert len(shop.log()) == 2
    shop.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_missing_identity_is_told_before_the_table_is_published(shop):
    shop.sql("CREATE TABLE t (id int)")
    refused(shop, SourceNotReady, "public.t has no replica identity", "REPLICA IDENTITY FULL")
    shop.sql("INSERT INTO t VALUES (1)")
    shop.sql("UPDATE t SET id = 2")  # the server would refuse it, had it been published
    shop.sql("ALTER TABLE t ADD PRIMARY KEY (id)")
    shop.sql("ALTER TABLE t REPLICA IDENTITY NOTHING")
    refused(shop, SourceNotReady, "public.t has no replica identity")


def test_a_table_that_is_not_there(shop):
    refused(shop, SourceNotReady, "no table public.t", "schema.table")


def test_a_publication_that_lacks_a_table_or_an_operation(shop):
    shop.sql(TABLE)
    shop.sql("CREATE PUBLICATION p")
    refused(shop, PublicationChanged, "does not have public.t", 'ADD TABLE "public"."t"')
    shop.sql("ALTER PUBLICATION p ADD TABLE t")
    shop.sql("ALTER PUBLICATION p SET (publish = 'insert')")
    refused(shop, SourceNotReady, "leaves out", "publish = 'insert, update, delete, truncate'")


def test_a_slot_without_its_publication_is_not_begun_with(shop):
    shop.sql(TABLE)
    shop.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", shop.slot)
    refused(shop, PublicationChanged, "was dropped", "pg_drop_replication_slot")


def test_a_slot_of_another_plugin(shop):
    shop.sql(TABLE)
    shop.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", shop.slot)
    refused(shop, SourceNotReady, "test_decoding", "expected pgoutput")


def test_a_publication_dropped_and_made_again_is_noticed(running):
    """PostgreSQL 18 passes over the changes of the time between, and says nothing."""
    running.sql("DROP PUBLICATION p")
    running.sql("INSERT INTO t VALUES (2, 'lost')")
    refused(running, PublicationChanged, "'p' was dropped", "may be lost", "headwater reset")
    running.sql("CREATE PUBLICATION p FOR TABLE t")
    running.sql("INSERT INTO t VALUES (3, 'c')")
    refused(running, PublicationChanged, "dropped and made again")
    assert len(running.log()) == 1


def test_dropped_while_the_batch_is_read(running):
    running.sql("INSERT INTO t VALUES (2, 'b')")
    assert running.crash_at("after_plan_log")
    running.sql("DROP PUBLICATION p; CREATE PUBLICATION p FOR TABLE t")
    refused(running, PublicationChanged, "dropped and made again")


def test_a_table_taken_out_of_the_publication_and_put_back(running):
    running.sql("ALTER PUBLICATION p DROP TABLE t")
    refused(running, PublicationChanged, "does not have public.t")
    running.sql("ALTER PUBLICATION p ADD TABLE t")
    refused(running, PublicationChanged, "public.t")


def test_a_table_dropped_and_made_again(running):
    running.sql("DROP TABLE t")
    running.sql(TABLE)
    running.sql("ALTER PUBLICATION p ADD TABLE t")
    refused(running, PublicationChanged, "public.t")


def test_a_slot_that_was_dropped(running):
    running.sql("SELECT pg_drop_replication_slot(%s)", running.slot)
    refused(running, SlotLost, "does not exist", "headwater reset")
    running.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", running.slot)
    running.sql("INSERT INTO t VALUES (2, 'b')")
    refused(running, SlotLost, "moved it on")
    running.query.reset()
    running.run()
    assert max(after["id"] for op, _, after in running.said() if op == "read") == "2"


def test_a_slot_that_somebody_else_moved_on(running):
    running.sql("INSERT INTO t VALUES (2, 'b')")
    running.sql(
        "SELECT pg_logical_slot_get_binary_changes(%s, null, null, 'proto_version', '1', "
        "'publication_names', 'p')",
        running.slot,
    )
    refused(running, SlotLost, "moved it on")


def test_a_slot_that_was_invalidated(running):
    running.sql("INSERT INTO t VALUES (2, 'b')")
    running.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    running.sql("SELECT pg_reload_conf()")
    try:
        running.sql("CREATE TABLE busy (v text)")
        for _ in range(3):
            running.sql("INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 9000)")
            running.sql("SELECT pg_switch_wal()")
            running.sql("CHECKPOINT")
        refused(running, SlotLost, "invalidated", "wal_removed", "pg_drop_replication_slot")
    finally:
        running.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        running.sql("SELECT pg_reload_conf()")


def test_another_server(running):
    from dataclasses import replace

    from orchestration.cursors.store import CursorStore

    running.crash_at("after_ack")
    query = running.query
    offset = None
    with CursorStore.open(running.settings.cursors_url, clock=running.clock) as store:
        generation = store.queries.get(running.name)
        last = store.batches.last(generation)
        offset = last.plan.slices[0].end
    from orchestration.sources.postgres.position import Position

    other = replace(Position.from_json(offset), system="7000000000000000000").to_json()

    class History:
        listing = {}
        offset = other

    with pytest.raises(ServerChanged, match="7000000000000000000"):
        query.source.poll(History(), clock=running.clock, settings=running.settings)


def test_another_consumer(running):
    running.sql("INSERT INTO t VALUES (2, 'b')")
    rival = psycopg.connect(
        running.url, replication="database", autocommit=True, application_name="rival"
    )
    try:
        rival.pgconn.send_query(
            f"START_REPLICATION SLOT {running.slot} LOGICAL 0/0 (proto_version '1', "
            "publication_names 'p')".encode()
        )
        rival.pgconn.get_result()
        text = refused(running, SlotInUse, "rival", running.slot)
    finally:
        rival.close()
    assert "own" in text
    while running.sql(
        "SELECT active FROM pg_replication_slots WHERE slot_name = %s", running.slot
    ) == [(True,)]:
        pass  # the server has not noticed yet
    running.run()
    assert len(running.log()) == 2


def test_a_server_that_is_not_there_and_a_wrong_password(shop):
    shop.sql(TABLE)
    shop.options["dsn"] = "postgresql://me:canary-secret@127.0.0.1:1/db"
    text = refused(shop, SourceUnavailable, "does not answer", "127.0.0.1")
    assert "canary-secret" not in text
    host = shop.url.rpartition("@")[2]
    shop.options["dsn"] = f"postgresql://headwater:canary-secret@{host}"
    text = refused(shop, SourceUnavailable, "password authentication failed")
    assert "canary-secret" not in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tables": []}, "names of one or more"),
        ({"tables": "t"}, "names of one or more"),
        ({"tables": ["t", "public.t"]}, "public.t twice"),
        ({"slot": "Has-Capitals"}, "cannot name a replication slot"),
        ({"publication": ""}, "cannot name a publication"),
        ({"snapshot": "sometimes"}, "snapshot='sometimes'"),
        ({"max_rows": 0}, "max_rows=0"),
        ({"dsn": 5}, "the dsn is a int"),
    ],
)
def test_declarations_that_make_no_sense(given, words):
    whole = {"dsn": "", "tables": ["t"], "slot": "s", "publication": "p", **given}
    with pytest.raises(DeclarationError, match=words):
        postgres(**whole)


def test_a_dsn_of_the_environment(shop, monkeypatch):
    shop.sql(TABLE)
    shop.options["dsn"] = "env:SHOP_DSN"
    with pytest.raises(ConfigError, match="SHOP_DSN"):
        shop.run()
    monkeypatch.setenv("SHOP_DSN", shop.url)
    shop.run()


def test_a_service_file_works(shop, monkeypatch, tmp_path):
    from psycopg.conninfo import conninfo_to_dict

    shop.sql(TABLE)
    words = conninfo_to_dict(shop.url)
    path = tmp_path / "pg_service.conf"
    path.write_text("[shop]\n" + "".join(f"{name}={value}\n" for name, value in words.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    shop.options["dsn"] = "service=shop"
    shop.run()


def test_the_password_is_nowhere(shop, caplog):
    """Not in what is shown, kept, logged or raised."""
    from psycopg.conninfo import conninfo_to_dict

    caplog.set_level(logging.DEBUG)
    secret = conninfo_to_dict(shop.url)["password"]
    shop.sql(TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.run()
    query = shop.query
    shown = [
        repr(query),
        repr(query.source),
        query.source.description,
        json.dumps(query.describe(), default=str),
        json.dumps(query.source.describe()),
        caplog.text,
        *shop.sql("SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE query <> ''")[0],
    ]
    shop.sql("DROP PUBLICATION p")
    shown.append(refused(shop, PublicationChanged, "dropped"))
    assert not [text for text in shown if secret in text]
    for path in shop.settings.home.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_log_held_back_is_told(running):
    running.options["warn_bytes"] = 1
    running.sql("INSERT INTO t VALUES (2, 'b')")
    query = running.query
    (warning,) = query.source.warnings()
    assert running.slot in warning
    assert "holds back" in warning
    summary = query.execute(clock=running.clock)
    assert any("holds back" in note for note in summary.notes)
    assert any("s old" in note for note in summary.notes)


def test_a_partition_without_an_identity(shop):
    shop.sql("CREATE TABLE t (id int, v text) PARTITION BY RANGE (id)")
    shop.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    refused(shop, SourceNotReady, "public.t1 has no replica identity", "ALTER TABLE public.t1")
    shop.sql("ALTER TABLE t1 REPLICA IDENTITY FULL")
    shop.run()


def test_rows_that_a_policy_would_hide_are_not_left_out_silently(shop):
    role = f"half_{shop.slot}"
    shop.sql(TABLE)
    shop.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    shop.sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    shop.sql("CREATE POLICY half ON t USING (id = 1)")
    shop.sql("CREATE PUBLICATION p FOR TABLE t")
    shop.sql(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'pwd-of-half'")
    shop.sql(f"GRANT SELECT ON t TO {role}")
    shop.options["dsn"] = f"postgresql://{role}:pwd-of-half@{shop.url.rpartition('@')[2]}"
    refused(shop, SourceNotReady, "row-level security")
    shop.sql(f"ALTER ROLE {role} BYPASSRLS")
    shop.run()
    assert len(shop.log()) == 2
    shop.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_tables_that_inherit_are_not_the_table(shop):
    shop.sql(TABLE)
    shop.sql("CREATE TABLE child (w int) INHERITS (t)")
    shop.sql("ALTER TABLE child ADD PRIMARY KEY (id)")
    shop.sql("INSERT INTO t VALUES (1, 'a')")
    shop.sql("INSERT INTO child VALUES (2, 'b', 3)")
    shop.run()
    shop.sql("INSERT INTO child VALUES (3, 'c', 3)")
    shop.sql("INSERT INTO t VALUES (4, 'd')")
    shop.run()
    assert [after["id"] for _, _, after in shop.said()] == ["1", "4"]
