"""``prove`` and ``verify`` of queries that keep state: late rows and floating-point sums too."""

import json
from itertools import count

import pytest
from deltalake import DeltaTable

from orchestration.runtime.crashpoints import CRASH_POINTS

QUERIES = """
from orchestration import (StreamingQuery, available_now, delta_sink, files, session_window,
                           stream, window)

SCHEMA = {"ts": "TIMESTAMPTZ", "k": "VARCHAR", "x": "DOUBLE"}

def timed(name):
    return stream(files("landing/" + name, name=name, schema=SCHEMA)).with_watermark(
        "ts", "10 seconds")

def query(name, rows, mode="append"):
    return StreamingQuery(name, rows, sink=delta_sink(name, output_mode=mode),
                          trigger=available_now(max_files=1))

counted = query("counted", timed("a").group_by(window("ts", "5 seconds"), "k")
                .agg(n="count(*)", total="sum(x)"))
visits = query("visits", timed("a").group_by(session_window("ts", "3 seconds"), "k")
               .agg(n="count(*)"))
totals = query("totals", timed("a").group_by("k").agg(n="count(*)", total="sum(x)"), "update")
pairs = query("pairs", timed("a").join(
    timed("b").select(bk="k", bts="ts"),
    on="k = bk AND bts BETWEEN ts AND ts + INTERVAL 2 SECONDS", how="left"))
"""


@pytest.fixture
def feeds(project):
    """Two feeds of seven files, with late rows and a bad line in each."""
    project.declare(QUERIES)
    numbers = count()
    for feed in "ab":
        (project.landing / feed).mkdir(parents=True)
        for number in range(7):
            times = [number * 8 + n for n in (0, 1, 3, 5)] + [max(0, number * 8 - 40)]
            rows = [
                {
                    "ts": f"1970-01-01T00:01:{ts:02d}Z" if ts < 60 else None,
                    "k": "ab"[n % 2],
                    "x": 0.1 * n,
                }
                for n, ts in enumerate(times)
            ]
            text = "".join(f"{json.dumps(row)}\n" for row in rows) + f"{{bad {next(numbers)}\n"
            (project.landing / feed / f"{number}.json").write_text(text)
    return project


@pytest.mark.parametrize("name", ["counted", "pairs"])
def test_killed_everywhere_tables_quarantine_and_late_rows_are_as_undisturbed(feeds, name):
    points = CRASH_POINTS if name == "counted" else ("after_write", "after_late_commit")
    done = feeds(
        "prove", name, "--kills", "1", "--seed", "5", "--json", *(f"--at={p}" for p in points)
    )
    proof = json.loads(done.stdout)
    assert proof["passed"], (done.stdout, done.stderr)
    assert proof["rows"] > 0
    assert proof["late"] > 0
    assert proof["quarantined"] == (7 if name == "counted" else 14)
    assert {kill["verdict"] for kill in proof["kills"]} == {"identical"}
    assert {kill["late"] for kill in proof["kills"]} == {proof["late"]}
    assert all(kill["killed"] for kill in proof["kills"][:-1])


@pytest.mark.parametrize("name", ["counted", "visits", "totals", "pairs"])
def test_verify_says_how_and_shows_what_differs(feeds, name):
    assert feeds("run", name).exit_code == 0
    done = feeds("verify", name)
    assert done.exit_code == 0, done.stdout
    assert "identical" in done.stdout
    said = " ".join(done.stdout.split())
    assert ("recomputed batch by batch" if name == "visits" else "recomputed in one pass") in said
    DeltaTable(feeds.query(name).settings.tables_uri(name)).delete("k = 'a'")
    done = feeds("verify", name)
    assert done.exit_code == 1
    assert "only in the full reprocess" in done.stdout
