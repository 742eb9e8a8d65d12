"""Columns cut out of bytes are those that the line holds, however near a miss it is.

The oracle is that of test_json_oracle: it shares nothing with the engine.
"""

import struct
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.engine.base import FileFormat
from orchestration.engine.json_cut import CutLines, cut_fields, shapes_of
from orchestration.engine.json_files import JsonFiles
from orchestration.engine.json_layout import learn_layout
from orchestration.engine.json_lines import JsonLines
from orchestration.streams.schema import parse_schema
from tests.engine.support import Files, run
from tests.engine.test_json_oracle import BAD, FITTING, SCHEMA, _plain, oracle

ARROW = parse_schema(SCHEMA)
LINES = [
    b'{"b":-120,"d":479.3,"s":"ab","day":"2024-02-29","ts":"2026-01-31T05:29:32.096Z","o":true}',
    b'{"ts": "2026-12-30 23:59:59+05:30", "st": {"x": 12345678901, "y": "\xc3\xa9"}, "u": 1.5e3}',
    b'{"f":-0.25,"r":1.5,"w":12.5,"z":0.125,"t":-128,"i":"77","d":"-0.07","u":"x","o":false}\r',
    b'{ "ts" : "2024-02-29T00:00:00.123456+00:00" , "l" : null , "s":"", "b" : 0 }',
    b'{"s":"x","d":null,"b":null,"st":{"x":null,"y":null},"i":2147483647}',
    b'{"b":12,"st":{"x":5,"y":"abc"},"day":"2023-12-31"}',
]
# Whatever means something in JSON, in numbers or in a date; and what is no text.
BYTES = [bytes([byte]) for byte in b'"\\{}[]:,. -+eEtTZnu019a\x00\x1f\t\r\xff\xc3'] + [
    b"",
    b"\xc3\xa9",
]


def cut(lines, layout, schema=ARROW):
    """Rows that the layout takes, by place."""
    data = b"\n".join(lines) + b"\n"
    ends = np.cumsum([len(line) + 1 for line in lines])
    texts = np.array([_is_text(line) for line in lines])
    rows, arrays = CutLines(data, np.concatenate(([0], ends)), texts).cut(
        layout, shapes_of(schema), texts
    )
    names = [schema.names[int(item.name.rpartition("_")[2])] for item in cut_fields(schema)]
    table = pa.table(arrays, names=names) if len(rows) else pa.table({})
    table.validate(full=True)
    return dict(zip(rows.tolist(), table.to_pylist(), strict=True))


def _is_text(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def same(found, line):
    """Whether the cut row is what the oracle makes of the line."""
    wanted = oracle(line.decode())
    if wanted is BAD:
        return False
    for name, value in found.items():
        if isinstance(value, str) and name in {"f", "r", "w", "z"}:
            value = {"f": float, "r": _float32}.get(name, Decimal)(value)
        if _plain(value) != _plain(wanted[name]):
            return False
    return all(wanted[name] is None for name in wanted if name not in found)


def _float32(text):
    return struct.unpack("f", struct.pack("f", float(text)))[0]


@pytest.mark.parametrize("line", LINES)
def test_no_change_of_a_byte_is_overlooked(line):
    layout = learn_layout(line, ARROW, rescue=False)
    tried = [line]
    for at in range(len(line) + 1):
        tried += [line[:at] + byte + line[at:] for byte in BYTES if byte]
        tried += [line[:at] + byte + line[at + 1 :] for byte in BYTES]
    tried += [line[:at] + line[to:] for at in range(len(line)) for to in (at + 2, at + 3, at + 5)]
    found = cut(tried, layout)
    assert 0 in found
    wrong = [tried[row] for row, values in found.items() if not same(values, tried[row])]
    assert not wrong
    assert len(found) > 50, "near misses that are right are to be taken too"


@pytest.mark.parametrize("line", LINES)
def test_no_swap_of_two_pieces_is_overlooked(line):
    layout = learn_layout(line, ARROW, rescue=False)
    marks = [at for at, byte in enumerate(line) if byte in b'":,{}.- '] + [len(line)]
    tried = [
        line[:a] + line[b:c] + line[a:b] + line[c:]
        for at, a in enumerate(marks)
        for nth, b in enumerate(marks[at + 1 :], at + 1)
        for c in marks[nth + 1 :]
    ]
    wrong = [tried[n] for n, values in cut(tried, layout).items() if not same(values, tried[n])]
    assert not wrong


@settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                           HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data())
def test_lines_of_one_layout_are_written_exactly_or_set_aside(engine, tmp_path_factory, data):
    scalars = [name for name in SCHEMA if name not in {"l", "ls", "m", "st"}]
    names = data.draw(st.permutations(scalars))[: data.draw(st.integers(1, 5))]
    values = st.tuples(*(FITTING[name] for name in names))
    rows = data.draw(st.lists(values, min_size=14, max_size=40))
    lines = [
        "{" + ",".join(f'"{name}":{value}' for name, value in zip(names, row, strict=True)) + "}"
        for row in rows
    ]
    lines = [line.replace("\n", " ").replace("\r", " ") for line in lines]
    root = Path(tmp_path_factory.mktemp("cut"))
    path = root / "in.json"
    path.write_bytes("".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass"))
    batch = run(engine, root, Files([path], SCHEMA, metadata=True))
    found = {row.pop("_file")["row"]: row for row in batch.rows}
    assert set(found) | set(batch.reasons) == set(range(1, len(lines) + 1))
    for number, line in enumerate(lines, 1):
        expected = oracle(line)
        assert (number in batch.reasons) == (expected is BAD), (line, found.get(number))
        if expected is not BAD:
            assert _plain(found[number]) == _plain(expected), line


def test_blanks_on_both_sides_of_a_missing_value_are_no_value():
    layout = learn_layout(b'{"s":"x","b": 1 ,"i": 2 }', ARROW, rescue=False)
    tried = [b'{"s":"x","b": ,"i": 2 }', b'{"s":"x","b": 1 ,"i": }', b'{"s":"x","b":  ,"i":  }']
    assert not cut(tried, layout)
    layout = learn_layout(b'{"s":"x","f": 1.5 ,"u": 2 }', ARROW, rescue=False)
    tried = [b'{"s":"x","f": ,"u": 2 }', b'{"s":"x","f": 1.5 ,"u": }']
    assert not cut(tried, layout)


def test_a_control_character_in_a_last_line_without_newline_is_seen():
    schema = parse_schema({"s": "VARCHAR"})
    reader = JsonLines(schema, timezone=None, rescue=False, max_line_bytes=1000)
    found = reader.read(b'{"s":"a"}\n' * 20 + b'{"s":"\t"}')
    assert [record.line for record in found.bad] == [21]
    assert sum(len(numbers) for _, numbers in found.columns) == 20


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_are_cut_whatever_ends_them(end):
    schema = parse_schema({"s": "VARCHAR", "b": "BIGINT"})
    reader = JsonLines(schema, timezone=None, rescue=False, max_line_bytes=1000)
    lines = [f'{{"s":"v{n}","b":{n}}}'.encode() for n in range(30)]
    found = reader.read(end.join(lines))
    assert not found.bad
    rows = {}
    for arrays, numbers in found.columns:
        strings, integers = (array.to_pylist() for array in arrays)
        rows |= dict(zip(numbers.tolist(), zip(strings, integers, strict=True), strict=True))
    # With \r\n the last line, which has no end, is of another kind than the others.
    assert len(rows) >= 29
    assert all(rows[n] == (f"v{n - 1}", n - 1) for n in rows)


def test_an_object_is_told_from_null(engine, tmp_path):
    schema = {"b": "BIGINT", "st": "STRUCT(x BIGINT, y VARCHAR, l BIGINT[])"}
    texts = ["null", '{"x":null,"y":null}', '{"l":null,"x":null}', '{"x":1}', "{}", '{"l":null}']
    texts = [text for text in texts for _ in range(20)]
    path = tmp_path / "in.json"
    path.write_text("".join(f'{{"b":{n},"st":{text}}}\n' for n, text in enumerate(texts)))
    batch = run(engine, tmp_path, Files([path], schema))
    assert not batch.reasons
    for row in batch.rows:
        x = 1 if texts[row["b"]] == '{"x":1}' else None
        whole = {"x": x, "y": None, "l": None}
        assert row["st"] == (None if texts[row["b"]] == "null" else whole)


@pytest.mark.parametrize(
    "line",
    [b'{"s":"a\\n","b":1}', b'{"b":1,"b":2}', b'{"b":"x"}', b'{"s":1}', b'{"m":{"a":1},"b":1}',
     b'{"b":1} ', b'[{"b":1}]', b"{}", b'{"b":1', b'{"ts":"2026-01-01T00:00:00","b":1}',
     b'{"o":"true","b":1}', b'{"u":{"x":1},"b":1}'],
)  # fmt: skip
def test_lines_that_have_no_layout(line):
    assert learn_layout(line, ARROW, rescue=False) is None


def test_with_rescue_a_line_with_an_unknown_field_has_no_layout():
    assert learn_layout(b'{"b":1,"u":2}', ARROW, rescue=False)
    assert learn_layout(b'{"b":1,"u":2}', ARROW, rescue=True) is None


def test_lines_that_cannot_be_cut_are_no_longer_tried():
    reader = JsonLines(ARROW, timezone=None, rescue=False, max_line_bytes=1000)
    good, escaped = b'{"s":"a","b":1}\n', b'{"s":"\\u0041","b":1}\n'
    assert reader.read(good * 50).columns
    for _ in range(3):
        assert not reader.read(escaped * 9000).bad
    assert not reader.read(good * 50).columns, "the quotes are not looked for any more"


def test_rows_stand_as_in_the_file_whoever_read_them(tmp_path):
    kinds = ['"s":"a"', '"s":null', '"s":"\\u0041"', '"b":"7"', '"d":1.50,"s":"a"', '"o":1']
    texts = [f'{{{kinds[n * 7 % 6 if n % 3 else 0]},"i":{n}}}' for n in range(600)]
    given = Files([tmp_path / "in.json"], SCHEMA)
    given.paths[0].write_text("".join(text + "\n" for text in texts))
    reader = JsonFiles(ARROW, FileFormat("json"))
    with next(given.groups()) as (file,):
        pieces = [work() for work in reader.works(file)]
    numbers = [number for piece in pieces for _, part in piece.columns for number in part.tolist()]
    bad = [record.line for piece in pieces for record in piece.bad]
    assert bad
    assert numbers == sorted(numbers)
    assert sorted(numbers + bad) == list(range(1, 601))
