"""Watermarks, batches without data and triggers: semantics §1, §2 and §9 E."""

import pytest

from orchestration import once, processing_time, stream
from orchestration.cursors.records import Plan, Seal
from orchestration.errors import DeclarationError
from orchestration.runtime.query import StreamingQuery
from orchestration.streams.windows import window
from tests.support.event_time import (
    StreamTest,
    add,
    counts,
    said,
    source,
    totals,
    windows,
)


def log(test):
    """Plans and seals of all batches, in order."""
    with test.query.open(clock=test.clock) as session:
        generation = session.store.queries.get(test.query.name)
        return session.store.batches.history(generation, newest_first=False, with_files=True)


def test_a_batch_without_data_closes_what_the_watermark_has_passed():
    src = source()
    test = StreamTest(counts(src))
    add(src, *range(10, 16))
    assert said(test.drain()) == [([], 0.0, 0, 2), ([], 5.0, 0, 2)]
    add(src, 25)
    assert said(test.drain()) == [([], 5.0, 0, 3), ([(10.0, 5)], 15.0, 0, 2)]
    add(src, 10)
    assert said(test.drain()) == [([], 15.0, 1, 2)]
    assert [row["operator"] for row in test.late()] == ["aggregate-0"]


def test_every_batch_has_a_plan_and_a_seal_that_say_where_event_time_stands():
    src = source()
    test = StreamTest(counts(src))
    add(src, 15)
    test.drain()
    data, none = log(test)
    assert data.plan.event_time == {
        "watermark_ms": 0, "late_ms": 0, "maxima_us": {}, "seen_at": {}, "no_data": False,
    }  # fmt: skip
    seen = {"watermark-0": data.plan.timestamp.isoformat()}
    after = {"maxima_us": {"watermark-0": 15_000_000}, "seen_at": seen, "next_watermark_ms": 5000}
    assert data.seal.event_time == none.seal.event_time == after
    assert none.plan.event_time == {
        "watermark_ms": 5000, "late_ms": 0, "maxima_us": after["maxima_us"], "seen_at": seen,
        "no_data": True,
    }  # fmt: skip
    (part,) = none.plan.slices
    assert part.start == part.end == {"rows": 1}
    assert none.seal.state.startswith("state/v0000000001-")
    for record in (data, none):
        assert Plan.from_json(record.plan.to_json()) == record.plan
        assert Seal.from_json(record.seal.to_json()) == record.seal


def test_no_batch_without_data_where_they_are_off():
    src = source()
    test = StreamTest(counts(src), no_data_batches=False)
    add(src, 15)
    add(src, 10, 12)
    assert said(test.drain()) == [([], 0.0, 0, 2)]
    add(src, 25)
    assert said(test.drain()) == [([], 5.0, 0, 3)]
    add(src, 26)
    assert said(test.drain()) == [([(10.0, 2)], 15.0, 0, 2)]


def test_complete_mode_needs_none_and_gives_everything():
    src = source()
    test = StreamTest(counts(src), output_mode="complete")
    add(src, 10, 11, 12)
    assert [windows(b.rows) for b in test.drain()] == [[(10.0, 3)]]
    add(src, 25)
    assert [windows(b.rows) for b in test.drain()] == [[(10.0, 3), (25.0, 1)]]
    add(src, 10)
    assert [windows(b.rows) for b in test.drain()] == [[(10.0, 4), (25.0, 1)]]
    assert windows(test.table()) == [(10.0, 4), (25.0, 1)]


def test_update_mode_gives_the_groups_that_changed_and_the_table_holds_each_once():
    src = source()
    test = StreamTest(totals(src), output_mode="update")
    add(src, 1, k="a", v=1)
    add(src, 1, k="b", v=2)
    (batch,) = test.drain()
    assert sorted((r["k"], r["total"]) for r in batch.rows) == [("a", 1), ("b", 2)]
    add(src, 1, k="a", v=3)
    (batch,) = test.drain()
    assert [(r["k"], r["n"], r["total"]) for r in batch.rows] == [("a", 2, 4)]
    assert sorted((r["k"], r["total"]) for r in test.table()) == [("a", 4), ("b", 2)]
    assert batch.progress.num_output_rows == 1


def test_once_runs_one_batch_and_none_without_data():  # T1
    src = source()
    test = StreamTest(counts(src))
    found = []
    for times in ((15,), (10, 12, 14), (25,), (50,), (50,)):
        add(src, *times)
        found += test.drain(once())
        test.restart()
    assert [batch.watermark for batch in found] == [0, 5, 5, 15, 40]
    assert [windows(batch.rows) for batch in found] == [
        [], [], [], [(10.0, 3)], [(15.0, 1), (25.0, 1)],
    ]  # fmt: skip


def test_available_now_runs_until_the_watermark_stands_still():  # T2
    src = source()
    test = StreamTest(counts(src))
    found = []
    for times in ((15,), (10, 12, 14), (25,), (50,), (50,)):
        add(src, *times)
        found.append([windows(batch.rows) for batch in test.drain()])
        test.restart()
    assert found == [
        [[], []], [[]], [[], [(10.0, 3)]], [[], [(15.0, 1), (25.0, 1)]], [[]],
    ]  # fmt: skip


def test_processing_time_runs_the_batch_without_data_at_its_next_turn():
    import threading

    src = source()
    test = StreamTest(counts(src))
    add(src, 10, 25)
    stop, seen = threading.Event(), []

    def on_batch(progress):
        seen.append((progress.batch_id, progress.at))
        if len(seen) == 2:
            stop.set()

    test.query.execute(processing_time("5 seconds"), on_batch=on_batch, stop=stop, clock=test.clock)
    assert [batch for batch, _ in seen] == [0, 1]
    assert (seen[1][1] - seen[0][1]).total_seconds() == 5


def test_one_that_a_crash_kept_from_running_runs_when_nothing_is_new():
    src = source()
    test = StreamTest(counts(src))
    add(src, 10, 25)
    test.crash_at("after_ack")
    with pytest.raises(BaseException, match="after_ack"):
        test.drain()
    test.restart()
    assert said(test.drain()) == [([(10.0, 1)], 15.0, 0, 1)]
    assert test.drain() == []


def test_a_lost_commit_is_replayed_by_the_same_watermarks():  # T4
    src = source()
    test = StreamTest(counts(src))
    add(src, *range(10, 16))
    test.drain()
    add(src, 25)
    test.drain()
    test.lose_commit(3)
    test.restart()
    assert said(test.drain()) == [([(10.0, 5)], 15.0, 0, 2)]
    add(src, 10, 27, 30)
    assert said(test.drain()) == [([], 15.0, 1, 3), ([(15.0, 1)], 20.0, 0, 2)]


def test_a_replayed_batch_counts_as_the_one_of_once():
    src = source()
    test = StreamTest(counts(src))
    add(src, 10, 25)
    test.crash_at("after_write")
    with pytest.raises(BaseException, match="after_write"):
        test.drain(once())
    test.restart()
    add(src, 40)
    assert [batch.batch_id for batch in test.drain(once())] == [0]
    assert [batch.batch_id for batch in test.drain(once())] == [1]


def test_the_slower_of_two_inputs_holds_the_watermark_or_the_faster_takes_it_along():
    for policy, expected in (("min", [0.0, 0.0, 1.0]), ("max", [0.0, 1.0, 1.0])):
        one, two = source("one"), source("two")
        both = (
            stream(one)
            .with_watermark("ts", "10 seconds")
            .union(stream(two).with_watermark("ts", "5 seconds"))
        )
        query = both.group_by(window("ts", "5 seconds")).agg(n="count(*)")
        test = StreamTest(query, watermark_policy=policy)
        add(one, 11)
        seen = [batch.watermark for batch in test.drain()]
        add(two, 6)
        seen += [batch.watermark for batch in test.drain()]
        assert seen == expected, policy


def test_an_unknown_policy_is_refused():
    from orchestration import delta_sink

    with pytest.raises(DeclarationError, match="watermark_policy"):
        StreamingQuery("q", counts(source()), sink=delta_sink("q"), watermark_policy="median")


@pytest.mark.parametrize("ever", [True, False])
def test_a_silent_input_stops_holding_the_others_back(ever):
    one, two = source("one"), source("two")
    silent = stream(two).with_watermark("ts", "0 seconds", idle_timeout="1 minute")
    both = stream(one).with_watermark("ts", "0 seconds").union(silent)
    test = StreamTest(both.group_by(window("ts", "5 seconds")).agg(n="count(*)"))
    if ever:
        add(two, 1)
    add(one, 10)
    test.drain()
    add(one, 20)
    test.drain()
    assert test.table() == []
    test.clock.advance(61)  # nothing new comes, but the other one is silent for so long now
    (batch,) = test.drain()
    assert batch.watermark == 20
    expected = [(10.0, 1)] if not ever else [(0.0, 1), (10.0, 1)]
    assert windows(test.table()) == expected
    add(two, 7)  # too late now
    assert test.drain()[0].late_rows == 1


def test_progress_says_where_event_time_stands_and_what_the_state_holds():
    src = source()
    test = StreamTest(counts(src))
    add(src, 12)
    add(src, 25)
    first, second = test.drain()
    assert first.progress.event_time["watermark"] == "1970-01-01T00:00:00Z"
    assert first.progress.event_time["max"] == "1970-01-01T00:00:25Z"
    assert second.progress.event_time["watermark"] == "1970-01-01T00:00:15Z"
    (operator,) = second.operators
    assert operator["rows_total"] == second.state_rows == 1
    assert operator["rows_removed"] == 1
    assert operator["next_close_us"] == 30_000_000
    assert second.progress.details["no_data"] is True
    add(src, 1, 2)
    (third,) = test.drain()
    assert third.progress.details["late_rows_total"] == 2


def test_old_versions_of_the_state_go_and_the_last_twenty_stay():
    src = source()
    test = StreamTest(counts(src))
    for number in range(30):
        add(src, 10 * number)
        test.drain(once())
    with test.query.open(clock=test.clock) as session:
        session.attach(session.store.queries.get(test.query.name))
        place = session.state_place
        names = [item.path for item in place.list(f"{session.log.directory}/state")]
        from orchestration.runtime.stateful import open_state

        files = open_state(session)
        manifests = sorted(name for name in files.names() if name.endswith(".json"))
        needed = {path for name in manifests for path in files.load(name).paths}
    assert len(manifests) == 20
    assert "state/v0000000029" in manifests[-1]
    assert len(names) == len(manifests) + len(needed)
