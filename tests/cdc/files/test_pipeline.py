"""Files of changes through a query: into a plain table, and into tables that follow them."""

import polars as pl
import pytest

from orchestration import (
    StreamingQuery,
    available_now,
    debezium,
    delta_sink,
    dms,
    files,
    maxwell,
    scd1_sink,
    scd2_sink,
    stream,
)
from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.errors import BadRecords, IncompatibleQuery
from tests.cdc.files.support import lines
from tests.cdc.files.test_debezium import PG, event

S = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(10,2)"}


class World:
    def __init__(self, root):
        self.landing = root / "landing"
        self.landing.mkdir()
        self.settings = Settings.load(home=root / "home")
        self.lsn = 1000
        self.clock = ManualClock()

    def event(self, op, before=None, after=None, **source):
        self.lsn += 10
        about = {"lsn": self.lsn, "sequence": f'["{self.lsn - 5}","{self.lsn}"]', **source}
        return event(op, before, after, {**PG, **about})

    def land(self, name, *records):
        lines(self.landing / name, *records)

    def source(self, **options):
        return debezium(files(str(self.landing), timezone="UTC", **options), S, decimals="string")

    def run(self, name, given, sink):
        query = StreamingQuery(name, given, sink=sink, settings=self.settings)
        return query.execute(available_now(), clock=self.clock).batches

    def rows(self, name):
        return pl.read_delta(self.settings.tables_uri(name)).to_dicts()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_into_a_plain_table_with_verbs_on_the_way(world):
    good = world.event("c", after={"id": 1, "name": "Anne", "amount": "12.50"})
    more = world.event("u", after={"id": 1, "name": "Anna", "amount": "1"})
    world.land("a.json", good, b"{broken", world.event("d", before={"id": 1}))
    given = stream(world.source(metadata=True)).where("_op <> 'delete'")
    given = given.select("_op", "_sequence", "id", "upper(name) AS name", row='"_file".row')
    (batch,) = world.run("log", given, delta_sink("log"))
    assert (batch.num_input_rows, batch.num_output_rows) == (3, 1)
    world.land("b.json", more)
    world.run("log", given, delta_sink("log"))
    assert sorted((row["_op"], row["name"], row["row"]) for row in world.rows("log")) == [
        ("insert", "ANNE", 1),
        ("update", "ANNA", 1),
    ]
    (bad,) = world.rows("log__quarantine")
    assert (bad["line"], bad["raw"]) == (2, "{broken")
    assert bad["file"].endswith("a.json")
    assert "not valid JSON" in bad["reason"]


def test_whole_columns_into_a_table(world):
    world.land("a.json", world.event("c", after={"id": 1, "name": "__debezium_unavailable_value"}))
    world.run("log", stream(world.source()), delta_sink("log"))
    (row,) = world.rows("log")
    assert list(row) == [
        "_op", "_sequence", "_source_time", "_transaction", "_table", "_unchanged", *S,
    ]  # fmt: skip
    assert row["_unchanged"] == ["name"]


def test_bad_records_may_fail_the_batch(world):
    world.land("a.json", b"{broken")
    given = stream(world.source(on_bad_record="fail"))
    with pytest.raises(BadRecords, match=r"a\.json, line 1"):
        world.run("log", given, delta_sink("log"))


def test_current_state_and_history(world):
    def row(number, name, amount="1.00"):
        return {"id": number, "name": name, "amount": amount}

    snapshot = [
        world.event("r", after=row(n, f"s{n}"), snapshot="true", lsn=900, sequence='[null,"900"]')
        for n in (1, 2, 3)
    ]
    changes = [
        world.event("u", before=None, after=row(1, "one")),
        world.event("d", before=row(2, None, None)),
        world.event("c", after=row(4, "four")),
        world.event("u", after=row(4, "__debezium_unavailable_value", "9.99")),
    ]
    # The newest first, one of them twice; the snapshot last.
    world.land("a.json", *changes[2:])
    given = stream(world.source())
    sinks = {
        "now": scd1_sink("now", keys="id"),
        "past": scd2_sink("past", keys="id"),
    }
    for step in (lambda: None, lambda: world.land("b.json", *changes[:3]),
                 lambda: world.land("c.json", *snapshot)):  # fmt: skip
        step()
        for name, sink in sinks.items():
            world.run(name, given, sink)
    now = {item["id"]: (item["name"], str(item["amount"])) for item in world.rows("now")}
    assert now == {1: ("one", "1.00"), 3: ("s3", "1.00"), 4: ("four", "9.99")}
    past = sorted(world.rows("past"), key=lambda item: (item["id"], item["__start_at"]))
    assert [(item["id"], item["name"], item["__end_at"] is None) for item in past] == [
        (1, "s1", False),
        (1, "one", True),
        (2, "s2", False),
        (3, "s3", True),
        (4, "four", False),
        (4, "four", True),
    ]


def test_dms_files(world):
    (world.landing / "LOAD00000001.csv").write_text("1,Anne,1.00\n2,Bob,2.00\n")
    (world.landing / "20260131-120000000.csv").write_text("U,1,Anna,1.50\nD,2,,\n")
    (world.landing / "notes.csv").write_text("x\n")
    source = dms(files(str(world.landing), format="csv", header=False), S, table="shop.customers")
    (batch,) = world.run("orders", stream(source), scd1_sink("orders", keys="id"))
    assert batch.num_input_rows == 5
    (row,) = world.rows("orders")
    assert (row["id"], row["name"]) == (1, "Anna")
    (bad,) = world.rows("orders__quarantine")
    assert bad["file"].endswith("notes.csv")
    assert "neither LOAD" in bad["reason"]


def test_another_tool_is_another_query(world):
    world.land("a.json", world.event("c", after={"id": 1}))
    world.run("log", stream(world.source()), delta_sink("log"))
    other = maxwell(files(str(world.landing), timezone="UTC"), S, keys=["id"])
    with pytest.raises(IncompatibleQuery, match="maxwell files"):
        world.run("log", stream(other), delta_sink("log"))
