"""Whatever is written as an expression, the answer is yes or an ExpressionError."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestration.errors import ExpressionError
from orchestration.streams.builder import stream
from orchestration.streams.expressions import (
    bind_batch_timestamp,
    check_condition,
    check_expression,
    columns_used,
    uses_batch_timestamp,
)

PIECES = [
    *("amount", "page", "device", "tags", "x", "now", "sum", "current_date", "order", "größe"),
    *("(", ")", "[", "]", "{", "}", ",", ".", ":", "::", ";", "?", "$1", "#1", "*", "->", "->>"),
    *("=", ">", "+", "-", "/", "||", "@", "~", "!", "^", "%", ":=", "=>", "\\", "`", "&"),
    *("AND", "OR", "NOT", "IS NULL", "IN", "LIKE", "BETWEEN", "CASE", "WHEN", "THEN", "END"),
    *("SELECT", "FROM", "WHERE", "AS", "OVER", "FILTER", "EXISTS", "CAST", "DISTINCT", "ORDER BY"),
    *("lambda", "FOR", "EXCLUDE", "COLUMNS", "INTERVAL", "DATE", "STRUCT", "MAP", "UNION", "ALL"),
    *("'text'", '"quoted"', "'", '"', "$$", "--", "/*", "*/", "1", "1.5", "1e9", "0x1F", "\n"),
    *("now()", "random()", "sum(amount)", "list_transform(tags, lambda t: t)", "EXTRACT(hour FROM"),
]
pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map(" ".join)
anything = st.one_of(pieces, st.text(max_size=40), st.text("()[]{}'\"-/*.,:;$ax1 \n", max_size=30))
relaxed = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def answers(function, *arguments, **named):
    remedy = None
    try:
        function(*arguments, **named)
    except ExpressionError as error:
        remedy = error.remedy
    assert remedy != ""
    return remedy is None


@relaxed
@given(anything)
@example("\x00")
@example("\ud800")
@example("(" * 5000)
@example("[" * 5000)
@example("NOT " * 5000 + "ok")
@example("-" * 5001 + "1")
@example("CASE WHEN " * 2000)
@example("amount." * 3000 + "x")
@example("f(" * 2000 + ")" * 2000)
def test_every_text_gets_an_answer(columns, clicks, text):
    known = answers(check_condition, text, columns)
    assert answers(check_expression, text, None) or not known
    answers(columns_used, text)
    answers(uses_batch_timestamp, text)
    answers(stream(clicks).select, text)
    answers(stream(clicks).select, x=text)
    if known:  # what a declaration has taken can be bound when a batch runs
        assert not uses_batch_timestamp(bind_batch_timestamp(text, MOMENT))


@relaxed
@given(pieces)
@example("INTERVAL amount")
def test_what_is_taken_is_one_expression_inside_parentheses(columns, text):
    made = answers(check_expression, text, columns)
    if made:
        assert answers(check_expression, f"(({text}\n))", columns)


@pytest.mark.slow
@settings(relaxed, max_examples=20_000)
@given(anything)
def test_every_text_gets_an_answer_at_length(columns, text):
    answers(check_condition, text, columns)
