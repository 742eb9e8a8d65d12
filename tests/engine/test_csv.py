"""CSV: strict quoting, strict values, every record placed."""

import gzip

import pytest

from orchestration.errors import SchemaError
from tests.engine.support import Files, run

S = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(10,2)"}


@pytest.fixture
def go(engine, tmp_path):
    def call(data, schema=S, *, file="in.csv", **options):
        path = tmp_path / file
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return run(engine, tmp_path / "out", Files([path], schema, **{"name": "csv", **options}))

    return call


def ids(batch):
    return sorted(row["id"] for row in batch.rows)


def test_columns_by_header_in_any_order(go):
    batch = go("amount,id,extra,name\n1.5,1,x,a\n,2,,\n")
    rows = sorted(batch.rows, key=lambda row: row["id"])
    assert [str(row["amount"]) for row in rows] == ["1.50", "None"]
    assert [row["name"] for row in rows] == ["a", None]


def test_quotes_newlines_and_line_numbers(go):
    batch = go('id,name,amount\r\n1,"a ""b"", c\r\nd",2.00\r\nx,y,1\r\n2,"",3\r\n3,e\r\n')
    rows = sorted(batch.rows, key=lambda row: row["id"])
    assert [row["name"] for row in rows] == ['a "b", c\r\nd', ""]
    assert batch.reasons == {4: 'id: "x" is not a BIGINT', 6: "2 fields, expected 3"}
    assert batch.bad[1]["raw"] == "3,e"


@pytest.mark.parametrize(
    "line", ['1,a"b,2', '1,"a"b,2', '1,"a,2', "1,a,b,2", "5.7,a,1", "1,a,1.234"]
)
def test_a_faulty_record_is_set_aside_and_the_next_is_read(go, line):
    batch = go(f"id,name,amount\n10,x,1\n{line}\n11,y,1\n12,z,1\n")
    assert ids(batch) == [10, 11, 12]
    assert list(batch.reasons) == [3]
    assert batch.bad[0]["raw"] == line


def test_a_header_that_does_not_fit_sets_the_file_aside(go):
    batch = go("id,nome,amount\n1,a,2\n")
    assert batch.rows == []
    assert batch.bad[0]["line"] is None
    assert "no column name" in batch.bad[0]["reason"]


@pytest.mark.parametrize("data", ["", "id,name,amount\n", "\ufeffid,name,amount"])
def test_no_records(go, data):
    assert go(data).output.rows_read == 0


def test_byte_order_mark_and_no_newline_at_the_end(go):
    assert ids(go("\ufeffid,name,amount\n1,a,1\n2,b,2")) == [1, 2]


def test_without_header_by_position(go):
    batch = go("1;a;1\n2;b\n", header=False, delimiter=";")
    assert ids(batch) == [1]
    assert batch.reasons == {2: "2 fields, expected 3"}


def test_null_value_counts_only_unquoted(go):
    batch = go('id,name,amount\n1,NULL,NULL\n2,"NULL",1\n3,,1\n', null_value="NULL")
    assert {row["id"]: row["name"] for row in batch.rows} == {1: None, 2: "NULL", 3: ""}


def test_words_and_texts_of_other_types(go):
    batch = go(
        'o,day,ts,f,j\nTRUE,2026-01-02,2026-01-02T03:04:05Z,1e3,"[1, 2]"\nyes,,,,\n,,,,{\n',
        {"o": "BOOLEAN", "day": "DATE", "ts": "TIMESTAMPTZ", "f": "DOUBLE", "j": "JSON"},
    )
    (row,) = batch.rows
    assert (row["o"], str(row["day"]), row["f"], row["j"]) == (True, "2026-01-02", 1000.0, "[1, 2]")
    assert batch.reasons == {3: 'o: "yes" is not a BOOLEAN', 4: "j: not valid JSON"}


def test_rescue_keeps_other_columns(go):
    batch = go("id,name,amount,x\n1,a,1,b\n", rescue=True)
    assert batch.rows[0]["_rescued"] == '{"x": "b"}'


def test_file_rows_are_lines(go):
    batch = go('id,name,amount\n\n1,"a\n\nb",1\n2,c,1\n', metadata=True)
    assert {row["id"]: row["_file"]["row"] for row in batch.rows} == {1: 3, 2: 6}


def test_compressed(go):
    assert ids(go(gzip.compress(b"id,name,amount\n1,a,1\n"), file="in.csv.gz")) == [1]


def test_a_line_over_the_limit(go):
    batch = go("id,name,amount\n1,a,1\n2," + "b" * 9_000_000 + ",1\n3,c,1\n", max_line_bytes=1000)
    assert ids(batch) == [1, 3]
    assert list(batch.reasons) == [3]
    assert len(batch.bad[0]["raw"]) == 4096


def test_an_open_quote_costs_one_line_in_a_long_file(go):
    rows = [f"{n},a,1" for n in range(1, 5001)]
    rows[100] = '101,"a,1'
    batch = go("id,name,amount\n" + "\n".join(rows) + "\n", max_line_bytes=20_000)
    assert len(batch.rows) == 4999
    assert list(batch.reasons) == [102]


def test_nested_columns_are_refused(go):
    with pytest.raises(SchemaError, match="CSV"):
        go("a\n1\n", {"a": "BIGINT[]"})
