"""AWS DMS: CSV and Parquet as it writes them to S3, JSON as to Kinesis and Kafka."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.engine.line_chunks import UnreadableFile
from orchestration.errors import SchemaError
from orchestration.sources.cdc_files import dms
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read

S = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(10,2)", "day": "DATE"}
LOAD, CHANGES = "LOAD00000001.csv", "20260131-120000123.csv"


def csv(tmp_path, name, text, schema=S, *, header=False, zone="UTC", **options):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    given = files(f"{tmp_path}/shop/orders", format="csv", header=header, timezone=zone)
    return read(dms(given, schema, **options), path)


def test_changes(tmp_path):
    found = csv(tmp_path, CHANGES, "I,1,Anne,12.50,2026-01-01\nU,1,,13,\nD,1,,,\n")
    assert found.bad == []
    assert found.rows[0] == {
        "_op": "insert",
        "_sequence": "1/20260131-120000123000/000000000001/1",
        "_source_time": None,
        "_transaction": None,
        "_table": "shop.orders",
        "_unchanged": None,
        "id": 1,
        "name": "Anne",
        "amount": Decimal("12.50"),
        "day": date(2026, 1, 1),
        "line": 1,
    }
    assert found.ops == ["insert", "update", "delete"]
    positions = [row["_sequence"] for row in found.rows]
    assert positions == sorted(positions)


@pytest.mark.parametrize("text", ["1,Anne,1,\n2,Bob,2,\n", "I,1,Anne,1,\nI,2,Bob,2,\n"])
@pytest.mark.parametrize("name", [LOAD, "LOAD0000000A.csv.gz"])
def test_full_load_with_and_without_operations(tmp_path, name, text):
    found = csv(tmp_path, name, text)
    assert found.ops == ["read", "read"]
    assert [row["id"] for row in found.rows] == [1, 2]
    assert found.rows[0]["_sequence"].startswith("0/")
    assert found.rows[0]["_sequence"] < found.rows[1]["_sequence"]


def test_header_and_time(tmp_path):
    text = "Op,dms_at,id,name,amount,day,extra\nI,2026-01-31 12:00:00.123456,1,Anne,1,,x\n"
    found = csv(tmp_path, CHANGES, text, header=True, time_column="dms_at")
    assert found.rows[0]["_source_time"] == datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    found = csv(tmp_path, LOAD, "id,name,amount,day\n1,Anne,1,\n", header=True)
    assert found.ops == ["read"]


def test_sequence_column(tmp_path):
    text = "I,1,a,1,,20260131120000120000000000000000123\nU,1,b,1,,20260131120000120000000000000000124\n"
    found = csv(tmp_path, CHANGES, text, sequence_column="AR_H_CHANGE_SEQ")
    assert [row["_sequence"] for row in found.rows] == [
        "1/0000020260131120000120000000000000000123/1",
        "1/0000020260131120000120000000000000000124/1",
    ]
    found = csv(tmp_path, CHANGES, "I,1,a,1,,\n", sequence_column="AR_H_CHANGE_SEQ")
    assert found.reasons == {1: "the column that orders the changes is null"}


def test_files_in_order(tmp_path):
    names = [LOAD, "LOAD00000009.csv", "LOAD0000000A.csv", "20260131-120000123.csv"]
    names += ["20260131-120000124.csv", "20260131-1200001240.csv", "20260201-000000000.csv"]
    positions = [csv(tmp_path, name, "I,1,a,1,\n").rows[0]["_sequence"] for name in names]
    assert positions == sorted(positions)


def test_places_go_on_through_a_long_file(tmp_path):
    count = 45_000  # three pieces
    text = "".join(f'I,{n},"a\nb",1,\n' if n == 100 else f"I,{n},x,1,\n" for n in range(count))
    found = csv(tmp_path, CHANGES, text)
    positions = [row["_sequence"] for row in found.rows]
    assert len(set(positions)) == count
    assert positions == sorted(positions)
    assert positions[-1].endswith(f"{count + 1:012d}/1")


def test_set_aside(tmp_path):
    found = csv(tmp_path, CHANGES, "I,1,a,1,\nX,2,a,1,\nI,x,a,1,\nI,1\nU,3,a,1.234,\n,5,a,1,\n")
    assert [row["id"] for row in found.rows] == [1]
    assert found.reasons[2] == "Op: 'X' is no operation of DMS's (I, U, D)"
    assert "id: " in found.reasons[3]
    assert "2 fields, expected 5" in found.reasons[4]
    assert "amount: " in found.reasons[5]
    assert "no operation" in found.reasons[6]


def test_files_set_aside_whole(tmp_path):
    with pytest.raises(UnreadableFile, match="neither LOAD"):
        csv(tmp_path, "orders.csv", "I,1,a,1,\n")
    with pytest.raises(UnreadableFile, match="without the column 'Op'"):
        csv(tmp_path, CHANGES, "1,a,1,\n")


def test_column_that_dms_adds_is_not_the_tables(tmp_path):
    with pytest.raises(SchemaError, match="Op: a column of the schema"):
        csv(tmp_path, CHANGES, "", {"Op": "VARCHAR", "id": "BIGINT"})


def parquet(tmp_path, name, columns, **options):
    path = tmp_path / name
    pq.write_table(pa.table(columns), path)
    given = files(f"{tmp_path}/shop/orders/2026/01/31", format="parquet", timezone="UTC")
    return read(dms(given, S, **options), path)


def test_parquet(tmp_path):
    columns = {
        "Op": ["I", "D", "?"],
        "id": pa.array([1, 2, 3], pa.int32()),
        "name": ["a", None, "c"],
        "amount": pa.array([Decimal("1.50"), None, None], pa.decimal128(10, 2)),
        "at": pa.array([datetime(2026, 1, 31, 12)] * 3, pa.timestamp("us")),  # noqa: DTZ001
    }
    found = parquet(tmp_path, "20260131-120000123.parquet", columns, time_column="at")
    assert found.ops == ["insert", "delete"]
    assert found.rows[0]["amount"] == Decimal("1.50")
    assert found.rows[0]["_table"] == "shop.orders"
    assert found.rows[0]["_source_time"] == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert found.rows[1]["_sequence"] == "1/20260131-120000123000/000000000002/0"
    assert found.reasons == {3: "Op: '?' is no operation of DMS's (I, U, D)"}
    del columns["Op"], columns["at"]
    assert parquet(tmp_path, "LOAD00000001.parquet", columns).ops == ["read"] * 3
    (tmp_path / "20260131-120000123.parquet").write_bytes(b"no Parquet")
    given = files(str(tmp_path), format="parquet")
    with pytest.raises(UnreadableFile, match="no readable Parquet"):
        read(dms(given, S), tmp_path / "20260131-120000123.parquet")


def record(op, data, **more):
    return {
        "data": data,
        "metadata": {
            "timestamp": "2026-01-31T12:00:00.123456Z",
            "record-type": "data",
            "operation": op,
            "partition-key-type": "schema-table",
            "schema-name": "public",
            "table-name": "orders",
            "transaction-id": 4302,
        }
        | more,
    }


def json(tmp_path, *records, **options):
    given = dms(files(str(tmp_path)), S, **options)
    return read(given, lines(tmp_path / "records.json", *records))


def test_json(tmp_path):
    row = {"id": 1, "name": "Anne", "amount": "12.50", "day": "2026-01-01"}
    found = json(
        tmp_path,
        record("load", row),
        record("insert", row, **{"transaction-record-id": 1}),
        record("update", row, **{"transaction-record-id": 2}),
        record("delete", {"id": 1}, **{"transaction-record-id": 3}),
        record("create-table", None, **{"record-type": "control"}),
    )
    assert found.bad == []
    assert found.ops == ["read", "insert", "update", "delete"]
    assert found.rows[0] == {
        "_op": "read",
        "_sequence": "0/20260131120000123456/00000000000000000000/records.json/000000000001/1",
        "_source_time": datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC),
        "_transaction": "4302",
        "_table": "public.orders",
        "_unchanged": None,
        "id": 1,
        "name": "Anne",
        "amount": Decimal("12.50"),
        "day": date(2026, 1, 1),
        "line": 1,
    }
    positions = [row["_sequence"] for row in found.rows]
    assert positions == sorted(positions)


def test_json_key_change(tmp_path):
    changed = record("update", {"id": 1, "name": "Anne"}) | {"before-image": {"id": 7}}
    found = json(tmp_path, changed, keys=["id"])
    assert [(row["_op"], row["id"]) for row in found.rows] == [("delete", 7), ("insert", 1)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"id": 1}, "it has no metadata"),
        (record("merge", {"id": 1}), "is no operation of DMS's"),
        (record("insert", {"x": 1}), "none of the declared columns"),
        (record("insert", {"id": 1}, timestamp=None), "no place in an order"),
        (record("insert", {"id": 1}, timestamp="yesterday"), "is not a TIMESTAMPTZ"),
        (record("drop-table", None, **{"record-type": "control"}), "is not followed here"),
    ],
)
def test_json_set_aside(tmp_path, given, reason):
    found = json(tmp_path, given)
    assert found.rows == []
    assert reason in found.reasons[1]
