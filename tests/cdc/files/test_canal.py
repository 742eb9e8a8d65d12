"""Canal's flat messages, and those of TiCDC."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orchestration.sources.cdc_files import canal
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read

S = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(10,2)", "ok": "BOOLEAN", "raw": "BLOB"}
ROWS = [
    {"id": "1", "name": "Anne", "amount": "12.50", "ok": "1", "raw": "h\u00e9"},
    {"id": "2", "name": "Bob", "amount": None, "ok": "0", "raw": None},
]


def message(kind, data=ROWS, **more):
    return {
        "data": data,
        "database": "shop",
        "es": 1767225600123,
        "id": 17,
        "isDdl": False,
        "mysqlType": {"id": "bigint(20)", "name": "varchar(20)"},
        "old": None,
        "pkNames": ["id"],
        "sql": "",
        "sqlType": {"id": -5, "name": 12},
        "table": "orders",
        "ts": 1767225600200,
        "type": kind,
    } | more


def go(tmp_path, *records, **options):
    return read(canal(files(str(tmp_path)), S, **options), lines(tmp_path / "in.json", *records))


def test_several_rows_in_one(tmp_path):
    found = go(tmp_path, message("INSERT"))
    assert found.rows[0] == {
        "_op": "insert",
        "_sequence": "1/00000001767225600123/00000000000000000017/0000000000/1",
        "_source_time": datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC),
        "_transaction": None,
        "_table": "shop.orders",
        "_unchanged": None,
        "id": 1,
        "name": "Anne",
        "amount": Decimal("12.50"),
        "ok": True,
        "raw": "h\u00e9".encode("latin-1"),
        "line": 1,
    }
    assert [row["id"] for row in found.rows] == [1, 2]
    assert found.rows[0]["_sequence"] < found.rows[1]["_sequence"]


def test_operations(tmp_path):
    old = [{"name": "Anna"}, {"amount": "1"}]
    found = go(
        tmp_path,
        message("UPDATE", old=old),
        message("DELETE", data=ROWS[:1]),
        message("TRUNCATE", data=None, isDdl=True),
        message("ALTER", data=None, isDdl=True, sql="ALTER TABLE orders ADD x INT"),
        message("QUERY", data=None, isDdl=True),
    )
    assert found.bad == []
    assert found.ops == ["update", "update", "delete", "truncate"]
    assert found.rows[3]["id"] is None


def test_key_change(tmp_path):
    found = go(tmp_path, message("UPDATE", old=[{"id": "7"}, {"name": "x"}]))
    assert [(r["_op"], r["id"]) for r in found.rows] == [
        ("delete", 7),
        ("insert", 1),
        ("update", 2),
    ]
    positions = [row["_sequence"] for row in found.rows]
    assert positions == sorted(positions)


def test_ticdc(tmp_path):
    # The whole row before stands in old; the key is as it was.
    about = {"_tidb": {"commitTs": 429918007904436226}}
    found = go(
        tmp_path,
        message("UPDATE", data=ROWS[:1], old=[{**ROWS[0], "name": "x"}], **about),
        message("TIDB_WATERMARK", data=None, **about),
    )
    assert found.ops == ["update"]
    assert found.rows[0]["_sequence"].startswith("1/00429918007904436226/")
    assert found.bad == []


def test_only_one_table(tmp_path):
    found = go(tmp_path, message("INSERT"), message("INSERT", table="x"), table="shop.x")
    assert [row["_table"] for row in found.rows] == ["shop.x", "shop.x"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([], "stands where a JSON object belongs"),
        ({"type": "INSERT"}, "lacks type and database"),
        (message("ERASE", data=None, isDdl=True), "was dropped at the source"),
        (message("GTID"), "is no type of Canal's messages"),
        (message("INSERT", data={"id": "1"}), "is no array of rows"),
        (message("INSERT", data=[{"x": "1"}]), "none of the declared columns; it has x"),
        (message("INSERT", id=None), "no place in an order"),
        (message("INSERT", data=[ROWS[0], {"id": "x"}]), "id: "),
        (message("INSERT", data=[{"id": "1", "raw": "\u20ac"}]), "ISO 8859-1"),
    ],
)
def test_set_aside_whole(tmp_path, record, reason):
    found = go(tmp_path, record)
    assert found.rows == []
    assert reason in found.reasons[1]
