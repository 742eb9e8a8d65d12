"""Debezium's events: envelope, schema, both databases, every operation, every encoding."""

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from orchestration.errors import DeclarationError, SchemaError
from orchestration.sources.cdc_files import debezium
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read

S = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(10,2)"}
PG = {
    "version": "2.7.0.Final",
    "connector": "postgresql",
    "name": "shop",
    "ts_ms": 1767225600123,
    "snapshot": "false",
    "db": "shop",
    "sequence": '["24023119","24023128"]',
    "ts_us": 1767225600123456,
    "ts_ns": 1767225600123456000,
    "schema": "public",
    "table": "customers",
    "txId": 555,
    "lsn": 24023128,
    "xmin": None,
}
MYSQL = {
    "version": "2.7.0.Final",
    "connector": "mysql",
    "name": "shop",
    "ts_ms": 1767225600000,
    "snapshot": "false",
    "db": "shop",
    "table": "customers",
    "server_id": 223344,
    "gtid": "3E11FA47-71CA-11E1-9E33-C80AA9429562:23",
    "file": "mysql-bin.000003",
    "pos": 484,
    "row": 1,
    "thread": 7,
}
ROW = {"id": 1004, "name": "Anne", "amount": "12.50"}
AT = datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


def event(op, before=None, after=None, source=None, **more):
    about = {"ts_ms": 1767225600200, "transaction": None, **more}
    return {"before": before, "after": after, "source": source or PG, "op": op, **about}


def source(tmp_path, schema=S, zone="UTC", **options):
    options.setdefault("decimals", "string")
    return debezium(files(str(tmp_path), timezone=zone), schema, **options)


@pytest.fixture(params=[1, 40], ids=["one", "many"])
def go(tmp_path, request):
    """Reads records: alone, which is the exact path, and many times over, which is the other."""

    def call(*records, schema=S, zone="UTC", times=None, **options):
        times = request.param if times is None else times
        path = lines(tmp_path / "in.json", *[item for one in records for item in [one] * times])
        found = read(source(tmp_path, schema, zone, **options), path)
        rows = [{k: v for k, v in row.items() if k != "line"} for row in found.rows]
        # NaN is not itself, so texts are compared.
        assert all(repr(row) == repr(rows[at - at % times]) for at, row in enumerate(rows))
        found.rows = rows[::times]
        found.bad = found.bad[::times]
        return found

    return call


def test_insert_postgresql(go):
    (row,) = go(event("c", after=ROW)).rows
    assert row == {
        "_op": "insert",
        "_sequence": "1/00000000000024023119/00000000000024023128/0000000000/1",
        "_source_time": AT,
        "_transaction": "555",
        "_table": "public.customers",
        "_unchanged": None,
        "id": 1004,
        "name": "Anne",
        "amount": Decimal("12.50"),
    }


def test_all_operations(go):
    found = go(
        event("r", after=ROW, source={**PG, "snapshot": "true"}),
        event("c", after=ROW),
        event("u", before=None, after=ROW),
        event("d", before={"id": 1004, "name": None, "amount": None}),
    )
    assert found.ops == ["read", "insert", "update", "delete"]
    assert found.rows[3]["id"] == 1004
    assert found.rows[3]["name"] is None
    # A delete sorts before what comes at the same place: the insert of a changed key.
    assert [row["_sequence"][-1] for row in found.rows] == ["1", "1", "1", "0"]
    assert found.rows[0]["_sequence"].startswith("0/")


def test_truncate_message_and_tombstone(go):
    found = go(
        event("t"),
        {"op": "m", "ts_ms": 1, "source": PG, "message": {"prefix": "x", "content": "eA=="}},
        b"null",
        b"",
        {"schema": {"type": "struct"}, "payload": None},
        {"status": "BEGIN", "id": "571:53195829", "ts_ms": 1486500577125, "event_count": None},
        {"ts_ms": 1486500577125},
    )
    assert found.bad == []
    assert found.ops == ["truncate"]
    assert found.rows[0]["id"] is None


def test_mysql_position(go):
    (row,) = go(event("u", before={**ROW, "name": "A"}, after=ROW, source=MYSQL)).rows
    assert row["_sequence"] == "1/0000000003/00000000000000000484/0000000001/1"
    assert row["_table"] == "shop.customers"
    assert row["_transaction"] == "3E11FA47-71CA-11E1-9E33-C80AA9429562:23"
    assert row["_source_time"] == datetime(2026, 1, 1, tzinfo=UTC)


def test_positions_sort_where_numbers_grow_longer(go):
    at = [(9, 10), (10, 9), (10, 100), (2**62, 3)]
    found = go(
        *[
            event("c", after=ROW, source={**PG, "sequence": f'["{c}","{n}"]', "lsn": n})
            for c, n in at
        ]
    )
    positions = [row["_sequence"] for row in found.rows]
    assert positions == sorted(positions)
    older = event("c", after=ROW, source={**MYSQL, "file": "mysql-bin.999999", "pos": 5})
    newer = event("c", after=ROW, source={**MYSQL, "file": "mysql-bin.1000000", "pos": 4})
    positions = [row["_sequence"] for row in go(older, newer).rows]
    assert positions == sorted(positions)


def test_transaction_metadata(go):
    about = {"id": "571:53195832", "total_order": 12, "data_collection_order": 3}
    (row,) = go(event("c", after=ROW, transaction=about)).rows
    assert row["_transaction"] == "571:53195832"
    assert row["_sequence"] == "1/00000000000024023119/00000000000024023128/0000000012/1"


def test_first_transaction_has_no_commit_before_it(go):
    (row,) = go(event("c", after=ROW, source={**PG, "sequence": '[null,"24023128"]'})).rows
    assert row["_sequence"] == "1/00000000000024023128/00000000000024023128/0000000000/1"


@pytest.mark.parametrize("told", ["true", "first", "last", True])
def test_initial_snapshot_comes_before_every_change(go, told):
    # A transaction that was open at the snapshot has older LSNs than the snapshot itself.
    snapshot = event("r", after=ROW, source={**PG, "snapshot": told, "lsn": 99_000_000})
    change = event("u", after=ROW)
    positions = [row["_sequence"] for row in go(snapshot, change).rows]
    assert positions == sorted(positions)
    placed = [row["_sequence"] for row in go(snapshot, change, snapshots="placed").rows]
    assert all(text.startswith("1/") for text in placed)


def test_incremental_snapshot_is_streamed(go):
    (row,) = go(event("r", after=ROW, source={**PG, "snapshot": "incremental"})).rows
    assert (row["_op"], row["_sequence"][:2]) == ("read", "1/")


def test_unavailable_values(go):
    note = "__debezium_unavailable_value"
    found = go(
        event("u", after={**ROW, "name": note}),
        event("u", after={"id": 1, "name": base64.b64encode(note.encode()).decode()}),
        event("u", after={"id": 1, "name": "x", "amount": note}),
    )
    tagged = event("u", after={"id": 1, "tags": [note]})
    (row,) = go(tagged, schema={"id": "BIGINT", "tags": "VARCHAR[]"}).rows
    assert (row["tags"], row["_unchanged"]) == (None, ["tags"])
    assert [row["_unchanged"] for row in found.rows] == [["name"], ["name"], ["amount"]]
    assert [row["name"] for row in found.rows] == [None, None, "x"]
    assert found.bad == []
    (row,) = go(event("u", after={"id": 1, "name": "?"}), unavailable="?").rows
    assert row["_unchanged"] == ["name"]


def test_key_change_is_two_rows(go):
    found = go(event("u", before={**ROW, "id": 7}, after=ROW), keys=["id"], times=1)
    assert [(row["_op"], row["id"], row["name"]) for row in found.rows] == [
        ("delete", 7, None),
        ("insert", 1004, "Anne"),
    ]
    assert found.rows[0]["_sequence"] < found.rows[1]["_sequence"]
    assert go(event("u", before=ROW, after=ROW), keys=["id"]).ops == ["update"]


def test_key_change_among_many(tmp_path):
    same = event("u", before=ROW, after=ROW)
    other = event("u", before={**ROW, "id": 7}, after=ROW)
    path = lines(tmp_path / "in.json", *[same] * 50, other, *[same] * 50)
    found = read(source(tmp_path, keys=["id"]), path)
    assert [row["line"] for row in found.rows] == [*range(1, 51), 51, 51, *range(52, 102)]
    assert found.ops[50:52] == ["delete", "insert"]


def test_records_as_sinks_of_kafka_write_them(go):
    wrapped = {"key": {"id": 1004}, "value": event("c", after=ROW), "offset": 7, "partition": 0}
    found = go(wrapped, {"key": {"id": 1004}, "value": None}, {"value": event("u", after=ROW)})
    assert (found.ops, found.bad) == (["insert", "update"], [])


def test_only_one_table(go):
    other = event("c", after={"id": 5, "x": 1}, source={**PG, "table": "orders"})
    found = go(event("c", after=ROW), other, table="public.customers")
    assert [row["id"] for row in found.rows] == [1004]
    assert found.bad == []


TYPES = {
    "i": "INTEGER",
    "big": "BIGINT",
    "dec": "DECIMAL(12,4)",
    "wide": "DECIMAL(38,10)",
    "f": "DOUBLE",
    "f4": "FLOAT",
    "b": "BOOLEAN",
    "d": "DATE",
    "t": "TIMESTAMPTZ",
    "s": "VARCHAR",
    "j": "JSON",
    "raw": "BLOB",
    "tags": "VARCHAR[]",
    "counts": "SMALLINT[]",
    "point": "STRUCT(x DOUBLE, y DOUBLE)",
    "map": "MAP(VARCHAR, VARCHAR)",
}


def one(go, column, text, kind=None, **options):
    """The value of a column whose JSON text is given, or the reason it is refused."""
    raw = json.dumps(event("c", after={"id": 1, "COLUMN": 0}), separators=(",", ":"))
    line = raw.replace('"COLUMN":0', f'"{column}":{text}').encode()
    found = go(line, schema={"id": "BIGINT", column: kind or TYPES[column]}, **options)
    if found.bad:
        assert not found.rows
        return found.bad[0][2].removeprefix(f"{column}: ")
    return found.rows[0][column]


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("big", "9223372036854775807", 2**63 - 1),
        ("big", "-9223372036854775808", -(2**63)),
        ("i", "5.0", 5),
        ("dec", "12345678.9012", Decimal("12345678.9012")),
        ("dec", "1.50000", Decimal("1.5000")),
        (
            "wide",
            '"1234567890123456789012345678.0123456789"',
            Decimal("1234567890123456789012345678.0123456789"),
        ),
        (
            "wide",
            "1234567890123456789012345678.0123456789",
            Decimal("1234567890123456789012345678.0123456789"),
        ),
        ("wide", "12345678901234567890", Decimal(12345678901234567890)),
        ("f", "0.1", 0.1),
        ("f", "1e-7", 1e-7),
        ("f", '"NaN"', "nan"),
        ("f", '"-Infinity"', float("-inf")),
        ("f4", "1.5", 1.5),
        ("b", "true", True),
        ("b", "0", False),
        ("d", "20454", date(2026, 1, 1)),
        ("d", "-719162", date(1, 1, 1)),
        ("d", '"2026-01-01"', date(2026, 1, 1)),
        ("d", '"2026-01-01Z"', date(2026, 1, 1)),
        ("t", '"2026-01-01T00:00:00.123456Z"', AT),
        ("t", '"2026-01-01T02:00:00.123456+02:00"', AT),
        ("s", '"Grüße \\"\\\\ \\u00e9\\n"', 'Grüße "\\ é\n'),
        ("s", '""', ""),
        ("j", '"{\\"a\\": [1, 2.50]}"', '{"a": [1, 2.50]}'),
        ("j", '{"a":[1,2.50]}', '{"a":[1,2.50]}'),
        ("raw", '"aGk="', b"hi"),
        ("tags", '["a",null,"b"]', ["a", None, "b"]),
        ("tags", '["a","|",""]', ["a", "|", ""]),
        ("tags", "[]", []),
        ("counts", "[1,-32768]", [1, -32768]),
        ("counts", "[0,-9999]", [0, -9999]),
        ("point", '{"x":1.5,"y":2,"wkb":"AQ==","srid":null}', {"x": 1.5, "y": 2.0}),
        ("map", '{"a":"1","b":null}', [("a", "1"), ("b", None)]),
    ],
)
def test_values(go, column, text, value):
    found = one(go, column, text)
    assert (str(found) if value == "nan" else found) == value


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("big", "9223372036854775808", "9223372036854775808 is out of the range of BIGINT"),
        ("i", "5.7", "5.7 is not an INTEGER"),
        ("dec", "1.23456", "1.23456 has more than 4 digits after the point (DECIMAL(12,4))"),
        ("dec", "1.00000000000000001", "more than 4 digits"),
        ("dec", "123456789", "123456789 is out of the range of DECIMAL(12,4)"),
        ("f", "9007199254740993", "cannot be held exactly by DOUBLE"),
        ("f", "1e400", "out of the range"),
        ("b", "2", "2 is not a BOOLEAN"),
        ("d", "99999999", "not a day"),
        ("d", '"2026-02-30"', "is not a DATE"),
        ("t", "20454", "is a number of unknown unit"),
        ("t", '"2026-01-01T00:00:00.1234567Z"', "more digits than microseconds"),
        ("t", '"+292278994-08-16T23:00:00Z"', "is not a TIMESTAMPTZ"),
        ("s", "7", "7 is not a VARCHAR"),
        ("s", '"\\ud800"', "half of a surrogate"),
        ("j", '"{broken"', "is not valid JSON"),
        ("j", '"{\\"a\\":NaN}"', "is not valid JSON"),
        ("raw", '"***"', "is not base64"),
        ("tags", '"a"', "is not a LIST"),
        ("tags", "[1]", "[0]: 1 is not a VARCHAR"),
        ("counts", "[1,32768]", "[1]: 32768 is out of the range of SMALLINT"),
    ],
)
def test_values_that_do_not_fit(go, column, text, reason):
    assert reason in str(one(go, column, text))


def test_times_as_integers(go):
    at = datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert one(go, "t", "1767225600123", timestamps="ms") == at
    assert one(go, "t", "1767225600123456", timestamps="us") == AT
    assert one(go, "t", "1767225600123456000", timestamps={"t": "ns"}) == AT
    assert "more digits" in one(go, "t", "1767225600123456789", timestamps="ns")
    assert one(go, "t", "-1", timestamps="us") == datetime(
        1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC
    )
    assert "without a zone" in one(go, "t", "1767225600123", timestamps="ms", zone=None)
    # The wall clock of Berlin, an hour ahead.
    berlin = one(go, "t", "1767225600123", timestamps="ms", zone="Europe/Berlin")
    assert berlin == datetime(2025, 12, 31, 23, 0, 0, 123000, tzinfo=UTC)
    # Half past two came twice that night.
    twice = one(go, "t", "1761445800000", timestamps="ms", zone="Europe/Berlin")
    assert "comes twice or never" in twice
    assert "years 1 to 9999" in one(go, "t", str(2**62), timestamps="us")


def b64(number, size):
    return '"' + base64.b64encode(number.to_bytes(size, "big", signed=True)).decode() + '"'


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 1), (1, 1), (-1, 1), (127, 1), (-128, 1), (128, 2), (123456, 3), (-123456, 3),
     (999999999999, 6), (-999999999999, 6), (5, 7), (-5, 7), (7, 8), (-7, 12)],
)  # fmt: skip
def test_precise_decimals(go, number, size):
    found = one(go, "dec", b64(number, size), decimals="precise")
    assert found == Decimal(number).scaleb(-4)


def test_decimals_whose_mode_is_not_declared(go):
    assert one(go, "dec", '"12.5"', decimals=None) == Decimal("12.5")
    assert one(go, "dec", "12.5", decimals=None) == Decimal("12.5")
    assert one(go, "dec", '"-12"', decimals=None) == Decimal(-12)
    # A number in four digits, or three bytes?
    assert "declare decimals='precise' or 'string'" in one(go, "dec", '"1234"', decimals=None)
    assert "declare decimals='precise' or 'string'" in one(go, "dec", '"AfQ="', decimals=None)
    assert "out of the range" in one(go, "dec", b64(10**12, 6), decimals="precise")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[1]", "stands where a JSON object belongs"),
        (b'{"a":1}', "no event of Debezium's: it has no op"),
        (b'{"op":"x","source":{}}', '"x" is no operation of Debezium\'s'),
        (event("c", after={"other": 1}), "after has none of the declared columns; it has other"),
        (event("c"), "the event has no after"),
        (event("d"), "the event has no before"),
        ({"op": "c", "after": ROW}, "the event has no source"),
        (event("c", after=ROW, source={"connector": "mongodb"}), '"mongodb" is no connector'),
        (event("c", after=ROW, source={**PG, "lsn": None}), "has no lsn"),
        (event("c", after=ROW, source={**PG, "lsn": "x"}), "source.lsn"),
        (event("c", after=ROW, source={**PG, "sequence": "x"}), "is no pair of LSNs"),
        (event("c", after=ROW, source={**MYSQL, "file": "binlog"}), "no name of a binlog file"),
        (event("c", after="x"), "is no object"),
        (b'{"op":"c","after":{"id":1,"id":2},"source":{}}', '"id" is given twice'),
        (b"\xc3\x28", "not valid UTF-8"),
        (b'{"value":"{}"}', "the value is a text"),
    ],
)
def test_unknown_shapes_are_set_aside(go, raw, reason):
    found = go(raw)
    assert found.rows == []
    assert reason in found.bad[0][2]


def test_bad_lines_among_good_ones(tmp_path):
    good = event("c", after=ROW)
    twice = json.dumps(good).replace('"id": 1004', '"id": 1004, "id": 1005').encode()
    bad = [b"{oops", event("c", after={**ROW, "amount": "1.234"}), twice, b"\xff"]
    path = lines(tmp_path / "in.json", *[good] * 60, *bad, *[good] * 60)
    found = read(source(tmp_path), path)
    assert len(found.rows) == 120
    assert sorted(found.reasons) == [61, 62, 63, 64]
    assert "amount: " in found.reasons[62]
    assert '"id" is given twice' in found.reasons[63]


def test_declarations_are_checked(tmp_path):
    given = files(str(tmp_path))
    with pytest.raises(SchemaError, match="_op: the name of a column"):
        debezium(given, {"_op": "VARCHAR"})
    with pytest.raises(DeclarationError, match="expected files"):
        debezium("landing/", S)
    with pytest.raises(DeclarationError, match="leave that one out"):
        debezium(files(str(tmp_path), schema=S), S)
    with pytest.raises(DeclarationError, match="format='csv'"):
        debezium(files(str(tmp_path), format="csv"), S)
    with pytest.raises(DeclarationError, match="'nr' is no column"):
        debezium(given, S, keys=["nr"])
    with pytest.raises(DeclarationError, match="rescue=True"):
        debezium(files(str(tmp_path), rescue=True), S)
    with pytest.raises(DeclarationError, match="not known"):
        debezium(given, S, decimals="double")
    with pytest.raises(DeclarationError, match="an empty text"):
        debezium(given, S, unavailable="")
    with pytest.raises(SchemaError, match="not inferred"):
        debezium(given, "infer")
    made = debezium(given, S, timestamps={"id": "ms"})
    assert made.describe()["changes"]["timestamps"] == {"id": "ms"}
    assert made.description.startswith("debezium json files in")
