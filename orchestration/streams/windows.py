"""``window``, ``session_window`` and ``window_time``: grouping keys that are stretches of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.errors import DeclarationError, ExpressionError
from orchestration.streams.durations import parse_duration
from orchestration.streams.expressions import check_expression
from orchestration.streams.operators import SessionKey, WindowKey
from orchestration.streams.parsing import parse_expression
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.scope import Scope, check_time

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = [
    "SessionWindow",
    "Window",
    "WindowTime",
    "duration_text",
    "duration_us",
    "session_window",
    "window",
    "window_time",
]


@dataclass(frozen=True, slots=True)
class WindowTime:
    """The moment a window stands for: its end, less a microsecond. See :func:`window_time`."""

    def __repr__(self) -> str:
        return "window_time()"


@dataclass(frozen=True, slots=True)
class Window:
    """Windows of one length as a grouping key. Made by :func:`window`.

    Attributes:
        time: Event time, a column or an expression, or :func:`window_time`.
        length_us, slide_us, offset_us: Microseconds.
    """

    time: str | WindowTime
    length_us: int
    slide_us: int
    offset_us: int

    def resolve(self, scope: Scope, place: str = "window") -> WindowKey:
        """The key over the columns there are.

        Raises:
            ExpressionError: There is no such column, or no window before it.
        """
        text = _time(self.time, scope, place)
        return WindowKey(text, self.length_us, self.slide_us, self.offset_us)

    def __repr__(self) -> str:
        more = (
            f", slide={duration_text(self.slide_us)!r}" if self.slide_us != self.length_us else ""
        )
        more += f", offset={duration_text(self.offset_us)!r}" if self.offset_us else ""
        return f"window({self.time!r}, {duration_text(self.length_us)!r}{more})"


@dataclass(frozen=True, slots=True)
class SessionWindow:
    """Sessions as a grouping key. Made by :func:`session_window`.

    Attributes:
        time: As :attr:`Window.time`.
        gap: SQL of type INTERVAL.
    """

    time: str | WindowTime
    gap: str

    def resolve(self, scope: Scope, place: str = "session_window") -> SessionKey:
        """The key over the columns there are.

        Raises:
            ExpressionError: There is no such column, or no window before it.
        """
        check_expression(self.gap, scope.columns, place=f"{place}(gap=")
        return SessionKey(_time(self.time, scope, place), parse_expression(self.gap).text)

    def __repr__(self) -> str:
        return f"session_window({self.time!r}, {self.gap!r})"


def window(
    column: str | WindowTime,
    length: str | timedelta,
    slide: str | timedelta | None = None,
    offset: str | timedelta | None = None,
) -> Window:
    """Windows ``[start, start + length)`` as a grouping key: ``window_start``, ``window_end``.

    Example::

        clicks.group_by(window("ts", "5 minutes"), "page").agg(views="count(*)")

    Windows count from 1970-01-01 00:00 UTC: a week starts on Thursday, and with
    ``offset="4 days"`` on Monday. A null time is in no window.

    Args:
        column: Event time: a column, an expression, or :func:`window_time` for windows of windows.
        length: E.g. ``"5 minutes"``; not months, which have no fixed length.
        slide: A window starts every so often; with less than ``length`` a row is in several.
        offset: By how much starts are moved; shorter than the slide. May begin with ``-``.

    Raises:
        DeclarationError: The lengths make no sense.
    """
    length_us = duration_us("window", "length", length)
    slide_us = length_us if slide is None else duration_us("window", "slide", slide)
    offset_us = 0 if offset is None else _offset(offset)
    if slide_us > length_us:
        raise DeclarationError(
            f"window(..., slide={slide!r}): longer than the window ({length!r}), so that rows "
            "between two windows would be in none",
            remedy="make the slide no longer than the window; to leave rows out use where",
        )
    if abs(offset_us) >= slide_us:
        raise DeclarationError(
            f"window(..., offset={offset!r}): the windows repeat every {duration_text(slide_us)}, so the "
            "offset has to be shorter than that",
            remedy=f"write the remainder: {duration_text(abs(offset_us) % slide_us)!r}",
        )
    return Window(_checked_time("window", column), length_us, slide_us, offset_us)


def session_window(column: str | WindowTime, gap: str | timedelta) -> SessionWindow:
    """Sessions as a grouping key: rows of one key no further apart than a gap.

    Example::

        clicks.group_by(session_window("ts", "30 minutes"), "user_id").agg(clicks="count(*)")
        clicks.group_by(session_window("ts", "to_seconds(timeout)"), "user_id").agg(n="count(*)")

    Gives ``window_start``, the first row's time, and ``window_end``, the last one's plus its gap.

    Args:
        column: As in :func:`window`.
        gap: A length of time, or an SQL expression of type INTERVAL over the row. A row whose gap
            is not positive is in no session.

    Raises:
        DeclarationError: The gap makes no sense.
    """
    time = _checked_time("session_window", column)
    if isinstance(gap, str) and not re.match(r"\s*[+-]?[\d.]", gap) and gap.strip():
        check_expression(gap, None, place="session_window(gap=")
        return SessionWindow(time, gap)
    gap_us = duration_us("session_window", "gap", gap)
    return SessionWindow(time, f"INTERVAL {gap_us} MICROSECONDS")


def window_time() -> WindowTime:
    """The moment that a window before it stands for, to make windows of windows.

    Example::

        per_second = clicks.group_by(window("ts", "1 second"), "page").agg(n="count(*)")
        per_second.group_by(window(window_time(), "1 minute"), "page").agg(most="max(n)")
    """
    return WindowTime()


def duration_us(verb: str, argument: str, value: object, *, zero: bool = False) -> int:
    """A length of time in microseconds.

    Args:
        verb, argument: Where it stands, for messages.
        value: Text or ``timedelta``.
        zero: Whether none at all is a length.

    Raises:
        DeclarationError: It is not a length of time, or not a positive one.
    """
    from datetime import timedelta

    try:
        length = value if isinstance(value, timedelta) else parse_duration(value)
    except DeclarationError as error:
        raise DeclarationError(
            f"{verb}(..., {argument}={value!r}): {error.args[0]}", remedy=error.remedy
        ) from None
    micros = length // timedelta(microseconds=1)
    if micros < 0 or (micros == 0 and not zero):
        raise DeclarationError(
            f"{verb}(..., {argument}={value!r}): a length of time is "
            f"{'not negative' if zero else 'more than nothing'}",
            remedy='write e.g. "5 minutes"',
        )
    return micros


def _offset(value: object) -> int:
    from datetime import timedelta

    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, str) and value.strip().startswith("-"):
        return -duration_us("window", "offset", value.strip()[1:], zero=True)
    return duration_us("window", "offset", value, zero=True)


def _checked_time(verb: str, column: object) -> str | WindowTime:
    if isinstance(column, WindowTime):
        return column
    if not isinstance(column, str) or not column.strip():
        raise DeclarationError(
            f"{verb}({column!r}, ...): the first argument is event time, a column",
            remedy=f'write e.g. {verb}("ts", "5 minutes")',
        )
    return column


def _time(time: str | WindowTime, scope: Scope, place: str) -> str:
    """SQL of event time."""
    if isinstance(time, WindowTime):
        end = scope.window_end
        if end is None:
            raise ExpressionError(
                f"{place}(window_time(), ...): there is no window before it",
                remedy='group by a window first, and keep "window_end"; for a column of time '
                f'write {place}("ts", ...)',
            )
        return f"{quote_identifier(end.name)} - INTERVAL 1 MICROSECOND"
    if scope.columns is not None and time in scope.columns:
        name = next(item for item in scope.columns if item.lower() == time.lower())
        text = quote_identifier(name)
    else:
        check_expression(time, scope.columns, place=place)
        text = parse_expression(time, place).text
    check_time(text, scope, place)
    return text


def duration_text(micros: int) -> str:
    """A length of time as a user writes it.

    >>> duration_text(5_400_000_000)
    '1 hour 30 minutes'
    """
    units = (
        ("day", 86_400_000_000),
        ("hour", 3_600_000_000),
        ("minute", 60_000_000),
        ("second", 1_000_000),
        ("millisecond", 1_000),
        ("microsecond", 1),
    )
    sign, rest, parts = ("-" if micros < 0 else ""), abs(micros), []
    for name, size in units:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return sign + (" ".join(parts) or "0 seconds")
