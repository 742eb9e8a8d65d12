"""The copy against its source table, at one place in the server's log."""

import psycopg
import pytest

from orchestration import available_now, delta, delta_sink, scd1_sink
from orchestration.errors import DeclarationError
from orchestration.runtime.matching import match_source
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.postgres import changes

SCHEMA = {"id": "BIGINT", "v": "VARCHAR", "n": "DECIMAL(10,2)"}


class Copy:
    def __init__(self, shop, **sink):
        self.shop = shop
        self.query = StreamingQuery(
            "copy",
            changes(delta(shop.name), "public.t", SCHEMA),
            sink=scd1_sink("copy", keys="id", **sink),
            settings=shop.settings,
        )

    def drain(self):
        self.shop.run()
        self.query.run(available_now())

    def match(self):
        with self.query.open() as session:
            return match_source(session, self.shop.new_source(), "public.t")


@pytest.fixture
def copy(shop):
    shop.sql("CREATE TABLE t (id bigint PRIMARY KEY, v text, n numeric(10,2))")
    shop.sql("INSERT INTO t SELECT g, 'v' || g, g FROM generate_series(1, 1000) g")
    found = Copy(shop)
    found.drain()
    return found


def test_the_same(copy):
    found = copy.match()
    assert (found.outcome, found.source_rows, found.copy_rows) == ("identical", 1000, 1000)
    assert found.moving_keys == 0
    assert found.ranges > 10
    copy.shop.sql("UPDATE t SET v = 'x' WHERE id % 10 = 0")
    copy.shop.sql("DELETE FROM t WHERE id % 7 = 0")
    copy.drain()
    assert copy.match().passed


def test_what_is_on_its_way_is_left_out(copy):
    shop = copy.shop
    shop.sql("UPDATE t SET v = 'landed' WHERE id = 1")
    shop.run()  # in the log, and not in the copy
    shop.sql("UPDATE t SET v = 'in the slot' WHERE id = 2")
    shop.sql("INSERT INTO t VALUES (5000, 'new', 1)")
    shop.sql("DELETE FROM t WHERE id = 3")
    found = copy.match()
    assert (found.outcome, found.moving_keys, found.source_rows) == ("identical", 4, 997)
    with psycopg.connect(shop.url) as open_:  # not committed: not there
        open_.execute("UPDATE t SET v = 'open' WHERE id > 100")
        assert copy.match().passed
        open_.rollback()
    confirmed = shop.confirmed()
    copy.match()
    assert shop.confirmed() == confirmed
    copy.drain()
    assert copy.match().moving_keys == 0
    assert len(shop.log()) == 1004


def test_rows_that_differ_are_named(copy):
    shop = copy.shop
    # Changes that the slot never saw: as if the copy had lost them.
    shop.sql("ALTER PUBLICATION p SET (publish = 'truncate')")
    shop.sql("UPDATE t SET v = 'other' WHERE id = 10")
    shop.sql("DELETE FROM t WHERE id = 20")
    shop.sql("INSERT INTO t VALUES (3000, 'unseen', 1)")
    shop.sql("ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')")
    shop.run()
    found = copy.match()
    assert found.outcome == "different"
    assert (found.only_source, found.only_copy, found.different) == (1, 1, 1)
    assert 1 <= len(found.differing) <= 3
    named = {(row["side"], row["id"], row["v"]) for row in found.samples.to_pylist()}
    assert named == {
        ("source", 10, "other"),
        ("copy", 10, "v10"),
        ("copy", 20, "v20"),
        ("source", 3000, "unseen"),
    }
    assert found.to_json()["differing"][0]["first"].isdigit()


def test_a_truncate_on_its_way_is_not_compared(copy):
    copy.shop.sql("TRUNCATE t")
    assert copy.match().outcome == "not_comparable"
    copy.drain()
    assert (copy.match().outcome, copy.match().source_rows) == ("identical", 0)


def test_rows_marked_as_deleted_are_no_rows(shop):
    shop.sql("CREATE TABLE t (id bigint PRIMARY KEY, v text, n numeric(10,2))")
    shop.sql("INSERT INTO t VALUES (1), (2)")
    copy = Copy(shop, soft_delete="gone")
    assert copy.match().outcome == "not_comparable"
    copy.drain()
    shop.sql("DELETE FROM t WHERE id = 1")
    copy.drain()
    assert (copy.match().outcome, copy.match().copy_rows) == ("identical", 1)


def test_only_a_copy_of_the_current_state_is_compared(copy):
    copy.query = StreamingQuery(
        "other",
        changes(delta(copy.shop.name), "public.t", SCHEMA),
        sink=delta_sink("other"),
        settings=copy.shop.settings,
    )
    with pytest.raises(DeclarationError, match="scd1_sink"):
        copy.match()
