"""Static tables: a version is pinned, read as often as asked, and nothing is lost on the way."""

import os
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration.config import Settings
from orchestration.errors import (
    FileChanged,
    FileMissing,
    SchemaError,
    SourceUnavailable,
)
from orchestration.objects import storage_options
from orchestration.sources.static import infer_static_schema, open_static, resolve
from orchestration.streams.schema import parse_schema
from orchestration.streams.static import StaticTable

PAGES = {"page": "VARCHAR", "owner": "VARCHAR"}


@pytest.fixture
def settings(tmp_path):
    return Settings.load(root=tmp_path, home=tmp_path / "home")


def table(location, kind="parquet", schema=None, **options):
    known = None if schema is None else parse_schema(schema)
    return StaticTable("pages", str(location), kind, known, **options)


def rows(declared, settings, version=None):
    version = version or resolve(declared, settings)
    return open_static(declared, version, settings).reader().read_all().to_pylist()


def put(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


# -- files ----------------------------------------------------------------------------------------


def test_a_directory_of_parquet_read_twice(tmp_path, settings):
    put(tmp_path / "pages/b.parquet", page=["b"], owner=["y"], more=[1])
    put(tmp_path / "pages/a.parquet", PAGE=["a"])
    (tmp_path / "pages/_SUCCESS").write_bytes(b"")
    declared = table("pages", schema=PAGES)
    opened = open_static(declared, resolve(declared, settings), settings)
    for _ in range(2):
        assert opened.reader().read_all().to_pylist() == [
            {"page": "a", "owner": None},
            {"page": "b", "owner": "y"},
        ]


def test_one_file(tmp_path, settings):
    put(tmp_path / "pages/a.parquet", page=["a"], owner=["x"])
    put(tmp_path / "pages/b.parquet", page=["b"], owner=["y"])
    assert rows(table("pages/a.parquet", schema=PAGES), settings) == [{"page": "a", "owner": "x"}]


def test_files_that_came_later_are_not_in_the_version(tmp_path, settings):
    put(tmp_path / "pages/a.parquet", page=["a"])
    declared = table("pages", schema={"page": "VARCHAR"})
    version = resolve(declared, settings)
    put(tmp_path / "pages/b.parquet", page=["b"])
    assert rows(declared, settings, version) == [{"page": "a"}]
    assert len(rows(declared, settings)) == 2


def test_a_file_that_changed_or_went_is_noticed(tmp_path, settings):
    path = put(tmp_path / "pages/a.parquet", page=["a"])
    declared = table("pages", schema={"page": "VARCHAR"})
    version = resolve(declared, settings)
    put(path, page=["other"])
    os.utime(path, (1, 1))
    with pytest.raises(FileChanged, match=r"a\.parquet"):
        rows(declared, settings, version)
    path.unlink()
    with pytest.raises(FileMissing, match=r"a\.parquet"):
        rows(declared, settings, version)


def test_many_files_are_pinned_by_a_digest(tmp_path, settings):
    for number in range(101):
        os.utime(put(tmp_path / f"pages/{number}.parquet", v=[number]), (100, 100))
    declared = table("pages", schema={"v": "BIGINT"})
    version = resolve(declared, settings)
    assert version["count"] == 101
    put(tmp_path / "pages/later.parquet", v=[1])
    assert len(rows(declared, settings, version)) == 101
    os.utime(tmp_path / "pages/7.parquet", (99, 99))
    with pytest.raises(FileChanged, match="101 then"):
        rows(declared, settings, version)


def test_columns_of_directories(tmp_path, settings):
    put(tmp_path / "pages/dt=2026-01-31/country=S%C3%A3o/a.parquet", page=["a"])
    put(tmp_path / "pages/dt=__HIVE_DEFAULT_PARTITION__/b.parquet", page=["b"])
    declared = table("pages", schema={"page": "VARCHAR", "dt": "DATE", "country": "VARCHAR"})
    assert rows(declared, settings) == [
        {"page": "a", "dt": date(2026, 1, 31), "country": "São"},
        {"page": "b", "dt": None, "country": None},
    ]
    assert infer_static_schema(table("pages"), settings) == pa.schema(
        [("page", pa.string()), ("dt", pa.string()), ("country", pa.string())]
    )


def test_values_are_brought_into_declared_types(tmp_path, settings):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    put(
        tmp_path / "pages/a.parquet",
        n=pa.array([1], pa.int32()),
        at=pa.array([moment], pa.timestamp("ms", "Europe/Berlin")),
        s=pa.array(["x"]).dictionary_encode(),
        d=pa.array([Decimal("1.10")], pa.decimal128(5, 2)),
    )
    declared = table(
        "pages", schema={"n": "BIGINT", "at": "TIMESTAMPTZ", "s": "VARCHAR", "d": "DECIMAL(10,2)"}
    )
    assert rows(declared, settings) == [{"n": 1, "at": moment, "s": "x", "d": Decimal("1.10")}]


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        (pa.array([1.5]), "BIGINT"),
        (pa.array([300]), "TINYINT"),
        (pa.array(["7"]), "BIGINT"),
        (pa.array([1], pa.timestamp("ns", "UTC")), "TIMESTAMPTZ"),
        (pa.array([1], pa.timestamp("us")), "TIMESTAMPTZ"),
        (pa.array([Decimal("1.23")]), "DECIMAL(10,1)"),
        (pa.array([2**53 + 1]), "DOUBLE"),
    ],
)
def test_a_lossy_cast_names_file_and_column(tmp_path, settings, values, declared):
    put(tmp_path / "pages/a.parquet", v=values)
    with pytest.raises(SchemaError, match=r'a\.parquet: column "v" does not fit'):
        rows(table("pages", schema={"v": declared}), settings)


def test_a_damaged_file_is_named(tmp_path, settings):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/a.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(SchemaError, match=r"a\.parquet"):
        rows(table("pages", schema={"v": "BIGINT"}), settings)


def test_csv(tmp_path, settings):
    (tmp_path / "pages.csv").write_text(
        'page;n;at;extra\n"a;b";7;2026-01-01T01:00:00+01:00;z\n"";;;\n', encoding="utf-8"
    )
    schema = {"page": "VARCHAR", "n": "BIGINT", "at": "TIMESTAMPTZ"}
    declared = table("pages.csv", "csv", schema, delimiter=";")
    assert rows(declared, settings) == [
        {"page": "a;b", "n": 7, "at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"page": "", "n": None, "at": None},
    ]


def test_csv_without_header(tmp_path, settings):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/a.csv").write_text("a,x\nb,y\n", encoding="utf-8")
    assert rows(table("pages", "csv", PAGES, header=False), settings) == [
        {"page": "a", "owner": "x"},
        {"page": "b", "owner": "y"},
    ]


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("v\n5.7\n", "BIGINT", "5.7"),
        ("v\n2026-01-01 00:00:00\n", "TIMESTAMPTZ", "v|zone|2026"),
        ("v\n1.239\n", "DECIMAL(10,2)", "data loss|rescal|1.239"),
        ("v\n1\n", "BOOLEAN", "1"),
        ("w\n1\n", "BIGINT", "v"),
    ],
)
def test_csv_that_does_not_fit_names_the_file(tmp_path, settings, text, kind, reason):
    (tmp_path / "pages.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match=rf"(?i)pages\.csv: .*({reason})"):
        rows(table("pages.csv", "csv", {"v": kind}), settings)


def test_nothing_there(tmp_path, settings):
    with pytest.raises(SourceUnavailable, match="nothing is at"):
        resolve(table("pages"), settings)
    (tmp_path / "pages").mkdir()
    assert rows(table("pages", schema=PAGES), settings) == []
    with pytest.raises(SchemaError, match="no Parquet file"):
        infer_static_schema(table("pages"), settings)


# -- Delta ----------------------------------------------------------------------------------------


def test_delta_is_read_at_its_version(tmp_path, settings):
    place = tmp_path / "pages"
    write_deltalake(place, pa.table({"page": ["a"], "country": ["de"]}), partition_by=["country"])
    declared = table("pages", "delta")
    version = resolve(declared, settings)
    DeltaTable(place).delete("page = 'a'")
    write_deltalake(place, pa.table({"page": ["b"], "country": ["fr"]}), mode="append")
    assert rows(declared, settings, version) == [{"page": "a", "country": "de"}]
    assert rows(declared, settings) == [{"page": "b", "country": "fr"}]
    assert infer_static_schema(declared, settings).names == ["page", "country"]


def test_delta_types_are_checked(tmp_path, settings):
    write_deltalake(tmp_path / "pages", pa.table({"v": [1.5], "w": [1]}))
    assert rows(table("pages", "delta", {"V": "DOUBLE"}), settings) == [{"V": 1.5}]
    with pytest.raises(SchemaError, match='version 0: column "v" does not fit'):
        rows(table("pages", "delta", {"v": "BIGINT"}), settings)
    with pytest.raises(SchemaError, match="has none of the declared columns"):
        rows(table("pages", "delta", {"z": "BIGINT"}), settings)


def test_delta_that_is_not_there_any_more(tmp_path, settings):
    place = tmp_path / "pages"
    declared = table("pages", "delta")
    with pytest.raises(SourceUnavailable, match="no Delta table"):
        resolve(declared, settings)
    write_deltalake(place, pa.table({"page": ["a"]}))
    version = resolve(declared, settings)
    with pytest.raises(FileMissing, match="version 7"):
        rows(declared, settings, version | {"version": 7})
    with pytest.raises(FileChanged, match="another table"):
        rows(declared, settings, version | {"table_id": "x"})
    for path in place.glob("*.parquet"):
        path.unlink()
    with pytest.raises(FileMissing, match="vacuum|gone"):
        rows(declared, settings, version)


def test_the_files_of_a_delta_table_are_not_taken_for_a_table(tmp_path, settings):
    write_deltalake(tmp_path / "pages", pa.table({"page": ["a"]}))
    with pytest.raises(SchemaError, match="is a Delta table"):
        resolve(table("pages"), settings)


def test_a_delta_type_that_expressions_cannot_use(tmp_path, settings):
    write_deltalake(tmp_path / "pages", pa.table({"at": pa.array([1], pa.timestamp("us"))}))
    with pytest.raises(SchemaError, match="name no time zone"):
        infer_static_schema(table("pages", "delta"), settings)


# -- S3 -------------------------------------------------------------------------------------------


def test_static_tables_on_s3(s3, tmp_path, settings):
    path = put(tmp_path / "a.parquet", page=["a"], owner=["x"])
    s3.put("files/a.parquet", path.read_bytes())
    s3.put("files/b b.parquet", path.read_bytes())
    schema = infer_static_schema(table(f"{s3.uri}/files"), settings)
    assert schema.names == ["page", "owner"]
    declared = table(f"{s3.uri}/files")
    version = resolve(declared, settings)
    assert len(rows(declared, settings, version)) == 2
    assert rows(table(f"{s3.uri}/files/a.parquet"), settings) == [{"page": "a", "owner": "x"}]
    s3.put("files/a.parquet", put(path, page=["b"], owner=["x"]).read_bytes())
    with pytest.raises(FileChanged):
        rows(declared, settings, version)
    with pytest.raises(SourceUnavailable, match="nothing is at"):
        resolve(table(f"{s3.uri}/none"), settings)
    uri = f"{s3.uri}/delta"
    write_deltalake(uri, pa.table({"page": ["d"]}), storage_options=storage_options(uri))
    assert rows(table(uri, "delta"), settings) == [{"page": "d"}]
    with pytest.raises(SchemaError, match="is a Delta table"):
        resolve(table(uri), settings)
