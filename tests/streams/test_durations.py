from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.errors import DeclarationError
from orchestration.streams.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 seconds", timedelta(seconds=10)),
        ("1 second", timedelta(seconds=1)),
        ("5 minutes", timedelta(minutes=5)),
        ("1 hour 30 minutes", timedelta(minutes=90)),
        ("500 milliseconds", timedelta(milliseconds=500)),
        ("7 microseconds", timedelta(microseconds=7)),
        ("2 weeks", timedelta(weeks=2)),
        ("1 day", timedelta(days=1)),
        ("0 seconds", timedelta(0)),
        ("1.5 hours", timedelta(minutes=90)),
        ("0.1 seconds", timedelta(milliseconds=100)),
        ("10s", timedelta(seconds=10)),
        ("1h30min", timedelta(minutes=90)),
        ("250 ms", timedelta(milliseconds=250)),
        ("  3   DAYS ", timedelta(days=3)),
        ("30 minutes 1 hour", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_exact(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a duration"),
        ("   ", "not a duration"),
        ("10", "not a duration"),
        ("seconds", "not a duration"),
        ("-5 seconds", "not a duration"),
        ("1 hour and 30 minutes", "and 30 minutes"),
        ("1,5 hours", "not a duration"),
        ("1e3 seconds", "'e'"),
        ("1 month", "no fixed length"),
        ("2 years", "no fixed length"),
        ("5 m", "months"),
        ("5 secnds", "did you mean seconds"),
        ("5 parsecs", "not a unit"),
        ("0.0000001 seconds", "finer"),
        ("99999999999 weeks", "too long"),
        ("١ second", "not a duration"),
        (10, "not a duration"),
        (None, "not a duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_examples(text, message):
    with pytest.raises(DeclarationError, match=message) as caught:
        parse_duration(text)
    assert caught.value.remedy


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text):
    with contextlib.suppress(DeclarationError):
        assert parse_duration(text) >= timedelta(0)
