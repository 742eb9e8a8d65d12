"""Cutting a backlog into micro-batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration.cursors.records import Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestration.cursors.records import FileEntry
    from orchestration.sources.base import Backlog, Limits

__all__ = ["fitting", "take_files"]


def fitting(
    files: Sequence[FileEntry], limits: Limits, count_rows: Callable[[FileEntry], int]
) -> tuple[int, int]:
    """How many files from the front stay within the limits, one at least, and their bytes.

    Args:
        files: Not empty.
        limits: Of one batch. A file larger than they are is taken alone.
        count_rows: Rows of a file; only asked where ``limits.max_rows`` is set.
    """
    count = size = rows = 0
    for entry in files:
        if limits.max_files is not None and count >= limits.max_files:
            break
        if count and limits.max_bytes is not None and size + entry.size > limits.max_bytes:
            break
        if limits.max_rows is not None:
            more = count_rows(entry)
            if count and rows + more > limits.max_rows:
                break
            rows += more
        size += entry.size
        count += 1
    return count, size


def take_files(
    source: str, backlog: Backlog, limits: Limits, count_rows: Callable[[FileEntry], int]
) -> tuple[Slice, Backlog]:
    """The longest run of files from the front that stays within the limits; at least one.

    Args:
        source: The source's name.
        backlog: Not empty.
        limits: Of one batch. A file larger than they are is taken alone.
        count_rows: Rows of a file; only asked where ``limits.max_rows`` is set.

    Returns:
        The slice, and the backlog without it.
    """
    count, size = fitting(backlog.files, limits, count_rows)
    end = {"files": int(backlog.start["files"]) + count}
    part = Slice(source, backlog.start, end, backlog.files[:count], size, backlog.end)
    rest = backlog.files[count:]
    drained = backlog.drained_listing
    left = replace(
        backlog,
        start=end,
        files=rest,
        bytes=backlog.bytes - size,
        listing=backlog.listing if rest or drained is None else drained,
    )
    return part, left
