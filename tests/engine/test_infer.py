"""An inferred schema reads every sampled record, and says what was seen."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.errors import SchemaError
from orchestration.streams.schema import schema_to_json
from tests.engine.support import Files, run


@pytest.fixture
def infer(engine, tmp_path):
    def go(data, *, name="in.json", max_files=10, max_bytes=1_000_000, **options):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        given = Files([path], None, **options)
        schema = schema_to_json(engine.infer(given, max_files=max_files, max_bytes=max_bytes))
        batch = run(engine, tmp_path / "out", Files([path], schema, **options))
        return schema, batch

    return go


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "null", "-5"], "BIGINT"),
        (["1", "9223372036854775808"], "DECIMAL(38,0)"),
        (["1", "1.5"], "DOUBLE"),
        (["9007199254740993", "1.5"], "JSON"),
        (["1.5", "12345678901234567890.12"], "JSON"),
        (["1e400"], "JSON"),
        (["true", "false"], "BOOLEAN"),
        (["true", "1"], "JSON"),
        (['"a"', "1"], "JSON"),
        (['"a"', '"2026-01-01"'], "VARCHAR"),
        (['"2026-01-01"', '"2026-01-02"'], "DATE"),
        (['"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00.5+02:00"'], "TIMESTAMPTZ"),
        (['"2026-01-01"', '"2026-01-01T00:00:00Z"'], "VARCHAR"),
        (['"2026-01-01T00:00:00"'], "VARCHAR"),
        (["null", "null"], "VARCHAR"),
        (["[]"], "VARCHAR[]"),
        (["[1, 2]", "[null]"], "BIGINT[]"),
        (['[1, "x"]'], "JSON[]"),
        (["[1]", "1"], "JSON"),
        (['{"a":1}', '{"b":"x"}', "null"], 'STRUCT("a" BIGINT, "b" VARCHAR)'),
        (['{"a":1}', "[]"], "JSON"),
        (["{}"], "JSON"),
        (['{"a":1,"A":2}'], "JSON"),
        (['[{"a":1.5},{"a":1}]'], 'STRUCT("a" DOUBLE)[]'),
    ],
)
def test_json(infer, values, kind):
    schema, batch = infer("".join(f'{{"v":{value}}}\n' for value in values))
    assert schema == {"v": kind}
    assert batch.output.rows_quarantined == 0
    assert len(batch.rows) == len(values)


def test_bad_lines_and_later_columns(infer):
    schema, batch = infer('{bad\n{"a":1}\n[1]\n{"b":"x"}\n')
    assert schema == {"a": "BIGINT", "b": "VARCHAR"}
    assert len(batch.rows) == 2


def test_only_a_sample_is_read(engine, tmp_path):
    path = tmp_path / "in.json"
    path.write_text('{"a":1}\n' * 10_000 + '{"late":1}\n')
    given = Files([path, tmp_path / "missing.json"], None)
    schema = engine.infer(given, max_files=1, max_bytes=20_000)
    assert schema.names == ["a"]


@pytest.mark.parametrize("data", ["", "\n\n", "{bad\n"])
def test_no_record_no_schema(engine, tmp_path, data):
    path = tmp_path / "in.json"
    path.write_text(data)
    with pytest.raises(SchemaError, match="no schema can be inferred"):
        engine.infer(Files([path], None), max_files=5, max_bytes=100)


def test_csv(engine, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(
        'id,zip,x,"a b",ok,day,n\n1,007,1.5,"q,\nr",true,2026-01-02,\n2,010,2,,false,2026-01-03,\n'
    )
    given = Files([path], None, name="csv")
    schema = schema_to_json(engine.infer(given, max_files=5, max_bytes=10_000))
    assert schema == {
        "id": "BIGINT", "zip": "VARCHAR", "x": "DOUBLE", "a b": "VARCHAR", "ok": "BOOLEAN",
        "day": "DATE", "n": "VARCHAR",
    }  # fmt: skip
    batch = run(engine, tmp_path / "out", Files([path], schema, name="csv"))
    assert (batch.output.rows_written, batch.output.rows_quarantined) == (2, 0)


def test_parquet(engine, tmp_path):
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    pq.write_table(
        pa.table({"i": pa.array([1], pa.int32()), "u": pa.array([1], pa.uint64()),
                  "t": pa.array([1000], pa.timestamp("ns", "UTC")), "d": ["x"]}), one
    )  # fmt: skip
    pq.write_table(pa.table({"i": pa.array([2**40]), "m": [{"a": 1.5}]}), two)
    given = Files([one, two], None, name="parquet")
    schema = schema_to_json(engine.infer(given, max_files=5, max_bytes=10_000))
    assert schema == {
        "i": "BIGINT", "u": "DECIMAL(20,0)", "t": "TIMESTAMPTZ", "d": "VARCHAR",
        "m": 'STRUCT("a" DOUBLE)',
    }  # fmt: skip
    batch = run(engine, tmp_path / "out", Files([one, two], schema, name="parquet"))
    assert (batch.output.rows_written, batch.output.rows_quarantined) == (2, 0)
    assert json.dumps(sorted(row["i"] for row in batch.rows)) == f"[1, {2**40}]"
