"""The examples in assets/, on files as the demo writes them: right, and equal to their twins."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orchestration.cli.shop_changes import CHANGE_LANDINGS, write_change_files
from orchestration.cli.shop_events import FIRST_HOUR, LANDINGS, write_shop_files
from orchestration.cli.web_logs import write_log_files
from orchestration.runtime.contents import table_rows
from orchestration.runtime.declared import choose, find_queries

HOURS = range(4)
ORDERS = 60


@pytest.fixture
def run(project):
    """Runs an example, as often as it is called, and gives its table; the twin has to agree."""
    landing = project.root / "landing"
    found = find_queries("assets")

    def once_more(name, *, until=None):
        query = choose(found, name, "assets")
        query.run()
        if until is not None:
            query.flush(until)
        query.reprocess()
        assert query.verify().outcome == "identical"
        return table_rows(query.settings.tables_uri(query.sink.table))

    once_more.landing = landing
    return once_more


@pytest.mark.parametrize(
    "name",
    [
        "ad_clicks",
        "customer_totals",
        "page_views_5m",
        "payments_once",
        "shop_customers",
        "shop_customers_history",
        "shop_orders",
        "shop_orders_history",
        "top_pages",
        "visits",
    ],
)
def test_an_example_without_data_is_an_empty_table_and_equals_its_twin(run, name):
    assert run(name) == []


def test_shop_files_are_always_the_same(tmp_path):
    counts = {write_shop_files(tmp_path / name, HOURS, ORDERS) for name in ("one", "two")}
    assert len(counts) == 1
    for place in LANDINGS:
        files = sorted((tmp_path / "one" / place).iterdir())
        assert len(files) == len(HOURS)
        for file in files:
            other = tmp_path / "two" / place / file.name
            assert file.read_bytes() == other.read_bytes()
            assert file.stat().st_mtime == other.stat().st_mtime


def test_totals_are_those_of_all_orders_whenever_they_came(run):
    for hour in HOURS:
        written = write_shop_files(run.landing, range(hour, hour + 1), ORDERS)
        rows = run("customer_totals")
    assert written.orders == ORDERS
    assert sum(row["orders"] for row in rows) == ORDERS * len(HOURS)
    assert len({row["customer_id"] for row in rows}) == len(rows)
    assert sum(row["revenue"] for row in rows) > Decimal(0)


def test_every_payment_is_there_once_though_copies_come_an_hour_later(run):
    deliveries = 0
    for hour in HOURS:
        deliveries += write_shop_files(run.landing, range(hour, hour + 1), ORDERS).deliveries
        rows = run("payments_once")
    assert deliveries > len(rows) == ORDERS * len(HOURS)
    assert max(Counter(row["payment_id"] for row in rows).values()) == 1


def test_every_impression_is_given_once_with_its_click_or_without(run):
    shown = sum(
        write_shop_files(run.landing, range(hour, hour + 1), ORDERS).impressions for hour in HOURS
    )
    open_ = run("ad_clicks")
    assert 0 < len(open_) < shown
    rows = run("ad_clicks", until=FIRST_HOUR.replace(hour=12))
    assert len(rows) == len({row["impression_id"] for row in rows}) == shown
    clicked = [row for row in rows if row["click_id"] is not None]
    assert clicked
    assert all(0 <= row["seconds_to_click"] <= 600 for row in clicked)


def test_logs_become_page_views_visits_and_a_top_ten(run):
    end = datetime(2026, 3, 3, tzinfo=UTC)
    written = write_log_files(run.landing / "web_logs", range(6), 300)
    views = run("page_views_5m", until=end)
    lengths = {(row["window_end"] - row["window_start"]).total_seconds() for row in views}
    assert lengths == {300.0}
    assert 0 < sum(row["views"] for row in views) < written.valid
    top = run("top_pages")
    assert len(top) == 10
    assert {row["page"] for row in top} <= {row["page"] for row in views}
    totals = Counter()
    for row in views:
        totals[row["page"]] += row["views"]
    assert sorted(row["views"] for row in top) == sorted(n for _, n in totals.most_common(10))
    visits = run("visits", until=end)
    assert sum(row["requests"] for row in visits) > len(visits)
    assert all(row["seconds"] >= 0 for row in visits)


def test_change_files_are_always_the_same(tmp_path):
    found = [write_change_files(tmp_path / name, range(3), 30, rest=True) for name in "ab"]
    assert found[0] == found[1]
    for place in CHANGE_LANDINGS:
        files = sorted((tmp_path / "a" / place).iterdir())
        assert len(files) == 4
        for file in files:
            assert file.read_bytes() == (tmp_path / "b" / place / file.name).read_bytes()
    # Hour by hour the files are those of all hours at once.
    for hour in range(3):
        write_change_files(tmp_path / "c", range(hour, hour + 1), 30, rest=hour == 2)
    for file in (tmp_path / "a").rglob("*.json"):
        assert file.read_bytes() == (tmp_path / "c" / file.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("table", ["customers", "orders"])
def test_the_copy_is_the_database_and_its_history_has_no_gaps(run, table):
    for hour in HOURS:
        written = write_change_files(
            run.landing, range(hour, hour + 1), ORDERS, rest=hour == HOURS[-1]
        )
        rows = run(f"shop_{table}")
        past = run(f"shop_{table}_history")
    truth = getattr(written, table)
    columns = list(next(iter(truth.values())))
    held = {row["id"]: {name: row[name] for name in columns} for row in rows}
    assert held == {key: _typed(row) for key, row in truth.items()}
    # What holds still is the copy; the intervals of a key neither overlap nor leave a gap.
    now = {row["id"]: {n: row[n] for n in columns} for row in past if row["__end_at"] is None}
    assert now == held
    intervals = sorted((row["id"], row["__start_at"], row["__end_at"]) for row in past
                       if row["__end_at"] is not None)  # fmt: skip
    starts = {(row["id"], row["__start_at"]) for row in past}
    assert len(starts) == len(past) > len(rows)
    gaps = [end for end in intervals if (end[0], end[2]) not in starts]
    assert {key for key, _, _ in gaps}.isdisjoint(held)  # none but of deleted ones


def _typed(row):
    return {
        name: datetime.fromisoformat(value) if name.endswith("_at") else value
        for name, value in row.items()
    }
