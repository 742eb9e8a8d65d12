"""Debezium's events that carry their schema: it says how each value is written."""

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from orchestration.engine.cdc.fast import FastLines
from orchestration.sources.cdc_files import debezium
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read
from tests.cdc.files.test_debezium import PG, event

AT = datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


def field(name, kind, semantic=None, **parameters):
    found = {"type": kind, "optional": True, "field": name}
    if semantic:
        found |= {"name": semantic, "version": 1}
    return found | ({"parameters": parameters} if parameters else {})


def schema(*columns, op="after"):
    row = [
        {"type": "struct", "fields": list(columns), "optional": True, "name": "V", "field": name}
        for name in ("before", "after")
    ]
    rest = [{"type": "string", "optional": False, "field": "op"}]
    return {"type": "struct", "fields": [*row, *rest], "optional": False, "name": "E"}


def b64(number, size):
    return base64.b64encode(number.to_bytes(size, "big", signed=True)).decode()


TIME = "io.debezium.time."
KAFKA = "org.apache.kafka.connect.data."
CASES = [
    ("TIMESTAMPTZ", "int64", TIME + "Timestamp", 1767225600123, AT.replace(microsecond=123000)),
    ("TIMESTAMPTZ", "int64", TIME + "MicroTimestamp", 1767225600123456, AT),
    ("TIMESTAMPTZ", "int64", TIME + "NanoTimestamp", 1767225600123456000, AT),
    ("TIMESTAMPTZ", "int64", KAFKA + "Timestamp", 1767225600123, AT.replace(microsecond=123000)),
    ("TIMESTAMPTZ", "string", TIME + "ZonedTimestamp", "2026-01-01T00:00:00.123456Z", AT),
    ("TIMESTAMPTZ", "string", TIME + "IsoTimestamp", "2026-01-01T00:00:00.123456Z", AT),
    ("DATE", "int32", TIME + "Date", 20454, date(2026, 1, 1)),
    ("DATE", "int32", KAFKA + "Date", 20454, date(2026, 1, 1)),
    ("DATE", "string", TIME + "IsoDate", "2026-01-01Z", date(2026, 1, 1)),
    ("VARCHAR", "int32", TIME + "Time", 45296789, "12:34:56.789"),
    ("VARCHAR", "int64", TIME + "MicroTime", 45296000000, "12:34:56"),
    ("VARCHAR", "int64", TIME + "MicroTime", -3023999000000, "-839:59:59"),
    ("VARCHAR", "int64", TIME + "NanoTime", 45296000000001, "12:34:56.000000001"),
    ("VARCHAR", "string", TIME + "ZonedTime", "12:34:56Z", "12:34:56Z"),
    ("VARCHAR", "string", "io.debezium.data.Uuid", "0c6b", "0c6b"),
    ("VARCHAR", "string", "io.debezium.data.Enum", "paid", "paid"),
    ("JSON", "string", "io.debezium.data.Json", '{"a": 1}', '{"a": 1}'),
    ("BIGINT", "int64", TIME + "MicroTimestamp", 1767225600123456, 1767225600123456),
    ("INTEGER", "int32", TIME + "Year", 2026, 2026),
    ("BOOLEAN", "int16", None, 1, True),
    ("DECIMAL(10,2)", "string", None, "1234", Decimal(1234)),
    ("DECIMAL(10,2)", "double", None, 12.5, Decimal("12.5")),
    ("DECIMAL(38,0)", "bytes", KAFKA + "Decimal", b64(2**64 - 1, 9), Decimal(2**64 - 1)),
    ("DECIMAL(10,2)", "bytes", KAFKA + "Decimal", b64(-1250, 2), Decimal("-12.5")),
    ("VARCHAR", "bytes", KAFKA + "Decimal", b64(1250, 2), "12.50"),
    ("DOUBLE", "bytes", KAFKA + "Decimal", b64(1250, 2), 12.5),
    (
        "DECIMAL(10,2)",
        "struct",
        "io.debezium.data.VariableScaleDecimal",
        {"scale": 3, "value": b64(12500, 2)},
        Decimal("12.5"),
    ),
    ("BLOB", "bytes", None, "aGk=", b"hi"),
]


@pytest.mark.parametrize(("kind", "type_", "semantic", "value", "expected"), CASES)
@pytest.mark.parametrize("times", [1, 30])
def test_encodings(tmp_path, times, kind, type_, semantic, value, expected):
    scale = {"VARCHAR": "2", "DOUBLE": "2", "DECIMAL(38,0)": "0"}.get(kind, "2")
    parameters = {"scale": scale} if semantic == KAFKA + "Decimal" else {}
    about = schema(field("id", "int64"), field("x", type_, semantic, **parameters))
    record = {"schema": about, "payload": event("c", after={"id": 1, "x": value})}
    given = debezium(files(str(tmp_path), timezone="UTC"), {"id": "BIGINT", "x": kind})
    found = read(given, lines(tmp_path / "in.json", *[record] * times))
    assert found.bad == []
    assert [row["x"] for row in found.rows] == [expected] * times


def test_scale_that_does_not_fit_is_refused(tmp_path):
    about = schema(field("x", "bytes", KAFKA + "Decimal", scale="3"))
    records = [
        {"schema": about, "payload": event("c", after={"x": b64(number, 2)})}
        for number in [12500, 12501] * 20
    ]
    given = debezium(files(str(tmp_path)), {"x": "DECIMAL(10,2)"})
    found = read(given, lines(tmp_path / "in.json", *records))
    assert [row["x"] for row in found.rows] == [Decimal("12.50")] * 20
    assert set(found.reasons) == set(range(2, 41, 2))
    assert "more than 2 digits" in found.reasons[2]


def test_schemas_that_change_within_a_file(tmp_path, monkeypatch):
    taken = []
    original = FastLines.read

    def counted(self, given):
        parts, which = original(self, given)
        taken.append(int(which.sum()))
        return parts, which

    monkeypatch.setattr(FastLines, "read", counted)
    old = schema(field("id", "int64"), field("at", "int64", TIME + "Timestamp"))
    new = schema(field("id", "int64"), field("at", "int64", TIME + "MicroTimestamp"))
    records = [
        {"schema": about, "payload": event("u", after={"id": number, "at": at})}
        for number in range(100)
        for about, at in [(old, 1767225600123), (new, 1767225600123000)]
    ]
    records += [{"payload": event("d", before={"id": 7, "at": None}), "schema": new}]
    records += [{"schema": None, "payload": event("d", before={"id": 8})}]
    given = debezium(files(str(tmp_path), timezone="UTC"), {"id": "BIGINT", "at": "TIMESTAMPTZ"})
    found = read(given, lines(tmp_path / "in.json", *records))
    assert [row["id"] for row in found.rows] == [n for n in range(100) for _ in "ab"] + [7, 8]
    assert {row["at"] for row in found.rows[:200]} == {AT.replace(microsecond=123000)}
    assert found.bad == []
    assert taken == [200]


def test_text_behind_the_payload_is_not_cut_off(tmp_path):
    about = schema(field("id", "int64"))
    good = json.dumps(
        {"schema": about, "payload": event("c", after={"id": 1})}, separators=(",", ":")
    )
    odd = [f"{good[:-1]}x", f"{good}}}", f'{good[:-1]},"x":1}}', good[:-1]]
    given = debezium(files(str(tmp_path)), {"id": "BIGINT"})
    found = read(given, lines(tmp_path / "in.json", *[good] * 30, *odd, *[good] * 30))
    assert len(found.rows) == 60
    assert set(found.reasons) == {31, 32, 33, 34}


def test_no_schema_of_kafka_connect(tmp_path):
    given = debezium(files(str(tmp_path)), {"id": "BIGINT"})
    record = {"schema": {"type": "string"}, "payload": event("c", after={"id": 1}, source=PG)}
    found = read(given, lines(tmp_path / "in.json", *[record] * 30))
    assert found.rows == []
    assert "not one of Kafka Connect's" in found.reasons[1]
