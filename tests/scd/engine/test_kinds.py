"""Keys, cells and sequences of every kind; what is refused; what is counted."""

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from orchestration.engine.changes.apply import (
    Counts,
    invalid_sql,
    memory_keys,
    memory_schema,
    table_schema,
)
from orchestration.streams.change_spec import ChangeSpec
from tests.scd.engine.kept import Kept

DAY = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {
    "VARCHAR": (pa.string(), ["", "a", "A", "ä", "a " * 40]),
    "DECIMAL": (pa.decimal128(38, 10), [Decimal(0), Decimal("-1.5"), Decimal("1e20"), Decimal(7)]),
    "TIMESTAMPTZ": (pa.timestamp("us", "UTC"), [DAY + timedelta(hours=n) for n in range(4)]),
    "DATE": (pa.date32(), [date(2026, 1, n) for n in range(1, 5)]),
    "BIGINT": (pa.int64(), [-(2**63), 0, 1, 2**63 - 1]),
    "DOUBLE": (pa.float64(), [float("-inf"), -0.0, 1.5, float("nan")]),
    "BOOLEAN": (pa.bool_(), [True, False]),
    "BLOB": (pa.binary(), [b"", b"\0", b"\0\1", b"\xff"]),
}


def made(scd_type, schema, **more):
    values = tuple(name for name in ("v", "w") if name in schema.names)
    keys = tuple(name for name in ("k", "l") if name in schema.names)
    tracked = {"tracked": values} if scd_type == 2 else {}
    return ChangeSpec(
        scd_type=scd_type,
        keys=keys,
        sequence="s",
        columns=(*keys, *values),
        delete_when="op = 'd'",
        **(tracked | more),
    )


@pytest.mark.parametrize("scd_type", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_keys_and_cells_of_a_kind(kind, scd_type):
    arrow, values = KINDS[kind]
    schema = pa.schema([("k", arrow), ("v", arrow), ("s", pa.int64()), ("op", pa.string())])
    with closing(Kept(made(scd_type, schema), schema)) as kept:
        first = [{"k": key, "v": key, "s": 1, "op": "u"} for key in values]
        second = [{"k": key, "v": None, "s": 2, "op": "u"} for key in values[:2]]
        kept.batch(first)
        assert kept.added == len(values)
        kept.batch(first)
        assert (kept.added, kept.removed) == (0, 0)
        kept.batch(second)
        assert kept.removed == 2
        kept.batch([*first, *second])
        assert (kept.added, kept.removed) == (0, 0)
        kept.batch([{"k": key, "v": None, "s": 3, "op": "d"} for key in values])
        assert kept.rows() == [] or all(row[-1] is not None for row in kept.rows())


@pytest.mark.parametrize("scd_type", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"BLOB", "BOOLEAN"}])
def test_sequences_of_a_kind(kind, scd_type):
    arrow, values = KINDS[kind]
    schema = pa.schema([("k", pa.int64()), ("v", pa.int64()), ("s", arrow), ("op", pa.string())])
    values = sorted(values, key=lambda value: (value != value, value))  # NaN is the greatest
    with closing(Kept(made(scd_type, schema), schema)) as kept:
        for number, at in reversed(list(enumerate(values))):
            kept.batch([{"k": 1, "v": number, "s": at, "op": "u"}])
        held = [row for row in kept.rows() if scd_type == 1 or row[-1] is None]
        assert [row[1] for row in held] == [len(values) - 1]
        if scd_type == 2:
            assert len(kept.rows()) == len(values)


def test_keys_of_several_columns_and_columns_with_odd_names():
    schema = pa.schema(
        [("k", pa.string()), ("l", pa.int32()), ("s", pa.int64()), ("op", pa.string())]
        + [(name, pa.string()) for name in ("rowid", 'a "b"', "at", "select")]
    )
    names = ("k", "l", "rowid", 'a "b"', "at", "select")
    for scd_type in (1, 2):
        spec = ChangeSpec(
            scd_type=scd_type,
            keys=("k", "l"),
            sequence="s",
            columns=names,
            delete_when="op = 'd'",
            tracked=names[2:] if scd_type == 2 else (),
        )
        row = {"rowid": "r", 'a "b"': "q", "at": "t", "select": None, "op": "u"}
        with closing(Kept(spec, schema)) as kept:
            kept.batch([{**row, "k": "x", "l": n, "s": n} for n in range(3)])
            kept.batch([{**row, "k": "x", "l": n, "s": 9, "at": "u"} for n in range(2)])
            assert (kept.added, kept.removed) == ((2, 2) if scd_type == 1 else (4, 2))


def test_a_table_of_keys_alone():
    schema = pa.schema(
        [("k", pa.int64()), ("s", pa.int64()), ("op", pa.string()), ("u", pa.list_(pa.string()))]
    )
    for spec in (
        made(1, schema),
        made(2, schema),
        made(1, schema, soft_delete="gone"),
        made(1, schema, unchanged="u"),
    ):
        with closing(Kept(spec, schema)) as kept:
            kept.batch([{"k": 1, "s": 5, "op": "u"}, {"k": 2, "s": 5, "op": "d"}])
            kept.batch([{"k": 1, "s": 7, "op": "d"}, {"k": 2, "s": 4, "op": "u"}])
            kept.batch([{"k": 1, "s": 9, "op": "u"}])
            assert [row[0] for row in kept.rows() if row[0] == 1][:1] == [1]


def test_nested_cells_that_tie():
    struct = pa.struct([("x", pa.int64()), ("y", pa.list_(pa.string()))])
    schema = pa.schema(
        [("k", pa.int64()), ("v", struct), ("w", pa.list_(pa.int64())), ("s", pa.int64())]
        + [("op", pa.string())]
    )
    one = {"k": 1, "v": {"x": 1, "y": ["a"]}, "w": [1], "s": 1, "op": "u"}
    other = {**one, "v": {"x": 1, "y": ["b"]}, "w": None}
    for scd_type in (1, 2):
        for order in ([one, other], [other, one], [one, other, one]):
            with closing(Kept(made(scd_type, schema), schema)) as kept:
                for change in order:
                    kept.batch([change])
                kept.batch(order)
                assert kept.rows()[0][1:3] == ({"x": 1, "y": ["b"]}, None)


def test_what_cannot_be_applied_is_named():
    schema = pa.schema(
        [("k", pa.int64()), ("l", pa.int64()), ("s", pa.string()), ("op", pa.string())]
    )
    spec = made(1, schema, truncate_when="op = 't'")
    rows = [
        {"k": 1, "l": 1, "s": "a", "op": "u"},
        {"k": 1, "l": None, "s": "a", "op": "d"},
        {"k": None, "l": None, "s": "b", "op": "t"},
        {"k": None, "l": None, "s": None, "op": "t"},
        {"k": 1, "l": 1, "s": None, "op": None},
    ]
    with duckdb.connect() as connection:
        connection.register("changes", pa.Table.from_pylist(rows, schema))
        found = connection.execute(invalid_sql(spec, "changes")).fetchall()
    assert sorted(row[-1] for row in found) == [
        "the key column l is null",
        "the sequence (s) is null",
        "the sequence (s) is null",
    ]


def test_columns_of_table_and_memory():
    schema = pa.schema(
        [("k", pa.string()), ("v", pa.int64()), ("s", pa.int32()), ("u", pa.list_(pa.string()))]
    )
    wide = pa.int64()
    with duckdb.connect() as connection:
        now = ChangeSpec(1, ("k",), "s + 1::BIGINT", ("v", "k"), soft_delete="gone", unchanged="u")
        assert table_schema(connection, now, schema) == pa.schema(
            [("v", pa.int64()), ("k", pa.string()), ("gone", pa.bool_()), ("__sequence", wide)]
        )
        assert memory_schema(connection, now, schema) == pa.schema(
            [("k", pa.string()), ("__deleted", wide), ("__upserted", wide)]
            + [("__cells", pa.struct([("v", wide)]))]
        )
        assert memory_keys(now) == ("k",)
        past = ChangeSpec(2, ("k",), "s", ("k", "v"), tracked=("v",))
        assert table_schema(connection, past, schema).names == ["k", "v", "__start_at", "__end_at"]
        assert memory_keys(past) == ("k", "__at")
        assert set(memory_keys(past)) <= set(memory_schema(connection, past, schema).names)


def _change(key, at, op="u", value="x"):
    return {"k": key, "v": value, "s": at, "op": op}


COUNTED = pa.schema([("k", pa.int64()), ("v", pa.string()), ("s", pa.int64()), ("op", pa.string())])


@pytest.mark.parametrize("soft", [None, "gone"])
def test_counts_of_what_is(soft):
    with closing(Kept(made(1, COUNTED, soft_delete=soft), COUNTED)) as kept:
        kept.batch([_change(1, 5), _change(2, 5), _change(3, 5), _change(3, 4)])
        assert kept.counts == Counts(3, 0, 0, 0)
        kept.batch(
            [_change(1, 7, value="y"), _change(2, 8, "d"), _change(4, 1), _change(5, 1, "d")]
        )
        assert kept.counts == Counts(1, 1, 1, 0)
        kept.batch([_change(1, 6), _change(2, 6, value="z"), _change(2, 8, "d"), _change(3, 5)])
        # A flagged row takes the cells of a newer upsert that came late.
        assert kept.counts == (Counts(0, 0, 0, 4) if soft is None else Counts(0, 1, 0, 2))


def test_counts_of_what_was():
    with closing(Kept(made(2, COUNTED), COUNTED)) as kept:
        kept.batch([_change(1, 5), _change(2, 5), _change(3, 5)])
        assert kept.counts == Counts(3, 0, 0, 0)
        kept.batch(
            [_change(1, 7, value="y"), _change(2, 8, "d"), _change(4, 1), _change(5, 1, "d")]
        )
        assert kept.counts == Counts(2, 2, 1, 0)
        kept.batch([_change(1, 7, value="y"), _change(2, 8, "d"), _change(1, 6, value="z")])
        assert kept.counts == Counts(1, 1, 0, 2)
