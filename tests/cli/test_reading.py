import json

import pytest


@pytest.fixture
def ran(project):
    for _ in range(3):
        project.land(2)
    project.land(1, '{"id": "one"}', "garbage\twith a tab", name="999999-bad.json")
    project("run", "clicks")
    return project


def test_a_plan_shows_the_next_batches_and_writes_no_table(project):
    for _ in range(5):
        project.land()
    done = project("plan", "clicks")
    assert done.exit_code == 0
    assert "5 new files" in done.stdout
    assert "3 batches" in done.stdout
    assert "Nothing was written. Next: headwater run clicks" in done.stdout
    assert not (project.home / "tables").exists()
    assert not (project.home / "state").exists()


def test_a_plan_is_what_the_run_then_does(project):
    for _ in range(5):
        project.land()
    planned = project.json("plan", "clicks")["batches"]
    batches = project.json("run", "clicks")["batches"]
    assert [part["end"] for part in planned] == [
        batch["sources"][0]["end_offset"] for batch in batches
    ]


def test_a_plan_of_nothing_says_so(ran):
    assert "Nothing new: 0 of 4 files; last batch 1 at " in ran("plan", "clicks").stdout


def test_a_plan_obeys_the_trigger(project):
    for _ in range(5):
        project.land()
    assert len(project.json("plan", "clicks", "--trigger", "once")["batches"]) == 1


def test_a_plan_names_the_batch_that_a_crash_left(project):
    project.land()
    project.start("run", "clicks", HEADWATER_CRASH_AT="after_write").communicate(timeout=60)
    assert project.json("plan", "clicks")["unfinished_batch"] == 0
    assert "was left unfinished and comes first" in project("plan", "clicks").stdout


def test_status_before_and_after(project):
    assert project.json("status", "clicks")["state"] == "never run"
    project.land(5)
    project("run", "clicks")
    status = project.json("status", "clicks")
    assert (status["state"], status["rows"], status["batches"]) == ("idle", 5, 1)
    assert status["costs"]["rows"] == 5
    assert "last incremental run" in project("status", "clicks").stdout


def test_history_lists_batches_newest_first(ran):
    history = ran.json("history", "clicks")
    assert [batch["batch_id"] for batch in history] == [1, 0]
    assert len(ran.json("history", "clicks", "--limit", "1")) == 1
    assert "2 batches in all" in ran("history", "clicks", "--limit", "1").stdout


def test_history_of_a_query_that_never_ran(project):
    assert project.json("history", "clicks") == []
    assert "no batch yet" in project("history", "clicks").stdout


def test_quarantine_shows_file_line_reason_and_text(ran):
    found = ran.json("quarantine", "clicks")
    assert found["total"] == 2
    assert sum(found["reasons"].values()) == 2
    assert {(row["file"].rpartition("/")[2], row["line"]) for row in found["records"]} == {
        ("999999-bad.json", 2),
        ("999999-bad.json", 3),
    }
    shown = ran("quarantine", "clicks").stdout
    assert "garbage with a tab" in shown
    assert "999999-bad.json" in shown


def test_quarantine_limits_what_it_reads_and_says_how_much_more_there_is(ran):
    found = ran.json("quarantine", "clicks", "--limit", "1")
    assert (found["total"], len(found["records"])) == (2, 1)
    assert "1 more record" in ran("quarantine", "clicks", "--limit", "1").stdout


def test_an_empty_quarantine(project):
    assert "Nothing is in the quarantine" in project("quarantine", "clicks").stdout
    assert project.json("quarantine", "clicks")["records"] == []


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "clicks"),
        ("run", "clicks"),
        ("status",),
        ("status", "clicks"),
        ("history", "clicks"),
        ("quarantine", "clicks"),
        ("verify", "clicks"),
        ("cursors",),
    ],
)
def test_json_is_one_document_on_standard_output(ran, command):
    done = ran(*command, "--json")
    assert done.exit_code == 0, done.output
    json.loads(done.stdout)


def test_the_engine_prints_nothing_of_its_own(ran):
    """DuckDB draws a bar on standard output when a statement takes seconds."""
    with ran.query().open() as session:
        setting = "SELECT current_setting('enable_progress_bar')"
        limits = session.engine._limits
        assert limits.connect_unguarded().execute(setting).fetchone() == (False,)
