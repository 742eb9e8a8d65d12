"""Rows put in by hand are replayed like those of any source."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orchestration.errors import SchemaError, SourceUnavailable
from orchestration.sources.base import UNLIMITED, Limits
from orchestration.sources.memory import MemorySource
from tests.sources.support import Planner

SCHEMA = {"ts": "TIMESTAMPTZ", "v": "BIGINT"}


def rows(plan, part):
    return plan.open(part, plan.source.schema).table.to_pylist()


def test_rows_come_once_and_again_on_replay(tmp_path):
    source = MemorySource(SCHEMA)
    plan = Planner(source, tmp_path)
    assert plan.poll().empty
    source.add([{"v": 1}, {"v": 2}])
    source.add([{"v": 3}])
    (first,) = plan.drain(UNLIMITED)
    assert (first.start, first.end) == ({"rows": 0}, {"rows": 3})
    source.add([{"v": 4}])
    (second,) = plan.drain()
    assert [row["v"] for row in rows(plan, second)] == [4]
    assert [row["v"] for row in rows(plan, first)] == [1, 2, 3]
    assert plan.drain() == []


def test_max_rows_cuts(tmp_path):
    source = MemorySource(SCHEMA, limits=Limits(max_rows=2))
    source.add([{"v": number} for number in range(5)])
    plan = Planner(source, tmp_path)
    assert [part.end["rows"] for part in plan.drain()] == [2, 4, 5]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01T00:00:15Z", datetime(1970, 1, 1, 0, 0, 15, tzinfo=UTC)),
        ("1970-01-01T02:00:00+02:00", datetime(1970, 1, 1, tzinfo=UTC)),
        (15, datetime(1970, 1, 1, 0, 0, 15, tzinfo=UTC)),
        (24.999, datetime(1970, 1, 1, 0, 0, 24, 999000, tzinfo=UTC)),
        (-5.000001, datetime(1969, 12, 31, 23, 59, 54, 999999, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_timestamps_as_people_write_them(tmp_path, value, expected):
    source = MemorySource(SCHEMA)
    source.add([{"ts": value}])
    plan = Planner(source, tmp_path)
    (part,) = plan.drain()
    assert rows(plan, part) == [{"ts": expected, "v": None}]


def test_nested_values_and_decimals(tmp_path):
    source = MemorySource({"d": "DECIMAL(10,2)", "s": "STRUCT(at TIMESTAMPTZ, tags VARCHAR[])"})
    source.add([{"d": 1.1, "s": {"at": 0, "tags": ["x"]}}, {"d": "2.20"}])
    plan = Planner(source, tmp_path)
    (part,) = plan.drain()
    first, second = rows(plan, part)
    assert first == {
        "d": Decimal("1.10"),
        "s": {"at": datetime(1970, 1, 1, tzinfo=UTC), "tags": ["x"]},
    }
    assert second == {"d": Decimal("2.20"), "s": None}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"vv": 1}, "did you mean 'v'"),
        ({"v": 5.7}, "5.7"),
        ({"v": "x"}, "'v'"),
        ({"v": 2**63}, "'v'"),
        ({"ts": "yesterday"}, "not an ISO timestamp"),
        ({"ts": "2026-01-01T00:00:00"}, "no time zone"),
        ({"ts": []}, "not a timestamp"),
    ],
)
def test_what_does_not_fit_is_refused_and_adds_nothing(row, said):
    source = MemorySource(SCHEMA)
    with pytest.raises(SchemaError) as caught:
        source.add([{"v": 1}, row])
    assert said in str(caught.value)
    assert source.rows == 0


def test_rows_of_a_process_that_ended_are_missed(tmp_path):
    source = MemorySource(SCHEMA)
    source.add([{"v": 1}])
    plan = Planner(source, tmp_path)
    (part,) = plan.drain()
    plan.source = MemorySource(SCHEMA)
    with pytest.raises(SourceUnavailable, match="0 are in memory"):
        plan.open(part)
    with pytest.raises(SourceUnavailable, match="only 0"):
        plan.poll()
