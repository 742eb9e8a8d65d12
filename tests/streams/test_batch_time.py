from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest

from orchestration.errors import ExpressionError
from orchestration.streams.expressions import (
    bind_batch_timestamp,
    check_expression,
    uses_batch_timestamp,
)

MOMENT = datetime(2026, 3, 4, 23, 6, 7, 89, tzinfo=UTC)
STAMP = "CAST('2026-03-04 23:06:07.000089+00:00' AS TIMESTAMPTZ)"
DAY = "CAST('2026-03-04' AS DATE)"
NAIVE = "CAST('2026-03-04 23:06:07.000089' AS TIMESTAMP)"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("now()", STAMP),
        ("NOW( )", STAMP),
        ('"now"()', STAMP),
        ("current_timestamp", STAMP),
        ("Current_Timestamp", STAMP),
        ("get_current_timestamp()", STAMP),
        ("transaction_timestamp()", STAMP),
        ("current_date", DAY),
        ("current_date()", DAY),
        ("today()", DAY),
        ("localtimestamp", NAIVE),
        ("current_localtimestamp()", NAIVE),
        ("now()::DATE", f"{STAMP}::DATE"),
        ("-- why\nts > now() -- really", f"ts > {STAMP}"),
        (
            "ts  BETWEEN now( /* - */ ) - INTERVAL 1 DAY AND current_timestamp",
            f"ts  BETWEEN {STAMP} - INTERVAL 1 DAY AND {STAMP}",
        ),
        ("page = 'now()' AND now() > ts", f"page = 'now()' AND {STAMP} > ts"),
        ("CASE WHEN today() > d THEN now() END", f"CASE WHEN {DAY} > d THEN {STAMP} END"),
        ("date_diff('day', d, current_date)", f"date_diff('day', d, {DAY})"),
        ("list_transform(xs, lambda x: x < now())", f"list_transform(xs, lambda x: x < {STAMP})"),
    ],
)
def test_only_the_call_is_replaced(expression, expected):
    assert uses_batch_timestamp(expression)
    assert bind_batch_timestamp(expression, MOMENT) == expected
    assert not uses_batch_timestamp(expected)


@pytest.mark.parametrize(
    "expression",
    [
        "amount  >=  0  -- as it is",
        "'now()' = page",
        "now = 1",
        "device.now",
        '"current_date" > 1',
        "device.current_date",
        "{'current_date': 1}",
        "/* now() */ amount",
        "now_or_never() > 1",
        "$$now()$$",
    ],
)
def test_everything_else_stays_as_it_was_written(expression):
    assert not uses_batch_timestamp(expression)
    assert bind_batch_timestamp(expression, MOMENT) == expression


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("now()", "TIMESTAMP WITH TIME ZONE"),
        ("current_timestamp", "TIMESTAMP WITH TIME ZONE"),
        ("transaction_timestamp()", "TIMESTAMP WITH TIME ZONE"),
        ("get_current_timestamp()", "TIMESTAMP WITH TIME ZONE"),
        ("current_date", "DATE"),
        ("today()", "DATE"),
        ("localtimestamp", "TIMESTAMP"),
        ("current_localtimestamp()", "TIMESTAMP"),
    ],
)
def test_the_constant_has_the_type_that_duckdb_gives_the_call(expression, kind):
    bound = bind_batch_timestamp(expression, MOMENT)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        types = connection.sql(f"SELECT {expression} AS a, {bound} AS b").types
        assert [str(item) for item in types] == [kind, kind]
        value = connection.sql(f"SELECT CAST({bound} AS VARCHAR)").fetchall()[0][0]
    assert value.startswith("2026-03-04")
    assert kind == "DATE" or "23:06:07.000089" in value


def test_the_timestamp_is_taken_in_utc():
    zone = timezone(timedelta(hours=5))
    assert bind_batch_timestamp("current_date", MOMENT.astimezone(zone)) == DAY


def test_a_naive_timestamp_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        bind_batch_timestamp("now()", MOMENT.replace(tzinfo=None))


def test_early_years_are_written_with_four_digits():
    bound = bind_batch_timestamp("today()", datetime(33, 4, 3, tzinfo=UTC))
    assert bound == "CAST('0033-04-03' AS DATE)"


@pytest.mark.parametrize("expression", ["{current_date: 1}", "lambda_(lambda current_date: 1)"])
def test_where_no_constant_can_stand_it_is_refused_at_declaration(expression):
    with pytest.raises(ExpressionError):
        check_expression(expression, None)
