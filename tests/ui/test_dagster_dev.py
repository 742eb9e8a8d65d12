"""`dagster dev`, as a user meets it: files come, tables grow, pages show it. No clicks."""

import re

import pytest

from tests.support.dagster_dev import write_web_logs
from tests.support.tools import require

ASSET = "web_logs_bronze"
WINDOWED = "page_views_5m"


@pytest.fixture(scope="module")
def filled(dagster_dev):
    """The running project after two files, dropped one after the other."""
    reasons = dagster_dev.until(
        # A tick that is being evaluated has no reason yet.
        lambda: [
            tick["skipReason"]
            for tick in dagster_dev.ticks(f"{ASSET}_sensor")
            if tick["skipReason"]
        ],
        60,
        "a tick on an empty clone",
    )
    assert re.search(r"landing directory landing/web_logs/? does not exist yet", reasons[0])
    for number in range(2):
        first = number * 1000
        write_web_logs(
            dagster_dev.root, f"12{number:02d}-001.json", range(first, first + 200), bad=number
        )
        dagster_dev.until(
            lambda count=number + 1: len(dagster_dev.materializations(ASSET)) >= count,
            90,
            f"file {number} to be in the table",
        )
    return dagster_dev


def test_dropped_files_are_in_the_table_once_and_proved(filled):
    newest, *_ = found = filled.materializations(ASSET)
    assert newest["dagster/row_count"] == 400
    assert sum(item["rows"] for item in found) == 401
    assert sum(item["quarantined_rows"] for item in found) == 1
    filled.until(lambda: filled.check(ASSET) == "SUCCEEDED", 30, "the check to pass")


def test_after_that_ticks_say_that_nothing_is_new(filled):
    def quiet():
        reason = filled.ticks(f"{ASSET}_sensor")[0]["skipReason"] or ""
        return re.fullmatch(r"0 new of 2 files; last batch 1 at \d\d:\d\d", reason)

    filled.until(quiet, 60, "a tick with nothing new")


@pytest.fixture(scope="module")
def windowed(filled):
    """The same files, counted in windows by a sensor of its own; its newest materialization."""

    def both_files():
        found = filled.materializations(WINDOWED)
        return found if sum(item.get("rows", 0) for item in found) >= 401 else None

    return filled.until(both_files, 180, "both files to be in windows")[0]


def test_windows_close_without_a_click_and_the_page_says_which_is_next(windowed, filled):
    # Rows of 12:00 to 12:03, and of 12:16 to 12:19; the watermark is ten minutes behind.
    assert windowed["summary"].endswith(
        "window 12:15 closes at event time 12:30; the watermark is 12:09:59"
    )
    assert windowed["dagster/row_count"] > 0
    filled.until(lambda: filled.check(WINDOWED) == "SUCCEEDED", 30, "the check to pass")


@pytest.fixture(scope="module")
def page():
    """A page of headless Chromium that reaches nothing but this machine."""
    chromium = require("chromium")
    from playwright.sync_api import sync_playwright

    flags = (
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    )
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=str(chromium), headless=True, args=list(flags)
        )
        page = browser.new_page(viewport={"width": 1600, "height": 2600})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def test_the_asset_page_shows_the_table_its_costs_and_the_passed_check(filled, page, tmp_path):
    page.goto(f"{filled.url}/assets/{ASSET}")
    for text in (
        "Web requests exactly as they were logged",
        "rows_per_second",
        "times fewer",
        "Operating system and version",
        "delta_version",
    ):
        page.get_by_text(text).first.wait_for()
    page.screenshot(path=tmp_path / "overview.png")
    page.goto(f"{filled.url}/assets/{ASSET}?view=checks")
    page.get_by_text("incremental_equals_full").first.wait_for()
    page.get_by_text("Passed").first.wait_for()
    page.screenshot(path=tmp_path / "checks.png")


def test_the_batches_are_plotted(filled, page, tmp_path):
    page.goto(f"{filled.url}/assets/{ASSET}")
    page.get_by_text("Plots", exact=True).first.click()
    page.locator("canvas").first.wait_for()
    page.get_by_text("rows_per_second").first.wait_for()
    page.screenshot(path=tmp_path / "plots.png")


def test_the_page_of_a_windowed_asset_shows_its_event_time(windowed, filled, page, tmp_path):
    del windowed
    page.goto(f"{filled.url}/assets/{WINDOWED}")
    for text in (
        "Views of each page per five minutes",
        "waiting_for",
        "window 12:15 closes at event time 12:30",
        "watermark_lag_seconds",
        "groups_emitted",
        "state_rows",
    ):
        page.get_by_text(text).first.wait_for()
    page.screenshot(path=tmp_path / "windowed.png")
