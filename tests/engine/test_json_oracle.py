"""Every line is written exactly or set aside, never both, never altered.

The oracle below shares nothing with the engine: Python's ``json`` and ``decimal``, and the rules
as the documentation states them. Lines are made of texts, not of values, so that every way to
write a value is tried; most lines of a file look alike, so that the fast path is taken too.
"""

import json
import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.support import Files, run

BAD = object()
SCHEMA = {
    "b": "BIGINT",
    "t": "TINYINT",
    "i": "INTEGER",
    "d": "DECIMAL(10,2)",
    "w": "DECIMAL(38,10)",
    "z": "DECIMAL(38,38)",
    "f": "DOUBLE",
    "r": "FLOAT",
    "s": "VARCHAR",
    "o": "BOOLEAN",
    "day": "DATE",
    "ts": "TIMESTAMPTZ",
    "st": "STRUCT(x BIGINT, y VARCHAR)",
    "l": "DOUBLE[]",
    "ls": "STRUCT(x DECIMAL(20,4))[]",
    "m": "MAP(VARCHAR, BIGINT)",
}


class Token(str):
    __slots__ = ()


def _number(value):
    """An exact Decimal of a number, or of a text that is one."""
    if not isinstance(value, str) or isinstance(value, bool):
        return None
    text = str(value)
    if not isinstance(value, Token) and (
        not text.isascii() or "_" in text or text != text.strip() or text.strip("+-.eE0123456789")
    ):
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _integer(bits):
    def convert(value):
        number = _number(value)
        if number is None or (number and number.adjusted() > 40):
            return BAD
        if number and number.adjusted() < 0:
            return BAD
        if number != int(number) or not -(2 ** (bits - 1)) <= int(number) < 2 ** (bits - 1):
            return BAD
        return int(number)

    return convert


def _decimal(precision, scale):
    def convert(value):
        number = _number(value)
        if number is None:
            return BAD
        sign, digits, exponent = number.as_tuple()
        if not number:
            return Decimal(0)
        while digits[-1] == 0:
            digits, exponent = digits[:-1], exponent + 1
        if exponent < -scale or number.adjusted() >= precision - scale:
            return BAD
        return number

    return convert


def _float(value, pack="d"):
    number = _number(value)
    if number is None:
        return BAD
    try:
        found = float(str(value))
        if pack == "f":
            found = struct.unpack("f", struct.pack("f", found))[0]
    except OverflowError:
        return BAD
    if found in {float("inf"), float("-inf")}:
        return BAD
    whole = str(value).lstrip("+-").isdigit()
    return BAD if whole and Decimal(found) != number else found


def _string(value):
    if not isinstance(value, str) or isinstance(value, Token):
        return BAD
    return BAD if any(0xD800 <= ord(c) < 0xE000 for c in value) else value


def _day(value):
    if not isinstance(value, str) or isinstance(value, Token) or len(value) != 10:
        return BAD
    if not (value[4] == value[7] == "-" and (value[:4] + value[5:7] + value[8:]).isascii()):
        return BAD
    try:
        return date(int(value[:4]), int(value[5:7]), int(value[8:]))
    except ValueError:
        return BAD


def _moment(value):
    if _string(value) is BAD or _day(value[:10]) is BAD or value[10:11] not in tuple("T t"):
        return BAD
    rest = value[11:]
    zone = next((at for at, mark in enumerate(rest) if mark in "Zz+-"), None)
    if zone is None:
        return BAD
    clock, offset = rest[:zone].removesuffix(" "), rest[zone:]
    clock, _, fraction = clock.replace(",", ".").partition(".")
    parts = clock.split(":")
    if "." in rest[:zone].replace(",", ".") and (not fraction.isdigit() or len(parts) != 3):
        return BAD
    if len(parts) not in {2, 3} or any(len(part) != 2 or not part.isdigit() for part in parts):
        return BAD
    if fraction[6:].strip("0"):
        return BAD
    shift = timedelta()
    if offset not in {"Z", "z"}:
        digits = offset[1:].replace(":", "", 1) if offset[3:4] == ":" else offset[1:]
        if (
            len(digits) not in {2, 4}
            or not digits.isdigit()
            or (offset[3:4] == ":" and len(digits) != 4)
        ):
            return BAD
        hours, minutes = int(digits[:2]), int(digits[2:] or 0)
        if hours > 23 or minutes > 59:
            return BAD
        shift = timedelta(hours=hours, minutes=minutes) * (1 if offset[0] == "+" else -1)
    try:
        day = _day(value[:10])
        local = datetime(day.year, day.month, day.day, *map(int, parts), tzinfo=UTC) + timedelta(
            microseconds=int(fraction[:6].ljust(6, "0") or 0)
        )
        return local - shift
    except (ValueError, OverflowError):
        return BAD


def _struct(**fields):
    def convert(value):
        if (
            not isinstance(value, list)
            or not all(isinstance(p, tuple) for p in value)
            or value == [[]]
        ):
            return BAD
        return _members(value, fields)

    return convert


def _list(convert):
    def go(value):
        if not isinstance(value, Elements):
            return BAD
        found = [None if item is None else convert(item) for item in value.items]
        return BAD if any(item is BAD for item in found) else found

    return go


def _map(convert):
    def go(value):
        if not isinstance(value, list):
            return BAD
        keys = [key for key, _ in value]
        if len(set(keys)) != len(keys) or any(_string(key) is BAD for key in keys):
            return BAD
        found = {key: None if item is None else convert(item) for key, item in value}
        return BAD if any(item is BAD for item in found.values()) else found

    return go


class Elements:
    def __init__(self, items):
        self.items = items


def _members(pairs, fields):
    found = dict.fromkeys(fields)
    seen = set()
    for key, value in pairs:
        if key in fields:
            if key in seen:
                return BAD
            seen.add(key)
            if value is not None:
                found[key] = fields[key](value)
    return BAD if any(value is BAD for value in found.values()) else found


COLUMNS = {
    "b": _integer(64),
    "t": _integer(8),
    "i": _integer(32),
    "d": _decimal(10, 2),
    "w": _decimal(38, 10),
    "z": _decimal(38, 38),
    "f": _float,
    "r": lambda value: _float(value, "f"),
    "s": _string,
    "o": lambda value: value if isinstance(value, bool) else BAD,
    "day": _day,
    "ts": _moment,
    "st": _struct(x=_integer(64), y=_string),
    "l": _list(_float),
    "ls": _list(_struct(x=_decimal(20, 4))),
    "m": _map(_integer(64)),
}


def _arrays(value):
    """Tell arrays from objects, which both are lists here."""
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):
            return [(key, _arrays(item)) for key, item in value]
        return Elements([_arrays(item) for item in value])
    return value


class Pairs(list):
    pass


def oracle(line):
    """The row that a line is, or BAD."""

    def hook(pairs):
        return Pairs(pairs)

    def refuse(name):
        raise ValueError(name)

    try:
        value = json.loads(
            line, object_pairs_hook=hook, parse_int=Token, parse_float=Token, parse_constant=refuse
        )
    except ValueError:
        return BAD

    def shape(item):
        if isinstance(item, Pairs):
            return [(key, shape(inner)) for key, inner in item]
        return Elements([shape(inner) for inner in item]) if isinstance(item, list) else item

    return _members(shape(value), COLUMNS) if isinstance(value, Pairs) else BAD


# -- lines ---------------------------------------------------------------------------------------

digits = st.text("0123456789", min_size=1, max_size=22)
numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.integers(-200, 200).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(lambda d: format(d, "f")),
    st.builds(lambda s, w, f: f"{s}{int(w)}.{f}", st.sampled_from(["", "-"]), digits, digits),
    st.builds(lambda w, e: f"{int(w)}e{e}", digits, st.integers(-30, 400)),
    st.builds(lambda w, f, e: f"{int(w)}.{f}E{e:+d}", digits, digits, st.integers(-30, 30)),
    st.sampled_from(
        ["0", "-0", "-0.0", "5.0", "1e3", "9007199254740993", "9007199254740993.0", "1e400", "1e-400",
         "9223372036854775807", "9223372036854775808", "-9223372036854775808", "128", "127", "-128",
         "2147483647", "2147483648", "16777217", "3.5e38", "1.10", "19.999999999999999999",
         "12345678901234567890.12", "0.1", "99999999.99", "100000000", "123456789012345.67",
         "NaN", "Infinity", "-Infinity", "01", "+1", ".5", "5.", "0x10", "1_0", "1e", "--1"]
    ),
)  # fmt: skip
moments = st.one_of(
    st.datetimes(timezones=st.just(UTC)).map(lambda d: d.isoformat()),
    st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1)).map(lambda d: d.isoformat() + "Z"),
    st.builds(
        lambda d, sep, frac, zone: f"{d:%Y-%m-%d}{sep}{d:%H:%M:%S}{frac}{zone}",
        st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1)),
        st.sampled_from(["T", " ", "t", "_", ""]),
        st.sampled_from(["", ".1", ".123", ".123456", ".1234560", ".1234567", ".", ",5"]),
        st.sampled_from(["Z", "z", "", "+02:00", "-0530", "+14", "+24:00", "+02:60", "-00:00", " Z", "UTC"]),
    ),
    st.sampled_from(
        ["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
         "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00",
         "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-01:00", "2026-01-01T24:00:00Z",
         "2026-01-01T23:59:60Z", "2026-01-01T10:00Z", "2026-04-31T00:00:00Z", "8999-12-31T23:00:00-14:00"]
    ),
)  # fmt: skip
days = st.one_of(
    st.dates().map(date.isoformat),
    st.sampled_from(
        ["2024-02-29", "2023-02-29", "0000-01-01", "0001-01-01", "9999-12-31", "2026-1-1"]
    ),
)
strings = st.one_of(
    st.text(max_size=8), st.text('a"\\/\b\n\r\t\x00é€😀', max_size=6), numbers, moments, days
)


@st.composite
def quoted(draw, of=strings):
    text = json.dumps(draw(of), ensure_ascii=draw(st.booleans()))
    return draw(
        st.sampled_from([text, text, text, text.replace("\\u", "\\U"), text.replace('\\"', '"')])
    )


odd = st.sampled_from(['"\\ud800"', '"\\udc00x"', '"\\u00e9"', '"\\/"', '"\t"', '"\\x"', '"', "''"])
simple = st.one_of(numbers, quoted(), odd, st.sampled_from(["true", "false", "null", "True", ""]))
blanks = st.sampled_from(["", "", "", " ", "\t", "  "])


@st.composite
def objects(draw, of):
    members = draw(st.lists(of, max_size=3))
    return "{" + draw(blanks) + ("," + draw(blanks)).join(members) + draw(blanks) + "}"


@st.composite
def member(draw, names, values):
    return f"{json.dumps(draw(names))}{draw(blanks)}:{draw(blanks)}{draw(values)}"


@st.composite
def arrays(draw, of):
    return "[" + draw(blanks) + ",".join(draw(st.lists(of, max_size=3))) + draw(blanks) + "]"


inner = objects(member(st.sampled_from(["x", "y", "z", "X"]), simple))
anything = st.one_of(simple, inner, arrays(simple), arrays(inner), st.just("[[]]"))
FITTING = {
    "b": numbers, "t": st.integers(-130, 130).map(str), "i": numbers, "d": numbers, "w": numbers,
    "z": st.builds(lambda f: f"0.{f}", st.text("0123456789", min_size=1, max_size=39)),
    "f": numbers, "r": numbers, "s": quoted(), "o": st.sampled_from(["true", "false"]),
    "day": quoted(days), "ts": quoted(moments), "st": inner, "l": arrays(numbers),
    "ls": arrays(objects(member(st.just("x"), numbers))),
    "m": objects(member(st.sampled_from(["k", "l", ""]), numbers)),
}  # fmt: skip


@st.composite
def files(draw):
    """A file of lines that mostly have the same keys."""
    names = draw(st.permutations(list(SCHEMA)))[: draw(st.integers(1, 6))]
    extra = draw(st.sampled_from([[], [], ["u"], ["B"]]))
    gaps = draw(blanks), draw(blanks)
    lines = []
    for _ in range(draw(st.integers(1, 40))):
        wild = draw(st.integers(0, 9))
        keys = [*names, *extra]
        if wild == 0:
            keys = draw(st.lists(st.sampled_from([*keys, "v"]), max_size=8))
        parts = []
        for key in keys:
            value = draw(anything if wild == 1 or key not in FITTING else FITTING[key])
            parts.append(f"{json.dumps(key)}:{gaps[0]}{value}")
        line = "{" + f",{gaps[1]}".join(parts) + "}"
        if wild == 2:
            line = draw(
                st.sampled_from(
                    [line[:-1], line + line, line + "x", f"[{line}]", "null", f" {line} "]
                )
            )
        lines.append(line.replace("\n", " ").replace("\r", " "))
    return [line for line in lines if line.strip()]


@settings(
    max_examples=250, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                           HealthCheck.data_too_large],
)  # fmt: skip
@given(lines=files())
def test_each_line_is_written_exactly_or_set_aside(engine, tmp_path_factory, lines):
    root = Path(tmp_path_factory.mktemp("oracle"))
    path = root / "in.json"
    data = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    batch = run(engine, root, Files([path], SCHEMA, metadata=True))
    rows = {row.pop("_file")["row"]: row for row in batch.rows}
    assert len(rows) == batch.output.rows_written
    assert set(rows) | set(batch.reasons) == set(range(1, len(lines) + 1))
    assert not set(rows) & set(batch.reasons)
    for number, line in enumerate(lines, 1):
        expected = oracle(line)
        if expected is BAD:
            assert number in batch.reasons, (line, rows.get(number))
        else:
            assert number in rows, (line, batch.reasons.get(number))
            assert _plain(rows[number]) == _plain(expected), line


def _plain(value):
    """Comparable: doubles bit by bit, decimals by value."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return struct.pack("d", value)
    return ("decimal", value) if isinstance(value, Decimal) else (type(value).__name__, str(value))


def test_the_oracle_itself_takes_and_refuses():
    assert oracle('{"b":"7","d":1.500,"ts":"2026-01-01T00:00:00+01:00"}')["b"] == 7
    assert oracle('{"b":5.7}') is BAD
    assert oracle('{"b":1,"b":1}') is BAD
    assert pa.__version__
