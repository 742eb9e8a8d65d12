"""Numbers, sizes, times and hints as people read them."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

__all__ = [
    "at",
    "count",
    "details",
    "duration",
    "nearest",
    "new_console",
    "nothing_new",
    "shorten",
    "size",
    "to_json",
]

_FILE_WIDTH = 160
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def new_console(*, stderr: bool = False) -> Console:
    """A console that leaves what it is told as it is: no markup, no guessed colours."""
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _FILE_WIDTH  # a log or a pipe has no edge to fit in
    return console


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 file``, ``1,204 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: float) -> str:
    """Bytes in powers of ten: ``3.1 MB``."""
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("the last unit takes every number")


def duration(seconds: float) -> str:
    """``340 ms``, ``2.3 s``, ``4 min 10 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def at(moment: datetime | None, now: datetime) -> str:
    """``14:03 UTC`` on the same day, else with the date; ``-`` for never."""
    if moment is None:
        return "-"
    moment = moment.astimezone(UTC)
    same_day = moment.date() == now.astimezone(UTC).date()
    return f"{moment:%H:%M} UTC" if same_day else f"{moment:%Y-%m-%d %H:%M} UTC"


def nothing_new(
    seen: int, last_batch: int | None, last_at: datetime | None, now: datetime, noun: str = "file"
) -> str:
    """``nothing new: 0 of 1,204 files; last batch 17 at 14:03 UTC``."""
    text = f"nothing new: 0 of {count(seen, noun)}"
    return text if last_batch is None else f"{text}; last batch {last_batch} at {at(last_at, now)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that suggests the names most like ``word``; empty where none is."""
    found = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(found)}?" if found else ""


def shorten(text: str, width: int) -> str:
    """The head of a text on one line."""
    line = text.replace("\r", "␍").replace("\n", "␊").replace("\t", " ")
    line = "".join(char if char.isprintable() else "·" for char in line)
    return line if len(line) <= width else line[: width - 1] + "…"


def details(values: Iterable[tuple[str, object]]) -> str:
    """Lines of names and values, the values under each other."""
    rows = [(name, str(value)) for name, value in values]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def to_json(value: object) -> Any:
    """What ``json.dumps`` cannot say by itself, as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
