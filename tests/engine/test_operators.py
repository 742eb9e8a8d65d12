"""What users compute: SQL and functions, over any input."""

from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestration.engine.base import InputFile, TableInput
from orchestration.errors import ExpressionError, HeadwaterError, SchemaError, SourceError
from orchestration.streams.operators import MapBatches, Select, Where
from orchestration.streams.schema import parse_schema, schema_to_json
from tests.engine.support import NOW, Files, left_behind, run

SCHEMA = {"id": "BIGINT", "s": "VARCHAR", "d": "STRUCT(os VARCHAR)", "j": "JSON"}
LINES = "".join(f'{{"id":{n},"s":"s{n}","d":{{"os":"x{n}"}}}}\n' for n in range(1000))


def test_where_and_select(ingest):
    batch = ingest(
        LINES,
        SCHEMA,
        [
            Where("id % 2 = 0 -- even ones"),
            Select((("id", "id"), ("os", "upper(d.os)"), ('a"b c', "s || '\"'"))),
            Where("id >= 990"),
        ],
    )
    assert sorted(row["id"] for row in batch.rows) == [990, 992, 994, 996, 998]
    assert {row["os"] for row in batch.rows} == {f"X{n}" for n in range(990, 1000, 2)}
    assert {row['a"b c'] for row in batch.rows} == {f's{n}"' for n in range(990, 1000, 2)}
    assert batch.output.rows_read == 1000


def test_null_conditions_keep_no_row(ingest):
    assert ingest('{"id":1}\n{"id":null}\n', SCHEMA, [Where("id > 0")]).output.rows_written == 1


def test_a_column_of_an_odd_name(ingest):
    name = 'select "x" -- é'
    schema = {name: "BIGINT", "order": "VARCHAR"}
    quoted = '"' + name.replace('"', '""') + '"'
    batch = ingest('{"select \\"x\\" -- é":1,"order":"o"}\n' * 20, schema, [Where(f"{quoted} = 1")])
    assert batch.rows == [{name: 1, "order": "o"}] * 20


@pytest.mark.parametrize("call", ["now()", "current_timestamp", "transaction_timestamp()"])
def test_now_is_the_batch_timestamp(ingest, call):
    batch = ingest('{"id":1}\n', SCHEMA, [Select((("t", call), ("day", "today()")))])
    assert batch.rows == [{"t": NOW, "day": NOW.date()}]


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("9007199254740993::HUGEINT", "DECIMAL(38,0)", Decimal(9007199254740993)),
        ("18446744073709551615::UBIGINT", "DECIMAL(20,0)", Decimal(18446744073709551615)),
        ("255::UTINYINT", "SMALLINT", 255),
        ("65535::USMALLINT", "INTEGER", 65535),
        ("4294967295::UINTEGER", "BIGINT", 4294967295),
        ("'f0000000-0000-0000-0000-000000000000'::UUID", "VARCHAR", "f0000000-0000-0000-0000-000000000000"),
        ("'a'::ENUM('a', 'b')", "VARCHAR", "a"),
        ("[1::UTINYINT]", "SMALLINT[]", [1]),
        ("{'h': 1::HUGEINT}", 'STRUCT("h" DECIMAL(38,0))', {"h": Decimal(1)}),
        ("map {'k': 1::HUGEINT}", "MAP(VARCHAR, DECIMAL(38,0))", {"k": Decimal(1)}),
        ("'{\"a\":1}'::JSON", "JSON", '{"a":1}'),
        ("1.5", "DECIMAL(2,1)", Decimal("1.5")),
        ("id / 2", "DOUBLE", 0.5),
        ("encode('x')", "BLOB", b"x"),
        ("1::TINYINT", "TINYINT", 1),
        ("0.1::FLOAT::DOUBLE", "DOUBLE", 0.10000000149011612),
    ],
)  # fmt: skip
def test_types_that_delta_lacks_become_such_as_hold_them(engine, ingest, expression, kind, value):
    operators = (Select((("x", expression),)),)
    described = engine.describe(parse_schema(SCHEMA), operators)
    assert schema_to_json(described) == {"x": kind}
    batch = ingest('{"id":1}\n', SCHEMA, operators)
    assert batch.rows == [{"x": value}]


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("TIMESTAMP '2026-01-01'", "zone"),
        ("TIME '10:00'", "time of day"),
        ("INTERVAL 1 DAY", "INTERVAL"),
        ("nope", "nope"),
        ("s + 1 + nope(1)", "nope"),
    ],
)
def test_what_cannot_be_kept_or_bound_is_named(engine, expression, part):
    with pytest.raises(ExpressionError, match=part) as caught:
        engine.describe(parse_schema(SCHEMA), (Select((("id", "id"), ("x", expression))),))
    assert expression in str(caught.value)
    assert caught.value.remedy


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="NULL is an INTEGER in DuckDB 1")
def test_null_has_no_type(engine):
    with pytest.raises(ExpressionError, match="NULL has no type"):
        engine.describe(parse_schema(SCHEMA), (Select((("x", "NULL"),)),))


def test_a_json_column_stays_json(engine):
    operators = (Where("j IS NOT NULL"), Select((("j", "j"), ("k", "j"), ("t", "upper(j)"))))
    described = engine.describe(parse_schema(SCHEMA), operators)
    assert schema_to_json(described) == {"j": "JSON", "k": "JSON", "t": "VARCHAR"}


def test_an_expression_that_fails_on_a_row_leaves_nothing(ingest, tmp_path):
    with pytest.raises(ExpressionError, match="s::BIGINT"):
        ingest(LINES, SCHEMA, [Select((("x", "s::BIGINT"),))])
    assert left_behind(tmp_path / "out") == []


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT count(*) FROM read_text('/etc/passwd'))",
        "(SELECT content FROM read_text('/etc/passwd'))",
        "getenv('HOME')",
    ],
)
def test_expressions_reach_no_files_and_no_environment(engine, ingest, expression):
    with pytest.raises(HeadwaterError):
        ingest('{"id":1}\n', SCHEMA, [Select((("x", expression),))])


def test_map_batches_between_expressions(ingest):
    sizes = []

    def double(table):
        sizes.append(table.num_rows)
        return pa.table({"twice": pc.multiply(table["id"], 2)})

    batch = ingest(
        "".join(f'{{"id":{n}}}\n' for n in range(200_000)),
        SCHEMA,
        [
            Where("id >= 10"),
            MapBatches(double, parse_schema({"twice": "BIGINT"})),
            Where("twice < 30"),
            MapBatches(lambda t: t, parse_schema({"twice": "BIGINT"})),
            Select((("t", "twice + 1"),)),
        ],
    )
    assert sorted(row["t"] for row in batch.rows) == [21, 23, 25, 27, 29]
    assert sum(sizes) == 199_990
    assert max(sizes) <= 65_536


@pytest.mark.parametrize(
    ("result", "part"),
    [
        (lambda t: t, "returned the columns"),
        (lambda t: 5, "returned int"),
        (lambda t: pa.table({"x": pa.array(["a"] * t.num_rows)}), "cannot hold"),
        (lambda t: pa.table({"x": pa.array([1.5] * t.num_rows)}), "cannot hold"),
        (lambda t: pa.table({"x": pa.array([2**62] * t.num_rows, pa.uint64())}), None),
        (lambda t: pa.table({"x": pa.array([1] * t.num_rows, pa.int8())}), None),
    ],
)
def test_map_batches_is_held_to_its_schema(ingest, tmp_path, result, part):
    operators = [MapBatches(result, parse_schema({"x": "BIGINT"}))]
    if part is None:
        assert ingest(LINES, SCHEMA, operators).output.rows_written == 1000
        return
    with pytest.raises(SchemaError, match=part):
        ingest(LINES, SCHEMA, operators)
    assert left_behind(tmp_path / "out") == []


def test_an_error_in_a_function_comes_out_as_it_is(ingest, tmp_path):
    def fail(table):
        raise ZeroDivisionError("mine")

    operators = [MapBatches(fail, parse_schema({"x": "BIGINT"})), Where("x > 0")]
    with pytest.raises(ZeroDivisionError, match="mine"):
        ingest(LINES, SCHEMA, operators)
    assert left_behind(tmp_path / "out") == []


def test_rows_in_memory(engine, tmp_path):
    table = pa.table(
        {"t": [datetime(2026, 1, 1, tzinfo=UTC)], "v": [7]},
        schema=pa.schema([("t", pa.timestamp("us", "UTC")), ("v", pa.int64())]),
    )
    batch = run(engine, tmp_path, TableInput(table), [Where("v = 7")])
    assert batch.rows == table.to_pylist()
    assert batch.output.rows_read == 1
    empty = run(engine, tmp_path / "2", TableInput(table.slice(0, 0)))
    assert (empty.output.sink, empty.output.rows_read) == ((), 0)


def test_a_source_that_fails_leaves_nothing(engine, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"id":1}\n{bad\n' * 100_000)

    class Failing(Files):
        def groups(self):
            yield from super().groups()
            raise SchemaError("gone", remedy="find it")

    with pytest.raises(SchemaError, match="gone"):
        run(engine, tmp_path / "out", Failing([path], SCHEMA))
    assert left_behind(tmp_path / "out") == []
    batch = run(engine, tmp_path / "out", Files([path], SCHEMA))
    assert batch.output.rows_written == 100_000


@pytest.mark.parametrize("name", ["gone.json", "gone.json.gz", "dir.json", "dir.json.gz"])
@pytest.mark.parametrize("format_", ["json", "csv", "parquet"])
def test_a_file_that_cannot_be_opened_is_no_bad_record(engine, tmp_path, name, format_):
    path = tmp_path / name
    if name.startswith("dir"):
        path.mkdir()

    class Late(Files):
        @contextmanager
        def _group(self, path):
            yield [InputFile(path, str(path), 1, NOW)]

    with pytest.raises(SourceError, match=r"gone\.json|dir\.json"):
        run(engine, tmp_path / "out", Late([path], {"id": "BIGINT"}, name=format_))
    assert left_behind(tmp_path / "out") == []
