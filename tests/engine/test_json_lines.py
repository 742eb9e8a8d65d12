"""Newline JSON: what is a record, what is a bad one, and how it is named."""

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import textwrap

import pyarrow as pa
import pytest

from orchestration.errors import SchemaError
from tests.engine.support import MODIFIED, NOW, Files, run

V = {"v": "BIGINT"}


def test_the_case_of_the_semantics_f12(ingest):
    batch = ingest('{"v":"notnum"}\n{bad json\n{"v":5}\n', V)
    assert batch.rows == [{"v": 5}]
    first, second = batch.bad
    assert first["reason"] == 'v: "notnum" is not a BIGINT'
    assert (first["line"], first["raw"], first["batch_id"]) == (1, '{"v":"notnum"}', 3)
    assert first["quarantined_at"] == NOW.replace(microsecond=89)
    assert first["file"].endswith("in.json")
    assert first["sha256"] == hashlib.sha256(b'{"v":"notnum"}').hexdigest()
    assert second["line"] == 2
    assert second["reason"].startswith("not valid JSON")
    assert second["raw_base64"] is None
    output = batch.output
    assert (output.rows_read, output.rows_written, output.rows_quarantined) == (3, 1, 2)


@pytest.mark.parametrize("text", ["7", '"7"', "5.0", "1e3", "-0", "9007199254740993.0", "null"])
def test_what_loses_nothing_is_taken(ingest, text):
    expected = {"7": 7, '"7"': 7, "5.0": 5, "1e3": 1000, "-0": 0, "null": None}
    batch = ingest(f'{{"v":{text}}}\n', V)
    assert batch.rows == [{"v": expected.get(text, 9007199254740993)}]


@pytest.mark.parametrize(
    ("kind", "text", "part"),
    [
        ("BIGINT", "5.7", "is not a BIGINT"),
        ("BIGINT", "true", "is not a BIGINT"),
        ("BIGINT", "9223372036854775808", "out of the range"),
        ("BIGINT", "1e400", "out of the range"),
        ("BIGINT", "1e-400", "is not a BIGINT"),
        ("BIGINT", "9" * 5000, "out of the range"),
        ("BIGINT", "1e" + "9" * 5000, "out of the range"),
        ("BIGINT", "NaN", "not valid JSON"),
        ("TINYINT", "128", "out of the range"),
        ("VARCHAR", "5", "is not a VARCHAR"),
        ("VARCHAR", r'"\ud800"', "surrogate"),
        ("VARCHAR", '"a\tb"', "not valid JSON"),
        ("BOOLEAN", '"true"', "is not a BOOLEAN"),
        ("BOOLEAN", "1", "is not a BOOLEAN"),
        ("DECIMAL(10,2)", "1.239", "more than 2 digits"),
        ("DECIMAL(10,2)", "19.999999999999999999", "more than 2 digits"),
        ("DECIMAL(10,2)", "100000000", "out of the range"),
        ("DOUBLE", "1e400", "out of the range"),
        ("DOUBLE", "9007199254740993", "cannot be held exactly"),
        ("DOUBLE", "Infinity", "not valid JSON"),
        ("FLOAT", "16777217", "cannot be held exactly"),
        ("DATE", '"2026-1-9"', "is not a DATE"),
        ("DATE", '"2026-02-30"', "is not a DATE"),
        ("TIMESTAMPTZ", "1767000000", "is not a TIMESTAMPTZ"),
        ("TIMESTAMPTZ", '"2026-01-09T03:31:48"', "names no time zone"),
        ("TIMESTAMPTZ", '"2026-01-09"', "is not a TIMESTAMPTZ"),
        ("TIMESTAMPTZ", '"2026-01-09T03:31:48.1234567Z"', "more digits"),
        ("TIMESTAMPTZ", '"9999-12-31T23:59:59-02:00"', "years 1 to 9999"),
        ("TIMESTAMPTZ", '"2026-02-29T00:00:00Z"', "years 1 to 9999"),
        ("STRUCT(a BIGINT)", '{"a":1.5}', "v.a: 1.5 is not a BIGINT"),
        ("STRUCT(a BIGINT)", "[]", "an array is not a STRUCT"),
        ("STRUCT(a BIGINT)", '{"a":1,"a":2}', "v.a: given twice"),
        ("BIGINT[]", '[1,"x"]', 'v[1]: "x" is not a BIGINT'),
        ("MAP(VARCHAR, BIGINT)", '{"a":1,"a":2}', "given twice"),
    ],
)
def test_what_would_lose_something_is_set_aside(ingest, kind, text, part):
    good = '{"other":1}\n'
    batch = ingest(good * 20 + f'{{"v":{text}}}\n' + good * 20, {"v": kind, "other": "BIGINT"})
    assert len(batch.rows) == 40
    assert [row["line"] for row in batch.bad] == [21]
    assert part in batch.bad[0]["reason"]
    assert batch.bad[0]["raw"] == f'{{"v":{text}}}'


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        "5",
        "null",
        '"x"',
        '{"v":1}{"v":2}',
        '{"v":1} null',
        '{"v":1,}',
        '{"v":1,"v":2}',
        '{"v":1}\r{"v":2}',
        '{"v":01}',
        '{"v":1}\x00',
        "\x00",
        "{'v':1}",
        '{"v":1 // no\n'.strip(),
    ],
)
def test_a_line_that_is_no_single_object_is_set_aside(ingest, line):
    good = '{"v":1}\n'
    batch = ingest(good * 30 + line + "\n" + good * 30, V)
    assert len(batch.rows) == 60
    assert list(batch.reasons) == [31]
    assert batch.bad[0]["raw"] == line


def test_line_ends_byte_order_mark_and_blank_lines(ingest):
    batch = ingest(b'\xef\xbb\xbf{"v":1}\r\n\r\n  \n{"v":x}\r\n{"v":2}', V)
    assert sorted(row["v"] for row in batch.rows) == [1, 2]
    assert list(batch.reasons) == [4]
    assert batch.output.rows_read == 3


def test_two_records_that_share_three_lines(ingest):
    batch = ingest('{"v":1}{"v":2}\n{"v":\n3}\n' * 20, V)
    assert batch.rows == []
    assert len(batch.bad) == 60


def test_bytes_that_are_no_text_keep_their_bytes(ingest):
    raw = b'{"v":1,"s":"\xff"}'
    batch = ingest(b'{"v":1}\n' * 20 + raw + b'\n{"v":1,"s":"\xc3\xa9"}\n', V)
    assert len(batch.rows) == 21
    (bad,) = batch.bad
    assert bad["reason"] == "the bytes are not valid UTF-8"
    assert base64.b64decode(bad["raw_base64"]) == raw
    assert bad["raw"] == '{"v":1,"s":"\ufffd"}'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_gives_no_rows(ingest, encoding):
    batch = ingest('{"v":1}\n{"v":2}\n'.encode(encoding), V)
    assert batch.rows == []
    assert batch.bad


def test_rubbish_gives_no_rows(ingest):
    data = bytes(range(256)) * 200
    batch = ingest(data, V)
    assert batch.rows == []
    assert len(batch.bad) == 201


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"  \n\n"])
def test_nothing_in_it_is_nothing(ingest, data):
    batch = ingest(data, V)
    assert (batch.output.sink, batch.output.quarantine, batch.output.rows_read) == ((), (), 0)


def test_a_line_over_the_limit_is_kept_as_place_hash_and_head(ingest):
    long = b'{"v":"' + b"x" * 9_000_000 + b'"}'
    data = b'{"v":1}\n' + long + b'\n{"v":2}\n' + long
    batch = ingest(data, V, max_line_bytes=1_000_000)
    assert sorted(row["v"] for row in batch.rows) == [1, 2]
    assert [row["line"] for row in batch.bad] == [2, 4]
    for row in batch.bad:
        assert row["size_bytes"] == len(long)
        assert row["sha256"] == hashlib.sha256(long).hexdigest()
        assert row["raw"] == long[:4096].decode()


def test_a_short_limit_within_one_chunk(ingest):
    batch = ingest('{"v":1}\n{"v":1,"x":"' + "y" * 100 + '"}\n' * 2, V, max_line_bytes=50)
    assert len(batch.rows) == 1
    assert 2 in batch.reasons


def test_a_long_line_within_the_limit_is_a_row(ingest):
    text = "x" * 9_000_000
    batch = ingest(f'{{"v":"{text}"}}\n{{"v":"y"}}\n', {"v": "VARCHAR"})
    assert sorted(len(row["v"]) for row in batch.rows) == [1, 9_000_000]


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_neither_crashes_nor_stops(tmp_path, opening):
    closing = {"[": "]", '{"a":': "}", '[{"a":': "}]"}[opening]
    path = tmp_path / "deep.json"
    deep = opening * 100_000 + "1" + closing * 100_000
    lines = [f'{{"v":{deep}}}', f'{{"x":{deep}}}', deep, f'{{"x":{opening * 100_000}', '{"v":1}']
    path.write_text("".join(line + "\n" for line in lines) + '{"v":1}\n' * 30)
    program = f"""
        from pathlib import Path
        from orchestration.engine.duckdb import DuckDBEngine
        from tests.engine.support import Files, run
        engine = DuckDBEngine("256MiB", 1, Path({str(tmp_path / "spill")!r}))
        batch = run(engine, {str(tmp_path)!r}, Files([{str(path)!r}], {{"v": "BIGINT"}}))
        print(len(batch.rows), sorted(batch.reasons))
        engine.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "31 [1, 2, 3, 4]", done.stderr[-2000:]


def test_200_levels_are_read_and_201_are_not(ingest):
    def line(levels):
        return '{"v":1,"x":' + "[" * (levels - 1) + "]" * (levels - 1) + "}\n"

    batch = ingest(line(200) + line(201), V)
    assert len(batch.rows) == 1
    assert batch.reasons == {2: "nested deeper than 200 levels"}


@pytest.mark.parametrize("suffix", [".json.gz", ".json.zst"])
def test_compressed(ingest, suffix):
    data = b'{"v":1}\n{"v":x}\n' * 5000
    packed = _packed(data, suffix)
    batch = ingest(packed, V, name="in" + suffix)
    assert len(batch.rows) == 5000
    assert len(batch.bad) == 5000
    assert batch.output.bytes_read == len(packed)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    # What pyarrow writes as zstd has no checksum, so a changed byte may give other text.
    [(".json.gz", "cut"), (".json.zst", "cut"), (".json.gz", "flipped")],
)
def test_a_damaged_compressed_file_is_set_aside_whole(engine, tmp_path, suffix, damage):
    data = "".join(f'{{"v":{n * 7919 % 100_003}}}\n' for n in range(60_000)).encode()
    packed = bytearray(_packed(data, suffix))
    if damage == "cut":
        packed = packed[: len(packed) * 3 // 4]
    else:
        packed[-6] ^= 0xFF
    bad, good = tmp_path / f"bad{suffix}", tmp_path / "good.json"
    bad.write_bytes(bytes(packed))
    good.write_text('{"v":1}\n')
    batch = run(engine, tmp_path / "out", Files([bad, good], V))
    assert batch.rows == [{"v": 1}]
    (record,) = batch.bad
    assert (record["line"], record["sha256"], record["raw"]) == (None, None, None)
    assert "damaged or cut off" in record["reason"]
    assert record["size_bytes"] == len(packed)
    assert batch.output.rows_quarantined == 1


def _packed(data, suffix):
    if suffix.endswith("gz"):
        return gzip.compress(data)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def test_a_compressed_file_under_a_plain_name_is_named(ingest):
    batch = ingest(gzip.compress(b'{"v":1}\n'), V)
    assert batch.bad[0]["line"] is None
    assert "gzip" in batch.bad[0]["reason"]


def test_unknown_fields_are_ignored_or_rescued(ingest):
    schema = {"v": "BIGINT", "d": "STRUCT(a BIGINT)"}
    lines = '{"v":1}\n{"v":2,"x": 1.10,"d":{"a":3,"new":[1, 2]}}\n{"v":3,"_rescued":null}\n'
    assert [r["v"] for r in ingest(lines * 10, schema).rows].count(2) == 10
    batch = ingest(lines * 10, schema, name="b.json", rescue=True)
    rescued = {row["v"]: row["_rescued"] for row in batch.rows}
    assert rescued == {
        1: None,
        2: '{"x":1.10,"d":{"new":[1, 2]}}',
        3: '{"_rescued":null}',
    }


def test_an_ignored_field_may_hold_anything_that_is_json(ingest):
    wild = (
        '{"v":1,"x":{"a":[1,{"b":[[[null]]]}],"c":"\\ud83d\\ude00"},"y":123456789012345678901.5}\n'
    )
    batch = ingest(wild * 40 + '{"v":1,"x":NaN}\n', V)
    assert len(batch.rows) == 40
    assert list(batch.reasons) == [41]


def test_names_differ_by_capitals(ingest):
    batch = ingest('{"V":7,"v":1}\n{"V":7}\n' * 20, V)
    assert sorted({row["v"] for row in batch.rows}, key=str) == [1, None]


def test_json_and_map_columns(ingest):
    schema = {"j": "JSON", "m": "MAP(VARCHAR, DECIMAL(30,2))", "l": "JSON[]", "s": "STRUCT(j JSON)"}
    line = (
        '{"j": {"a" : 1.10},"m":{"k":12345678901234567890.12,"":null},"l":[1e5,"x"],"s":{"j":[]}}'
    )
    batch = ingest((line + "\n") * 20 + '{"j":null}\n', schema)
    (row,) = {json.dumps(row, default=str) for row in batch.rows if row["j"] is not None}
    assert json.loads(row) == {
        "j": '{"a" : 1.10}',
        "m": {"k": "12345678901234567890.12", "": None},
        "l": ["1e5", '"x"'],
        "s": {"j": "[]"},
    }
    assert [row["m"] for row in batch.rows if row["j"] is None] == [None]


def test_a_blob_cannot_come_from_json(ingest):
    with pytest.raises(SchemaError, match="BLOB"):
        ingest("{}\n", {"v": "BLOB"})


def test_timestamps_without_a_zone_mean_the_sources(ingest):
    lines = (
        '{"t":"2026-07-01T12:00:00"}\n'
        '{"t":"2026-07-01T12:00:00+05:30"}\n'
        '{"t":"2026-03-29T02:30:00"}\n'  # skipped when the clock is set
        '{"t":"2026-10-25 02:30:00"}\n'  # comes twice
    )
    batch = ingest(lines, {"t": "TIMESTAMPTZ"}, timezone="Europe/Berlin")
    hours = sorted(row["t"].isoformat() for row in batch.rows)
    assert hours == ["2026-07-01T06:30:00+00:00", "2026-07-01T10:00:00+00:00"]
    assert sorted(batch.reasons) == [3, 4]


def test_file_columns_name_the_line(ingest):
    batch = ingest('\n{"v":1}\n{bad\n{"v":"2"}\n' + '{"v":3}\n' * 20, V, metadata=True)
    rows = {row["v"]: row["_file"] for row in batch.rows if row["v"] < 3}
    assert (rows[1]["row"], rows[2]["row"]) == (2, 4)
    assert rows[1]["path"].endswith("in.json")
    assert rows[1]["modified"] == MODIFIED
    assert rows[1]["size"] == batch.output.bytes_read
    assert sorted(row["_file"]["row"] for row in batch.rows if row["v"] == 3) == list(range(5, 25))


def test_line_numbers_go_on_over_chunks(engine, tmp_path):
    path = tmp_path / "big.json"
    pad = "p" * 100
    with path.open("w") as out:
        for number in range(1, 120_001):
            out.write(f'{{"v":{number},"pad":"{pad}"}}\n' if number % 40_000 else "{bad\n")
    batch = run(engine, tmp_path / "out", Files([path], V, metadata=True))
    assert list(batch.reasons) == [40_000, 80_000, 120_000]
    assert all(row["v"] == row["_file"]["row"] for row in batch.rows)
    assert len(batch.rows) == 119_997


def test_values_of_the_path_are_typed(engine, tmp_path):
    for name in ("a.json", "b.json", "c.json"):
        (tmp_path / name).write_text('{"v":1}\n' * 15)
    values = {
        "a.json": {"day": "2026-01-02", "n": "007"},
        "b.json": {"day": None, "n": "x"},
        "c.json": {"day": None, "n": None},
    }
    given = Files(
        sorted(tmp_path.glob("*.json")), V,
        partitions={"day": "DATE", "n": "INTEGER"}, values=values,
    )  # fmt: skip
    batch = run(engine, tmp_path / "out", given)
    assert {(str(row["day"]), row["n"]) for row in batch.rows} == {
        ("2026-01-02", 7),
        ("None", None),
    }
    (bad,) = batch.bad
    assert bad["line"] is None
    assert bad["reason"] == 'n in the path: "x" is not an INTEGER'


def test_many_kinds_of_records_in_one_file(ingest):
    lines = []
    for number in range(3000):
        record = {"v": number, f"k{number % 7}": "x"}
        if number % 3:
            record = {"s": "t", **record}
        if number % 5 == 0:
            record = dict(reversed(list(record.items())))
        lines.append(json.dumps(record, indent=None if number % 2 else 0).replace("\n", " "))
    batch = ingest("\n".join(lines), {"v": "BIGINT", "s": "VARCHAR"})
    assert sorted(row["v"] for row in batch.rows) == list(range(3000))
    assert sum(row["s"] == "t" for row in batch.rows) == 2000
