"""What the commands say of windows, late rows and state, on queries that really run."""

import json

import pytest

WINDOWED = """
from orchestration import StreamingQuery, available_now, delta_sink, files, stream, window

raw = stream(files("landing", schema={"ts": "TIMESTAMPTZ", "page": "VARCHAR", "v": "BIGINT"}))
timed = raw.with_watermark("ts", "10 minutes")

views = StreamingQuery(
    "views",
    timed.group_by(window("ts", "5 minutes"), "page").agg(n="count(*)", middle="median(v)"),
    sink=delta_sink("views"), trigger=available_now(max_files=1))
dropped = StreamingQuery(
    "dropped", timed.group_by(window("ts", "5 minutes")).agg(n="count(*)"),
    sink=delta_sink("dropped", on_late="drop"), trigger=available_now(max_files=1))
totals = StreamingQuery(
    "totals", raw.group_by("page").agg(n="count(*)"),
    sink=delta_sink("totals", output_mode="update"))
once_each = StreamingQuery(
    "once_each", raw.drop_duplicates("page"), sink=delta_sink("once_each"))
plain = StreamingQuery("plain", raw.where("v > 0"), sink=delta_sink("plain"))
"""


def at(minute, second=0):
    return f"2026-03-02T14:{minute:02d}:{second:02d}Z"


@pytest.fixture
def timed(project):
    """A project whose queries go by event time, and how to land rows for them."""
    project.declare(WINDOWED)
    project.landing.mkdir()
    numbers = iter(range(1000))

    def land(*minutes, page="/"):
        rows = [{"ts": at(minute), "page": page, "v": minute} for minute in minutes]
        path = project.landing / f"{next(numbers):04d}.json"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    project.land = land
    return project


def test_a_run_that_gave_nothing_says_which_window_waits_for_what(timed):
    timed.land(0, 3, 12)
    done = timed("run", "views")
    assert done.exit_code == 0
    assert "0 rows: window 14:00 closes at event time 14:15; the watermark is 14:02" in done.stdout
    assert "headwater watermark views" in done.stdout
    again = timed("run", "views")
    assert "nothing new" in again.stdout
    assert "window 14:00 closes at event time 14:15; the watermark is 14:02" in again.stdout


def test_what_a_watermark_closed_is_a_batch_without_new_data(timed, monkeypatch):
    timed.land(0, 3, 16)
    done = timed("run", "views")
    assert "no new data · 1 row that the watermark closed" in done.stdout
    assert "window 14:15 closes at event time 14:30; the watermark is 14:06" in done.stdout
    for width, watermark in (("160", "2026-03-02 14:06:00 UTC"), ("80", "2026-03-02 14:06 ")):
        monkeypatch.setenv("COLUMNS", width)
        shown = timed("history", "views").stdout
        assert "watermark" in shown
        assert watermark in shown
        assert "no data" in shown
        assert max(map(len, shown.splitlines())) <= int(width)


def test_the_watermark_is_explained(timed):
    timed.land(0, 3, 12)
    timed("run", "views")
    shown = timed("watermark", "views").stdout
    assert "views: the watermark is 2026-03-02 14:02:00 UTC" in shown
    assert "its newest row, 2026-03-02 14:12:00 UTC, in landing/0000.json (batch 0)" in shown
    assert "less 10 minutes" in shown
    assert "window 14:00, at watermark 2026-03-02 14:05:00 UTC" in shown
    assert "a row of event time 2026-03-02 14:15:00 UTC or after" in shown
    assert "headwater flush views --until TIME" in shown
    found = timed.json("watermark", "views")["watermark"]
    assert found["next_watermark"] == "2026-03-02T14:02:00Z"
    assert found["closing_event_time"] == "2026-03-02T14:15:00Z"
    assert found["held_by_batch"]["files"] == ["landing/0000.json"]
    assert found["waiting_for"].startswith("window 14:00 closes")


def test_the_file_that_holds_it_is_the_one_with_the_newest_row_not_the_last_one(timed):
    timed.land(12)
    timed.land(5)
    timed("run", "views")
    held = timed.json("watermark", "views")["watermark"]["held_by_batch"]
    assert held == {"batch_id": 0, "files": ["landing/0000.json"]}


def test_the_watermark_before_the_first_run_and_of_a_query_that_has_none(timed):
    assert "no batch ran yet, so there is no watermark" in timed("watermark", "views").stdout
    for name in ("totals", "plain"):
        assert f"{name} has no watermark" in timed("watermark", name).stdout
        assert timed.json("watermark", name)["watermark"] is None


def test_late_rows_are_counted_shown_and_measured(timed):
    timed.land(0)
    timed.land(30)
    timed("run", "views")
    timed.land(1, 2, 29)
    done = timed("run", "views")
    assert "2 rows came too late → headwater late views" in done.stdout
    found = timed.json("late", "views")
    assert (found["total"], found["dropped"], found["on_late"]) == (2, 2, "table")
    (operator,) = found["operators"]
    # The window ended at 14:05, and the watermark was 14:20.
    assert (operator["rows"], operator["most_seconds"]) == (2, 900.0)
    assert {json.loads(row["row"])["v"] for row in found["rows"]} == {1, 2}
    assert len(timed.json("late", "views", "--limit", "1")["rows"]) == 1
    shown = timed("late", "views", "--limit", "1").stdout
    assert "2 late rows in " in shown
    assert "15 min 0 s" in shown
    assert "1 more row: --limit shows them" in shown
    assert "2 rows, 2 of them in the last batch" in timed("watermark", "views").stdout


def test_late_rows_that_are_dropped_are_still_counted(timed):
    timed.land(0)
    timed.land(30)
    timed("run", "dropped")
    timed.land(1)
    timed("run", "dropped")
    found = timed.json("late", "dropped")
    assert (found["total"], found["dropped"], found["on_late"]) == (0, 1, "drop")
    assert "1 row of dropped came too late and was dropped" in timed("late", "dropped").stdout


def test_no_late_row_says_so(timed):
    for name in ("views", "plain"):
        assert f"No row came too late for {name}." in timed("late", name).stdout
        assert timed.json("late", name)["rows"] == []


def test_a_flush_closes_what_is_open_and_is_recorded(timed):
    timed.land(0, 3, 12)
    timed("run", "views")
    done = timed("flush", "views", "--until", "2026-03-02T15:05:00+01:00")
    assert done.exit_code == 0, done.output
    assert "moved the watermark to 2026-03-02 14:05:00 UTC: 1 row given" in done.stdout
    assert "still open: window 14:10" in done.stdout
    found = timed.json("flush", "views", "--until", "2026-03-02T14:15:00Z")
    assert found["rows"] == 1
    assert len(found["batches"]) == 1
    assert timed.json("status", "views")["rows"] == 2
    again = timed("flush", "views", "--until", "2026-03-02T14:15:00Z")
    assert "has passed 2026-03-02 14:15:00 UTC already" in again.stdout
    assert "a flush" in timed("watermark", "views").stdout
    timed.land(13)
    assert "1 row came too late" in timed("run", "views").stdout


@pytest.mark.parametrize("time", ["2026-03-02T14:05:00", "2026-03-02", "tea time"])
def test_a_flush_wants_a_time_that_says_its_zone(timed, time):
    done = timed("flush", "views", "--until", time)
    assert done.exit_code == 2
    assert "Z" in done.stderr


def test_a_flush_of_a_query_that_closes_nothing_is_refused_with_the_remedy(timed):
    done = timed("flush", "totals", "--until", "now")
    assert done.exit_code == 1
    assert "has no watermark" in done.stderr
    assert "with_watermark" in done.stderr


def test_the_state_is_shown_by_operator(timed):
    timed.land(0, 3, 12)
    timed("run", "views")
    found = timed.json("state", "views")["state"]
    (operator,) = found["operators"]
    assert (operator["name"], operator["rows"]) == ("aggregate", 2)
    assert operator["bytes"] > 0
    assert operator["oldest_event_time"] == "2026-03-02T14:00:00Z"
    assert operator["leaves_at"] == "2026-03-02T14:05:00Z"
    assert (found["versions"], found["oldest_version"], found["newest_version"]) == (2, 0, 1)
    shown = timed("state", "views").stdout
    assert "views: 2 rows of state" in shown
    assert "2 versions, of batches 0 to 1" in shown


def test_state_that_never_leaves_is_named(timed):
    timed.land(0)
    timed("run", "totals")
    assert "never" in timed("state", "totals").stdout
    assert timed.json("state", "totals")["state"]["operators"][0]["leaves_at"] is None
    assert timed("state", "plain").stdout == "plain keeps nothing between its batches.\n"
    assert timed.json("state", "plain")["state"] is None
    assert "no batch yet" in timed("state", "once_each").stdout


def test_a_plan_names_what_is_kept_and_what_grows_for_ever(timed):
    timed.land(0)
    shown = timed("plan", "views").stdout
    assert "none yet: no batch ran" in shown
    assert "keeps for median(v)  ALL VALUES of a group" in shown
    assert "keeps for count(*)   a few numbers a group" in shown
    assert "state grows with the number of groups" in timed("plan", "totals").stdout
    found = timed.json("plan", "once_each")["event_time"]
    assert any("state grows for ever" in item for item in found["warnings"])
    assert timed.json("plan", "plain")["event_time"] is None
    timed("run", "views")
    shown = timed("plan", "views").stdout
    assert "the watermark is 13:50" in shown


def test_status_tells_of_event_time_where_there_is_any(timed, monkeypatch):
    timed.land(0)
    timed.land(30)
    timed("run", "views")
    timed.land(1)
    timed("run", "views")
    timed("run", "plain")
    found = timed.json("status", "views")
    assert found["event_time"] == {
        "watermark": "2026-03-02T14:20:00Z",
        "late_rows_total": 1,
        "state_rows": 1,
        "state_bytes": found["event_time"]["state_bytes"],
    }
    assert found["waiting_for"].startswith("window 14:30")
    assert found["tables"]["late"].endswith("views__late")
    shown = timed("status", "views").stdout
    assert "window 14:30 closes at event time 14:45" in shown
    for width, watermark in (("160", "2026-03-02 14:20:00 UTC"), ("80", "2026-03-02 14:20 ")):
        monkeypatch.setenv("COLUMNS", width)
        assert watermark in timed("status").stdout
    plain = timed.json("status", "plain")
    assert plain["event_time"] is None
    assert "late" not in plain["tables"]


def test_plain_queries_are_shown_as_before(timed):
    timed.land(1)
    timed("run", "plain")
    assert "watermark" not in timed("history", "plain").stdout
    assert "watermark" not in timed("status", "plain").stdout


def test_a_change_that_the_state_cannot_follow_is_refused_with_exit_code_3(timed):
    timed.land(0)
    timed("run", "views")
    # Modules are cached by name, so the changed one goes by another.
    timed.module += "_changed"
    timed.declare(
        WINDOWED.replace('window("ts", "5 minutes"), "page"', 'window("ts", "10 minutes"), "page"')
    )
    done = timed("run", "views")
    assert done.exit_code == 3
    assert "5 minutes" in done.stderr
    assert "10 minutes" in done.stderr
    assert "reset" in done.stderr
