"""Any writes, any batches, any crash: the copies are what the tables are."""

import contextlib
import random

import polars as pl
import psycopg
import pytest

from orchestration import available_now, delta, scd1_sink, scd2_sink
from orchestration.runtime.matching import match_source
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.postgres import changes
from orchestration.testing import CRASH_POINTS
from tests.support.runs import Crash

SCHEMAS = {
    "t": {"id": "BIGINT", "v": "VARCHAR", "big": "VARCHAR", "n": "DECIMAL(12,2)"},
    "f": {"a": "INTEGER", "b": "VARCHAR", "v": "VARCHAR", "big": "VARCHAR"},
}
KEYS = {"t": ("id",), "f": ("a", "b")}
BIG = "repeat(md5(random()::text), 200)"  # kept apart, and not sent when it does not change


class Writer:
    def __init__(self, shop, chance):
        self.shop, self.chance = shop, chance
        self.extra = 0
        shop.sql("CREATE TABLE t (id bigint PRIMARY KEY, v text, big text, n numeric(12,2))")
        shop.sql("CREATE TABLE f (a int, b text, v text, big text, PRIMARY KEY (a, b))")
        shop.sql("ALTER TABLE f REPLICA IDENTITY FULL")
        for table in SCHEMAS:
            shop.sql(f"ALTER TABLE {table} ALTER big SET STORAGE EXTERNAL")
        self.transaction()

    def transaction(self):
        statements = [self.statement() for _ in range(self.chance.randint(1, 6))]
        end = "ROLLBACK" if self.chance.random() < 0.1 else "COMMIT"
        try:
            self.shop.sql(f"BEGIN; {'; '.join(statements)}; {end}")
        except psycopg.errors.UniqueViolation:
            self.shop.sql("ROLLBACK")

    def statement(self):
        some, low = self.chance.randint(1, 30), self.chance.randint(0, 60)
        word = self.chance.choice(["x", "'y\"", "\\z", "ü\n"]).replace("'", "''")
        which = f"id BETWEEN {low} AND {low + some}"
        pairs = f"a BETWEEN {low} AND {low + some}"
        fresh = f"FROM generate_series({low}, {low + some}) g ON CONFLICT DO NOTHING"
        choices = {
            f"INSERT INTO t SELECT g, '{word}', {BIG}, g * 1.25 {fresh}": 5,
            f"INSERT INTO f SELECT g, 'b' || g % 3, '{word}', {BIG} {fresh}": 5,
            f"UPDATE t SET v = v || '{word}', n = n + 1 WHERE {which}": 5,
            f"UPDATE f SET v = '{word}' WHERE {pairs}": 5,
            f"UPDATE t SET big = null WHERE {which}": 2,
            # A changed key does not carry what is kept apart, unless that changes too.
            f"UPDATE t SET id = id + 1000, big = 'short' WHERE id = {low}": 2,
            "UPDATE t SET id = id - 1000, big = 'short' WHERE id > 1000": 2,
            f"UPDATE f SET a = a + 1000 WHERE a = {low}": 2,
            f"UPDATE f SET b = 'c' WHERE a = {low} AND b = 'b1'": 2,
            f"DELETE FROM t WHERE {which} AND id % 2 = 0": 2,
            f"DELETE FROM f WHERE {pairs}": 2,
            self.chance.choice(["TRUNCATE t", "TRUNCATE f", "TRUNCATE t, f"]): 0.3,
            self.shape(): 1,
        }
        return self.chance.choices(list(choices), weights=list(choices.values()))[0]

    def shape(self):
        self.extra += 1
        return f"ALTER TABLE t ADD COLUMN extra{self.extra} int DEFAULT 7"


@pytest.mark.parametrize(
    ("seed", "rounds"),
    [(1, 12), *(pytest.param(seed, 40, marks=pytest.mark.slow) for seed in range(2, 8))],
)
def test_copies_are_what_their_tables_are(shop, seed, rounds):
    chance = random.Random(seed)
    shop.tables = ["public.t", "public.f"]
    shop.options.update(chunk_rows=chance.randint(3, 40))
    writer = Writer(shop, chance)
    copies = []
    for table, schema in SCHEMAS.items():
        rows = changes(delta(shop.name), f"public.{table}", schema)
        for kind, sink in (("now", scd1_sink), ("history", scd2_sink)):
            name = f"{table}_{kind}"
            copies.append(
                StreamingQuery(
                    name, rows, sink=sink(name, keys=KEYS[table]), settings=shop.settings
                )
            )
    for _ in range(rounds):
        for _ in range(chance.randint(0, 4)):
            writer.transaction()
        for query in [shop.query, *chance.sample(copies, chance.randint(0, 2))]:
            point = chance.choice(CRASH_POINTS) if chance.random() < 0.5 else None

            def reach(name, point=point):
                if name == point:
                    raise Crash

            with contextlib.suppress(Crash):
                query.execute(
                    available_now(max_rows=chance.choice([None, 5, 50])),
                    clock=shop.clock,
                    reach=reach,
                )
    for query in (shop.query, *copies):
        query.execute(available_now(), clock=shop.clock)
    for table, schema in SCHEMAS.items():
        columns, keys = list(schema), list(KEYS[table])
        there = sorted(shop.sql(f"SELECT {', '.join(columns)} FROM {table}"))
        now = pl.read_delta(shop.settings.tables_uri(f"{table}_now")).sort(keys)
        assert now.select(columns).rows() == there, table
        history = pl.read_delta(shop.settings.tables_uri(f"{table}_history")).sort(keys)
        open_ = history.filter(pl.col("__end_at").is_null())
        assert open_.select(columns).rows() == there, table
    with copies[0].open() as session:
        assert match_source(session, shop.new_source(), "public.t").passed
    rows = shop.log(shapes=True)
    assert {row["_op"] for row in rows} >= {"insert", "update", "delete", "read", "schema"}
    assert any(row["_unchanged"] for row in rows)
    kept = [row["_sequence"] for row in rows if row["_op"] != "read"]
    assert len(set(kept)) == len(kept)
