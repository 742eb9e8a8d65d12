"""Exactly what was planned is read, or a typed error says what is not as it was."""

import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.errors import FileChanged, FileMissing, SchemaError, SourceUnavailable
from orchestration.sources.files import files
from orchestration.streams.schema import parse_schema
from tests.sources.support import Planner, read, touch, write


@pytest.fixture
def landing(tmp_path):
    path = tmp_path / "landing"
    path.mkdir()
    return path


@pytest.fixture
def planner(tmp_path):
    def make(**options):
        options = {"format": "json", "schema": {"v": "BIGINT"}} | options
        return Planner(files("landing", **options), tmp_path)

    return make


def test_files_are_read_in_planned_order_under_their_declared_names(landing, planner):
    write(landing, "b ü%20#.json", b"1", at=1)
    write(landing, "a.json", b"22", at=2)
    plan = planner()
    (part,) = plan.drain()
    (group,) = plan.open(part, parse_schema({"v": "BIGINT"})).groups()
    with group as present:
        assert [item.name for item in present] == ["landing/b ü%20#.json", "landing/a.json"]
        assert [item.local.read_bytes() for item in present] == [b"1", b"22"]
        assert [item.size for item in present] == [1, 2]
        assert present[0].modified == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_a_slice_is_read_again_the_same(landing, planner):
    write(landing, "a", b"1")
    plan = planner()
    (part,) = plan.drain()
    write(landing, "b", b"2")
    assert read(plan.open(part)) == read(plan.open(part)) == [{"landing/a": b"1"}]


def test_a_file_that_changed_before_it_was_read(landing, planner):
    path = write(landing, "a", b"1", at=1)
    plan = planner()
    (part,) = plan.drain()
    write(landing, "a", b"22", at=1)
    with pytest.raises(FileChanged, match="landing/a was planned with 1 bytes") as caught:
        read(plan.open(part))
    assert "rename" in caught.value.remedy
    write(landing, "a", b"2", at=2)
    with pytest.raises(FileChanged):
        read(plan.open(part))
    path.unlink()
    path.mkdir()
    with pytest.raises(FileChanged, match="not a regular file"):
        read(plan.open(part))


@pytest.mark.parametrize("change", ["grow", "touch", "remove"])
def test_a_file_that_changes_while_it_is_read(landing, planner, change):
    path = write(landing, "a", b"1", at=1)
    plan = planner()
    (part,) = plan.drain()
    (group,) = plan.open(part).groups()

    def meddle():
        with group as present:
            assert present[0].local.read_bytes() == b"1"
            if change == "grow":
                path.write_bytes(b"12")
            elif change == "touch":
                touch(path, 9)
            else:
                path.unlink()

    with pytest.raises(FileChanged):
        meddle()


def test_a_readers_error_over_a_changed_file_is_told_as_that(landing, planner):
    path = write(landing, "a", b"1", at=1)
    plan = planner()
    (part,) = plan.drain()
    (group,) = plan.open(part).groups()

    def stumble():
        with group:
            path.write_bytes(b"half")
            raise ValueError("cannot parse")

    with pytest.raises(FileChanged) as caught:
        stumble()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_readers_error_over_unchanged_files_stays(landing, planner):
    write(landing, "a", b"1", at=1)
    plan = planner()
    (part,) = plan.drain()
    (group,) = plan.open(part).groups()

    def stumble():
        with group:
            raise ValueError("cannot parse")

    with pytest.raises(ValueError, match="cannot parse"):
        stumble()


def test_a_vanished_file_fails(landing, planner):
    write(landing, "a").unlink  # noqa: B018
    plan = planner()
    (part,) = plan.drain()
    (landing / "a").unlink()
    with pytest.raises(FileMissing, match="landing/a was planned") as caught:
        read(plan.open(part))
    assert "on_missing='quarantine'" in caught.value.remedy


def test_a_vanished_file_is_named_on_request_and_the_rest_is_read(landing, planner):
    for name in "abc":
        write(landing, name, name)
    plan = planner(on_missing="quarantine")
    (part,) = plan.drain()
    (landing / "b").unlink()
    given = plan.open(part)
    assert read(given) == [{"landing/a": b"a", "landing/c": b"c"}]
    assert list(given.missing) == ["landing/b"]


def test_a_vanished_directory_is_not_a_thousand_vanished_files(landing, planner, tmp_path):
    write(landing, "a")
    plan = planner(on_missing="quarantine")
    (part,) = plan.drain()
    landing.rename(tmp_path / "unmounted")
    with pytest.raises(SourceUnavailable, match="is gone"):
        read(plan.open(part))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(landing, planner):
    write(landing, "a").chmod(0)
    plan = planner()
    (part,) = plan.drain()
    with pytest.raises(SourceUnavailable, match="landing/a cannot be read"):
        read(plan.open(part))


def test_many_files_come_in_groups(landing, planner):
    for number in range(1001):
        write(landing, f"{number:04d}", str(number))
    plan = planner(max_files=None)
    (part,) = plan.drain()
    groups = read(plan.open(part))
    assert [len(group) for group in groups] == [1000, 1]


def test_partition_values_come_from_the_path(landing, planner):
    write(landing, "dt=2026-01-31/country=S%C3%A3o%20Tom%C3%A9/x.json")
    write(landing, "dt=__HIVE_DEFAULT_PARTITION__/country=/other=1/y.json", at=1)
    write(landing, "z.json", at=2)
    plan = planner(partitions={"dt": "DATE", "country": "VARCHAR"})
    assert plan.source.schema.names == ["v", "dt", "country"]
    backlog = plan.poll()
    assert any("no directory dt=" in note and "z.json" in note for note in backlog.notes)
    (part,) = plan.drain()
    given = plan.open(part, plan.source.schema)
    assert given.partition_columns == ("dt", "country")
    (group,) = given.groups()
    with group as present:
        assert [item.partitions for item in present] == [
            {"dt": "2026-01-31", "country": "São Tomé"},
            {"dt": None, "country": ""},
            {"dt": None, "country": None},
        ]


def test_columns_added_on_request_are_not_read_from_the_files(landing, planner):
    write(landing, "a")
    plan = planner(metadata=True, rescue=True)
    assert plan.source.schema.names == ["v", "_rescued", "_file"]
    assert [item.name for item in plan.source.schema.field("_file").type] == [
        "path",
        "size",
        "modified",
        "row",
    ]
    (part,) = plan.drain()
    given = plan.open(part, plan.source.schema)
    assert given.schema.names == ["v"]
    assert given.format.metadata
    assert given.format.rescue


def test_an_inferred_schema_is_completed(landing, planner):
    write(landing, "dt=1/a")
    plan = planner(schema="infer", partitions={"dt": "DATE"}, metadata=True)
    assert plan.source.schema is None
    (part,) = plan.drain()
    assert plan.open(part).schema.names == ["dt"]
    inferred = parse_schema({"v": "BIGINT", "dt": "VARCHAR"})
    full = plan.source.complete_schema(inferred)
    assert full.names == ["v", "dt", "_file"]
    assert full.field("dt").type == pa.date32()
    with pytest.raises(SchemaError, match="dt"):
        plan.open(part, parse_schema({"v": "BIGINT"}))


def test_max_rows_reads_parquet_footers(landing, planner):
    for at, rows in enumerate([3, 2, 4, 100, 1]):
        pq.write_table(pa.table({"v": list(range(rows))}), landing / f"f{at}")
        touch(landing / f"f{at}", at)
    write(landing, "f9", b"no parquet", at=9)
    plan = planner(format="parquet", max_rows=5)
    assert plan.paths() == [["f0", "f1"], ["f2"], ["f3"], ["f4", "f9"]]


def test_a_footer_larger_than_the_first_guess_is_read(landing, planner):
    wide = pa.table({f"column_{number:05d}": [1, 2, 3] for number in range(3000)})
    for at in range(2):
        pq.write_table(wide, landing / f"f{at}")
        touch(landing / f"f{at}", at)
    assert planner(format="parquet", max_rows=4).paths() == [["f0"], ["f1"]]
