"""Sentences about files for people: how many, and the names of the first few."""

from __future__ import annotations

from itertools import groupby, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["about_files", "about_skipped"]

_NAMED = 3  # names in a note; the count tells the rest


def about_files(paths: Collection[str], one: str, many: str, *, total: int | None = None) -> str:
    """``"5 files wait: a.json, b.json, c.json and 2 more"``.

    Args:
        paths: Some or all of them; the smallest are named.
        one: What is said of one file, after "1 file".
        many: What is said of several.
        total: How many there are, where ``paths`` has not all of them.
    """
    count = len(paths) if total is None else total
    named = ", ".join(islice(sorted(paths), _NAMED))
    more = count - min(count, _NAMED, len(paths))
    head = f"1 file {one}" if count == 1 else f"{count:,} files {many}"
    return f"{head}: {named}" + (f" and {more:,} more" if more else "")


def about_skipped(skipped: Collection[tuple[str, str]]) -> Iterator[str]:
    """One note per reason for passing files over."""
    by_reason = sorted(skipped, key=lambda item: item[1])
    for reason, group in groupby(by_reason, key=lambda item: item[1]):
        yield about_files(
            [path for path, _ in group], f"is passed over ({reason})", f"are passed over ({reason})"
        )
