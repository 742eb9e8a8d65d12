"""Maxwell's records."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orchestration.errors import DeclarationError
from orchestration.sources.cdc_files import maxwell
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read

S = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(10,2)", "at": "TIMESTAMPTZ"}
ROW = {"id": 1, "name": "Anne", "amount": 12.50, "at": "2026-01-01 10:00:00"}
ABOUT = {"database": "shop", "table": "orders", "ts": 1767225600, "xid": 8924}


def record(kind, data=ROW, **more):
    return {**ABOUT, "type": kind, "data": data, **more}


def go(tmp_path, *records, zone="UTC", **options):
    options.setdefault("keys", ["id"])
    given = maxwell(files(str(tmp_path), timezone=zone), S, **options)
    return read(given, lines(tmp_path / "in.json", *records))


def test_insert_with_position(tmp_path):
    (row,) = go(tmp_path, record("insert", xoffset=3, position="mysql-bin.000042:12345")).rows
    assert row == {
        "_op": "insert",
        "_sequence": "1/0000000042/00000000000000012345/0000000003/1",
        "_source_time": datetime(2026, 1, 1, tzinfo=UTC),
        "_transaction": "8924",
        "_table": "shop.orders",
        "_unchanged": None,
        "id": 1,
        "name": "Anne",
        "amount": Decimal("12.50"),
        "at": datetime(2026, 1, 1, 10, tzinfo=UTC),
        "line": 1,
    }


def test_operations_and_the_last_row_of_a_transaction(tmp_path):
    found = go(
        tmp_path,
        record("bootstrap-start", data={}),
        record("bootstrap-insert", xid=None),
        record("insert", xoffset=0),
        record("update", xoffset=1, old={"name": "Anna"}),
        record("delete", commit=True),
        record("bootstrap-complete", data={}),
    )
    assert found.bad == []
    assert found.ops == ["read", "insert", "update", "delete"]
    positions = [row["_sequence"] for row in found.rows]
    assert positions == sorted(positions)
    assert positions[0].startswith("0/")


@pytest.mark.parametrize("times", [1, 40])
def test_key_change(tmp_path, times):
    found = go(tmp_path, *[record("update", old={"id": 7, "name": "Old"})] * times)
    assert [(r["_op"], r["id"], r["name"]) for r in found.rows[:2]] == [
        ("delete", 7, None),
        ("insert", 1, "Anne"),
    ]
    assert len(found.rows) == 2 * times
    assert found.rows[0]["_sequence"] < found.rows[1]["_sequence"]


def test_ddl(tmp_path):
    ddl = {"type": "table-alter", "database": "shop", "table": "orders", "sql": "ALTER …", "ts": 1}
    drop = {"type": "table-drop", "database": "shop", "table": "orders", "ts": 1, "sql": "DROP …"}
    other = {"type": "table-drop", "database": "shop", "table": "x", "ts": 1}
    gone = {"type": "database-drop", "database": "shop", "ts": 1}
    found = go(tmp_path, ddl, drop, other, gone, table="shop.orders")
    assert found.rows == []
    assert set(found.reasons) == {2, 4}
    assert found.reasons[2] == (
        "shop.orders was dropped at the source; its rows were not deleted here"
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"7", "stands where a JSON object belongs"),
        ({**ABOUT, "type": "x"}, '"x" is no type of Maxwell\'s records'),
        ({**ABOUT, "type": ["insert"]}, "is no type of Maxwell's records"),
        (record("insert", data=None), "data has none of the declared columns; it has nothing"),
        (record("insert", data={"x": 1}), "it has x"),
        (record("insert", xid=None), "no place in an order"),
        (record("insert", position="nowhere"), "is no position in a binlog"),
        (record("insert", data={**ROW, "at": "0000-00-00 00:00:00"}), "at: "),
        (record("insert", data={**ROW, "amount": 1.234}), "amount: "),
    ],
)
def test_set_aside(tmp_path, raw, reason):
    found = go(tmp_path, raw)
    assert found.rows == []
    assert reason in found.reasons[1]


def test_times_need_a_zone(tmp_path):
    assert "names no time zone" in go(tmp_path, record("insert"), zone=None).reasons[1]
    (row,) = go(tmp_path, record("insert"), zone="Europe/Berlin").rows
    assert row["at"] == datetime(2026, 1, 1, 9, tzinfo=UTC)


def test_keys_are_needed(tmp_path):
    with pytest.raises(DeclarationError, match="changes the key"):
        go(tmp_path, keys=[])
