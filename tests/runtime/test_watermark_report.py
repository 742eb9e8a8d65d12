"""What people are told of the watermark: why nothing came out, and what brings it out."""

import json

import pytest

from orchestration import delta_sink, files, stream
from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.runtime.query import StreamingQuery
from orchestration.runtime.watermark_report import watermark_report
from orchestration.streams.windows import window
from tests.support.event_time import StreamTest, add, counts, source, totals

HOUR = 3600
MINUTE = 60


def report(test):
    with test.query.open(clock=test.clock) as session:
        return watermark_report(session)


def views(src):
    rows = stream(src).with_watermark("ts", "10 minutes")
    return rows.group_by(window("ts", "5 minutes"), "k").agg(n="count(*)")


def test_an_open_window_is_named_with_what_closes_it():
    src = source()
    test = StreamTest(views(src))
    add(src, 14 * HOUR, 14 * HOUR + 12 * MINUTE)
    test.drain()
    found = report(test)
    assert found.sentence == (
        "0 rows: window 14:00 closes at event time 14:15; the watermark is 14:02"
    )
    assert (found.watermark, found.state_rows) == ("1970-01-01T14:02:00Z", 2)
    (held,) = found.inputs
    assert (held.sources, held.maximum, held.holds) == (
        ("memory",), "1970-01-01T14:12:00Z", True,
    )  # fmt: skip
    add(src, 14 * HOUR + 15 * MINUTE)
    test.drain()
    found = report(test)
    assert found.sentence is None
    assert found.explanation == ("window 14:10 closes at event time 14:25; the watermark is 14:05")


def test_of_several_inputs_the_one_that_holds_is_named():
    one, two = source("one"), source("two")
    left = stream(one).with_watermark("ts", "0 seconds")
    right = stream(two).with_watermark("ts", "1 minute", idle_timeout="1 hour")
    test = StreamTest(left.union(right).group_by(window("ts", "5 minutes")).agg(n="count(*)"))
    add(one, HOUR)
    test.drain()
    assert report(test).sentence == (
        "0 rows: window 01:00 is open; there is no watermark yet, two gave no row"
    )
    add(two, HOUR + 120)
    test.drain()
    assert report(test).sentence == (
        "0 rows: window 01:00 closes at event time 01:05; the watermark is 01:00, held by one"
    )
    add(one, HOUR + 290)
    test.drain()
    assert report(test).sentence == (
        "0 rows: window 01:00 closes at event time 01:06; the watermark is 01:01, held by two"
    )
    test.clock.advance(HOUR + 60)
    found = report(test)
    assert [item.sources for item in found.idle] == [("two",)]
    assert found.holding.sources == ("one",)
    assert found.due


def test_late_rows_are_counted_over_all_batches():
    src = source()
    test = StreamTest(counts(src))
    add(src, 100)
    test.drain()
    for _ in range(2):
        add(src, 1, 2)
        test.drain()
    found = report(test)
    assert (found.late_rows, found.late_rows_last) == (4, 2)
    assert len(test.late()) == 4


def test_dropped_late_rows_are_counted_all_the_same():
    src = source()
    test = StreamTest(counts(src), on_late="drop")
    add(src, 100)
    test.drain()
    add(src, 1, 2)
    test.drain()
    assert report(test).late_rows == 2
    assert test.late() == []


def test_other_days_are_said():
    src = source()
    test = StreamTest(counts(src, "1 day"))
    add(src, 3 * 24 * HOUR)
    test.drain()
    assert report(test).sentence == (
        "0 rows: window 1970-01-04 00:00 closes at event time 1970-01-05 00:00:05; "
        "the watermark is 1970-01-03 00:00"
    )


def test_queries_without_a_watermark_have_nothing_to_say():
    assert report(StreamTest(stream(source()))) is None
    assert report(StreamTest(totals(source()), output_mode="update")) is None


def test_before_the_first_run_there_is_little_to_say():
    found = report(StreamTest(counts(source())))
    assert (found.batch_id, found.sentence, found.due) == (None, None, False)
    assert found.watermark == "1970-01-01T00:00:00Z"


@pytest.fixture
def landing(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    return place


def test_the_file_that_came_last_is_named(tmp_path, landing):
    source = files(str(landing), schema={"ts": "TIMESTAMPTZ", "k": "VARCHAR"})
    query = StreamingQuery(
        "views", counts(source), sink=delta_sink("views"), settings=Settings.load(home=tmp_path)
    )
    (landing / "x.json").write_text(json.dumps({"ts": "2026-01-01T14:02:00Z", "k": "a"}) + "\n")
    clock = ManualClock()
    query.execute(clock=clock)
    with query.open(clock=clock) as session:
        found = watermark_report(session)
    assert found.inputs[0].last_file.endswith("/x.json")
    shown = json.loads(json.dumps(found.to_json()))
    assert shown["held_by"] == "watermark-0"
    assert shown["inputs"][0]["maximum"] == "2026-01-01T14:02:00Z"
    assert shown["closing_event_time"] == "2026-01-01T14:02:15Z"
