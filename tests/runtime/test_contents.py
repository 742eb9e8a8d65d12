from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from orchestration.errors import UnknownQuery
from orchestration.runtime.contents import batch_rows, quarantined, table_rows
from tests.support.world import World


def test_rows_come_back_whatever_they_are_partitioned_by(tmp_path):
    rows = [
        {
            "n": 1,
            "day": date(2026, 1, 2),
            "at": datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC),
            "price": Decimal("1.50"),
            "name": "a b/ü%",
            "yes": True,
        },
        {"n": 2, "day": None, "at": None, "price": None, "name": None, "yes": None},
    ]
    schema = pa.schema(
        [
            ("n", pa.int64()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us", "UTC")),
            ("price", pa.decimal128(10, 2)),
            ("name", pa.string()),
            ("yes", pa.bool_()),
        ]
    )
    for number, by in enumerate((None, ["day"], ["at"], ["price"], ["name"], ["yes"])):
        uri = str(tmp_path / f"t{number}")
        write_deltalake(uri, pa.Table.from_pylist(rows, schema), partition_by=by)
        assert sorted(table_rows(uri), key=lambda row: row["n"]) == rows, by


def test_timestamps_are_aware_and_utc(tmp_path):
    at = datetime(2026, 1, 2, tzinfo=UTC)
    write_deltalake(
        str(tmp_path / "t"), pa.table({"at": pa.array([at], pa.timestamp("us", "UTC"))})
    )
    ((row),) = table_rows(str(tmp_path / "t"))
    assert row["at"].utcoffset().total_seconds() == 0


def test_a_table_that_is_not_there_has_no_rows(tmp_path):
    assert table_rows(str(tmp_path / "none")) == []


def test_the_rows_of_one_batch(tmp_path):
    world = World(tmp_path)
    world.land(2)
    world.run()
    world.land(3)
    world.run()
    with world.query.open() as session:
        assert [row["id"] for row in batch_rows(session, 0)] == [0, 1]
        assert [row["id"] for row in batch_rows(session, 1)] == [2, 3, 4]
        with pytest.raises(UnknownQuery):
            batch_rows(session, 2)


def test_the_quarantine_is_counted_whole_and_shown_in_part(tmp_path):
    world = World(tmp_path)
    for number in range(3):
        world.land(1, bad=2, name=f"{number}.json")
        world.run()
    with world.query.open() as session:
        found = quarantined(session, 3)
    assert found.total == 6
    assert sum(found.reasons.values()) == 6
    assert [row["batch_id"] for row in found.newest] == [2, 2, 1]
