"""The testing kit, as a user's test would use it."""

from datetime import UTC, datetime

import pytest

from orchestration import once, stream
from orchestration.errors import ConfigError, SchemaError
from orchestration.testing import CRASH_POINTS, MemoryStream, SimulatedCrash, StreamTest


@pytest.fixture
def src():
    return MemoryStream({"ts": "TIMESTAMPTZ", "v": "BIGINT"})


def test_a_drain_gives_the_rows_of_every_batch(src):
    test = StreamTest(stream(src).where("v > 0").select("ts", double="v * 2"))
    src.add([{"ts": "1970-01-01T00:00:15Z", "v": 1}, {"ts": 16, "v": -1}])
    (batch,) = test.drain()
    assert batch.batch_id == 0
    assert batch.rows == [{"ts": datetime(1970, 1, 1, 0, 0, 15, tzinfo=UTC), "double": 2}]
    assert (batch.watermark, batch.late_rows, batch.state_rows, batch.operators) == (0.0, 0, 0, [])
    assert test.drain() == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_anywhere_and_a_restart_give_the_row_once(src, point):
    test = StreamTest(stream(src))
    test.crash_at(point)
    src.add([{"ts": 1, "v": 1}])
    with pytest.raises(SimulatedCrash):
        test.drain()
    test.restart()
    test.drain()
    assert [row["v"] for row in test.table()] == [1]


def test_a_lost_commit_is_replayed_with_the_same_rows(src):
    test = StreamTest(stream(src))
    src.add([{"ts": 1, "v": 1}])
    (first,) = test.drain()
    test.lose_commit(0)
    test.restart()
    src.add([{"ts": 2, "v": 2}])
    replayed, second = test.drain()
    assert (replayed.batch_id, replayed.rows) == (0, first.rows)
    assert [row["v"] for row in second.rows] == [2]
    assert sorted(row["v"] for row in test.table()) == [1, 2]


def test_a_trigger_may_be_given(src):
    test = StreamTest(stream(src))
    src.add([{"ts": 1, "v": 1}])
    assert len(test.drain(trigger=once())) == 1


def test_something_may_happen_between_two_steps(src):
    test = StreamTest(stream(src))
    src.add([{"ts": 1, "v": 1}])
    test.at("after_seal", lambda: src.add([{"ts": 2, "v": 2}]))
    assert [row["v"] for row in test.drain()[0].rows] == [1]
    assert [row["v"] for row in test.drain()[0].rows] == [2]


def test_map_batches_sees_arrow_tables(src):
    import pyarrow as pa
    import pyarrow.compute as pc

    def negate(table):
        return pa.table({"v": pc.negate(table["v"])})

    test = StreamTest(stream(src).map_batches(negate, {"v": "BIGINT"}).where("v < -1"))
    src.add([{"ts": 1, "v": 1}, {"ts": 1, "v": 2}])
    assert test.drain()[0].rows == [{"v": -2}]


def test_now_is_the_time_of_the_batch_even_when_it_is_replayed(src):
    test = StreamTest(stream(src).select(at="now()"))
    src.add([{"ts": 1, "v": 1}])
    test.crash_at("after_write")
    with pytest.raises(SimulatedCrash):
        test.drain()
    test.clock.advance(3600)
    test.restart()
    (batch,) = test.drain()
    assert batch.rows == [{"at": batch.progress.at}]
    assert batch.progress.at < test.clock.now()


def test_wrong_rows_are_refused_before_anything_is_added(src):
    with pytest.raises(SchemaError):
        src.add([{"ts": 1, "v": 1}, {"ts": 1, "nope": 1}])
    assert StreamTest(stream(src)).drain() == []


def test_an_unknown_crash_point_is_refused(src):
    with pytest.raises(ConfigError, match="no crash point"):
        StreamTest(stream(src)).crash_at("whenever")


@pytest.fixture
def counted(src):
    from orchestration.streams.windows import window

    rows = stream(src).with_watermark("ts", "10 seconds")
    return rows.group_by(window("ts", "5 seconds")).agg(n="count(*)")


def test_batches_without_data_and_what_state_says(src, counted):
    test = StreamTest(counted)
    src.add([{"ts": ts} for ts in (10, 11, 12, 13, 14, 15)])
    assert [(b.watermark, b.state_rows, b.late_rows) for b in test.drain()] == [
        (0.0, 2, 0), (5.0, 2, 0),
    ]  # fmt: skip
    src.add([{"ts": 25}])
    data, none = test.drain()
    assert (data.rows, none.watermark, none.state_rows) == ([], 15.0, 2)
    assert none.rows == [
        {
            "window_start": datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC),
            "window_end": datetime(1970, 1, 1, 0, 0, 15, tzinfo=UTC),
            "n": 5,
        }
    ]
    src.add([{"ts": 10, "v": 7}])
    (late,) = test.drain()
    assert (late.rows, late.late_rows, late.operators[0]["rows_dropped_by_watermark"]) == ([], 1, 1)
    (row,) = test.late()
    assert row["operator"] == late.operators[0]["id"]
    assert row["event_time"] == datetime(1970, 1, 1, 0, 0, 15, tzinfo=UTC)
    assert (row["watermark"], row["batch_id"]) == (row["event_time"], late.batch_id)


def test_batches_without_data_may_be_turned_off(src, counted):
    test = StreamTest(counted, no_data_batches=False)
    src.add([{"ts": 10}, {"ts": 25}])
    assert len(test.drain()) == 1


def test_a_restart_forgets_no_option(src, counted):
    test = StreamTest(counted, no_data_batches=False, watermark_policy="max")
    test.restart()
    assert (test.query.no_data_batches, test.query.watermark_policy) == (False, "max")


def test_late_rows_are_counted_where_they_are_dropped(src, counted):
    test = StreamTest(counted, on_late="drop")
    src.add([{"ts": 25}])
    test.drain()
    src.add([{"ts": 1}])
    assert [batch.late_rows for batch in test.drain()] == [1]
    assert test.late() == []


def test_the_rows_of_an_upsert_are_the_groups_that_changed(src):
    test = StreamTest(stream(src).group_by("v").agg(n="count(*)"), output_mode="update")
    src.add([{"ts": 1, "v": 1}, {"ts": 1, "v": 2}])
    test.drain()
    src.add([{"ts": 1, "v": 2}])
    assert [batch.rows for batch in test.drain()] == [[{"v": 2, "n": 2}]]
    assert sorted((row["v"], row["n"]) for row in test.table()) == [(1, 1), (2, 2)]


def test_two_streams_have_two_names():
    one, two = MemoryStream({"v": "BIGINT"}), MemoryStream({"v": "BIGINT"})
    assert one.name != two.name
    assert MemoryStream({"v": "BIGINT"}, name="clicks").name == "clicks"
    test = StreamTest(stream(one).union(stream(two)))
    one.add([{"v": 1}])
    two.add([{"v": 2}])
    assert sorted(row["v"] for row in test.drain()[0].rows) == [1, 2]
