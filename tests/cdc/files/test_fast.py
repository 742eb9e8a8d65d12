"""Lines read many at a time are read as one by one, and the ordinary ones are."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.engine.cdc.fast import FastLines
from orchestration.sources.cdc_files import debezium, maxwell
from orchestration.sources.files import files
from tests.cdc.files.support import lines, read
from tests.cdc.files.test_debezium import MYSQL, PG, TYPES, event

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-10, 10).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["-0", "0.0", "1.10", "1e5", "1E-3", "0.1000000000000000055", "NaN", "007"]),
)
TEXTS = st.one_of(
    st.text(max_size=12).map(json.dumps),
    st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    NUMBERS.map(lambda text: f'"{text}"'),
    st.datetimes().map(lambda at: f'"{at.isoformat()}Z"'),
    st.dates().map(lambda day: f'"{day}"'),
    st.sampled_from(
        ['"__debezium_unavailable_value"', '"AfQ="', '"\\ud800"', '"2026-01-01T24:00:00Z"',
         '"0000-01-01"', '"{\\"a\\":1}"', '"[1,]"', '"a\\u0000b"', '"1,}"', '"info, naN"'],
    ),
)  # fmt: skip
LISTS = ['["a"]', '["a","b|"]', "[1,-2,0]", "[99999]", "[-0]", '["__debezium_unavailable_value"]',
         '["a",null]', '["\\u0041"]', "[1.0]", "[[1]]", '[1,"2"]']  # fmt: skip
ANY = st.one_of(
    NUMBERS, TEXTS, st.sampled_from(["null", "true", "false", "[]", "{}", '{"x":1.5}', *LISTS])
)
COLUMNS = {"id": "BIGINT", **TYPES}


def rows_and_reasons(source, path):
    found = read(source, path)
    return [repr(row) for row in found.rows], found.bad


def both(source, path):
    """What the reader makes of a file, and what it makes of it line by line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.engine.cdc.fast._FEW", 1)
        quick = rows_and_reasons(source, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.engine.cdc.fast._FEW", 10**9)
        return quick, rows_and_reasons(source, path)


@settings(deadline=None)
@given(data=st.data())
def test_debezium_is_read_alike(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("in") / "in.json"
    # One column of each kind would seldom give a row in which all of them are good.
    names = data.draw(
        st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True)
    )
    options = {
        "decimals": data.draw(st.sampled_from([None, "string", "precise"])),
        "timestamps": data.draw(st.sampled_from([None, "ms", "us", "ns"])),
        "keys": [name for name in names if name == "id"],
    }
    zone = data.draw(st.sampled_from([None, "UTC", "Europe/Berlin"]))
    texts = []
    for _ in range(data.draw(st.integers(1, 6))):
        members = [f'"{name}":{data.draw(ANY)}' for name in names if data.draw(st.booleans())]
        row = "{" + ",".join(members) + "}"
        before = data.draw(st.sampled_from(["null", row, '{"id":5}']))
        about = data.draw(st.sampled_from([PG, MYSQL, {**PG, "snapshot": "first"}]))
        about = about | {"ts_us": data.draw(st.sampled_from([None, 0, 1767225600123456, 10**18]))}
        op = data.draw(st.sampled_from(["c", "u", "d", "r", "t", "m", "x"]))
        raw = json.dumps(event(op, before="B", after="A", source=about), separators=(",", ":"))
        texts.append(raw.replace('"B"', before).replace('"A"', row))
    source = debezium(
        files(str(path.parent), timezone=zone), {n: COLUMNS[n] for n in names}, **options
    )
    quick, exact = both(source, lines(path, *texts))
    assert quick == exact


@settings(deadline=None)
@given(data=st.data())
def test_maxwell_is_read_alike(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("in") / "in.json"
    names = ["id", data.draw(st.sampled_from(sorted(TYPES)))]
    texts = []
    for _ in range(data.draw(st.integers(1, 6))):
        members = [f'"{name}":{data.draw(ANY)}' for name in names if data.draw(st.booleans())]
        record = {
            "database": "shop",
            "table": data.draw(st.sampled_from(["orders", "x"])),
            "type": data.draw(st.sampled_from(["insert", "update", "delete", "bootstrap-insert"])),
            "ts": data.draw(st.sampled_from([1767225600, 0, None])),
            "xid": data.draw(st.sampled_from([77, None])),
            "data": "D",
            "old": data.draw(st.sampled_from([None, {}, {"id": 4}])),
        }
        more = [{"commit": True}, {"xoffset": 3}, {"position": "mysql-bin.000042:12345"}, {}]
        record |= data.draw(st.sampled_from(more))
        raw = json.dumps(record, separators=(",", ":"))
        texts.append(raw.replace('"D"', "{" + ",".join(members) + "}"))
    source = maxwell(
        files(str(path.parent), timezone="UTC"),
        {name: COLUMNS[name] for name in names},
        keys=["id"],
        table=data.draw(st.sampled_from([None, "shop.orders"])),
    )
    quick, exact = both(source, lines(path, *texts))
    assert quick == exact


ORDINARY = {
    "id": "BIGINT", "name": "VARCHAR", "tags": "VARCHAR[]", "amount": "DECIMAL(10,2)", "wide": "DECIMAL(38,10)",
    "score": "DOUBLE", "active": "BOOLEAN", "day": "DATE", "at": "TIMESTAMPTZ", "more": "JSON",
}  # fmt: skip
VALUES = {
    "id": 1004,
    "name": 'Größe "10"\n',
    "amount": "12.50",
    "wide": "1234567890123456789012345678.0123456789",
    "score": 0.1,
    "active": True,
    "day": 20454,
    "at": "2026-01-01T00:00:00.123456Z",
    "more": '{"a": [1, 2]}',
    "tags": ["a", "b"],
}


def taken_of(monkeypatch, source, path):
    taken = []
    original = FastLines.read

    def counted(self, chunk):
        parts, which = original(self, chunk)
        taken.append(int(which.sum()))
        return parts, which

    monkeypatch.setattr(FastLines, "read", counted)
    return read(source, path), sum(taken)


@pytest.mark.parametrize("about", [PG, MYSQL], ids=["postgresql", "mysql"])
def test_ordinary_debezium_is_read_many_at_a_time(tmp_path, monkeypatch, about):
    records = [
        event("c", after=VALUES, source=about),
        event("u", before=VALUES, after={**VALUES, "name": None}, source=about),
        event("d", before={"id": 1004}, source=about),
        event("r", after={**VALUES, "name": "__debezium_unavailable_value"}, source=about),
    ]
    source = debezium(
        files(str(tmp_path), timezone="UTC"), ORDINARY, keys=["id"], decimals="string"
    )
    path = lines(tmp_path / "in.json", *records * 25)
    found, taken = taken_of(monkeypatch, source, path)
    assert (len(found.rows), taken, found.bad) == (100, 100, [])


def test_ordinary_maxwell_is_read_many_at_a_time(tmp_path, monkeypatch):
    row = VALUES | {"day": "2026-01-01", "at": "2026-01-01 00:00:00.123456"}
    del row["more"]
    about = {"database": "shop", "table": "orders", "ts": 1767225600, "xid": 9, "data": row}
    records = [
        about | {"type": "insert", "commit": True, "position": "mysql-bin.000042:12345"},
        about | {"type": "update", "xoffset": 1, "old": {"name": "x"}},
        about | {"type": "delete", "xoffset": 2},
        about | {"type": "bootstrap-insert"},
    ]
    source = maxwell(files(str(tmp_path), timezone="UTC"), ORDINARY, keys=["id"])
    found, taken = taken_of(monkeypatch, source, lines(tmp_path / "in.json", *records * 25))
    assert (len(found.rows), taken, found.bad) == (100, 100, [])


def test_columns_may_have_any_name(tmp_path, monkeypatch):
    names = ["op", "image", "members", "q", "q0", "p", "before", "table", "lsn", "ts_us"]
    names += ["sequence", "row", "a b", "a/b", "a~1b", 'quo"te', "it's", "größe", "{old}", "null"]
    names += ["old_key", "connector", "database", "data", "old", "position", "headwater_line", "id"]
    row = {name: f"v {name}" for name in names}
    schema = dict.fromkeys(names, "VARCHAR")
    source = debezium(files(str(tmp_path)), schema, keys=["op", "it's", "q0"])
    path = lines(tmp_path / "in.json", *[event("u", before=row, after=row)] * 30)
    found, taken = taken_of(monkeypatch, source, path)
    assert taken == 30
    assert [{name: one[name] for name in names} for one in found.rows] == [row] * 30
    about = {"database": "shop", "table": "t", "type": "update", "ts": 1, "xid": 9, "data": row}
    source = maxwell(files(str(tmp_path)), schema, keys=["data", "it's"])
    path = lines(tmp_path / "in.json", *[about | {"old": {"op": "x"}}] * 30)
    found, taken = taken_of(monkeypatch, source, path)
    assert taken == 30
    assert [{name: one[name] for name in names} for one in found.rows] == [row] * 30
