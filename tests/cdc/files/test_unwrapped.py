"""Debezium's rows without their envelope (ExtractNewRecordState)."""

from datetime import UTC, datetime

import pytest

from orchestration.sources.cdc_files import debezium
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read

S = {"id": "BIGINT", "name": "VARCHAR"}
PG = {
    "__op": "u",
    "__table": "customers",
    "__source_schema": "public",
    "__lsn": 24023128,
    "__source_ts_ms": 1767225600000,
    "__source_sequence": '["24023119","24023128"]',
    "__txId": 555,
    "__deleted": "false",
}


def go(tmp_path, *records, **options):
    given = debezium(files(str(tmp_path)), S, unwrapped=True, **options)
    return read(given, lines(tmp_path / "in.json", *records))


def test_row_of_postgresql(tmp_path):
    (row,) = go(tmp_path, {"id": 1, "name": "Anne", **PG}).rows
    assert row == {
        "_op": "update",
        "_sequence": "1/00000000000024023119/00000000000024023128/0000000000/1",
        "_source_time": datetime(2026, 1, 1, tzinfo=UTC),
        "_transaction": "555",
        "_table": "public.customers",
        "_unchanged": None,
        "id": 1,
        "name": "Anne",
        "line": 1,
    }


def test_operations(tmp_path):
    found = go(
        tmp_path,
        {"id": 1, **PG, "__op": "r"},
        {"id": 1, **PG, "__op": "c"},
        {"id": 1, "name": None, **PG, "__op": "d", "__deleted": "true"},
        {k: v for k, v in {"id": 1, **PG, "__deleted": "true"}.items() if k != "__op"},
        {k: v for k, v in {"id": 1, **PG}.items() if k != "__op"},
        b"null",
        {"schema": None, "payload": {"id": 2, "name": "__debezium_unavailable_value", **PG}},
    )
    assert found.bad == []
    assert found.ops == ["read", "insert", "delete", "delete", "update", "update"]
    assert found.rows[0]["_sequence"].startswith("0/")
    assert found.rows[5]["_unchanged"] == ["name"]


def test_row_of_mysql(tmp_path):
    about = {"__op": "c", "__db": "shop", "__table": "t", "__file": "bin.000007", "__pos": 42}
    (row,) = go(tmp_path, {"id": 1, **about, "__row": 2}).rows
    assert row["_sequence"] == "1/0000000007/00000000000000000042/0000000002/1"
    assert row["_table"] == "shop.t"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"id": 1, "name": "x"}, "the row has no place in an order"),
        ({"id": 1, **PG, "__op": "z"}, "no operation of Debezium's"),
        ({"x": 1, **PG}, "none of the declared columns"),
    ],
)
def test_set_aside(tmp_path, record, reason):
    found = go(tmp_path, record)
    assert reason in found.reasons[1]


def test_only_one_table(tmp_path):
    other = {"id": 1, **PG, "__table": "orders"}
    found = go(tmp_path, other, {"id": 2, **PG}, table="public.customers")
    assert [row["id"] for row in found.rows] == [2]
