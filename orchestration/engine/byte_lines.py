"""Lines of bytes by the places where they start, and those among them that nobody may read."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestration.engine.line_chunks import HEAD_BYTES
from orchestration.engine.quarantine import BadRecord, bad_line

__all__ = ["line_offsets", "raw_line", "unfit_lines"]

Ints = np.ndarray[Any, np.dtype[np.int64]]


def line_offsets(data: bytes, size: int) -> Ints:
    """Where each line starts, and the end; newlines belong to the line before them.

    Args:
        data: The lines, and perhaps more behind them.
        size: Bytes that count.
    """
    ends = np.flatnonzero(np.frombuffer(data, np.uint8, size) == ord("\n")) + 1
    offsets = np.concatenate(([0], ends))
    return offsets if offsets[-1] == size else np.append(offsets, size)


def raw_line(data: bytes, offsets: Ints, place: int) -> bytes:
    """A line without its end; places count from 0."""
    raw = data[offsets[place] : offsets[place + 1]]
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def unfit_lines(data: bytes, offsets: Ints, limit: int) -> list[BadRecord]:
    """Lines that are longer than the limit or no text, in order, numbered from 1."""
    places = range(len(offsets) - 1)
    found = set(np.flatnonzero(np.diff(offsets) > limit).tolist())
    found = {place for place in found if len(raw_line(data, offsets, place)) > limit}
    if not data.isascii() and not _is_text(data[: offsets[-1]]):
        found |= {place for place in places if not _is_text(raw_line(data, offsets, place))}
    return [_set_aside(place + 1, raw_line(data, offsets, place), limit) for place in sorted(found)]


def _set_aside(line: int, raw: bytes, limit: int) -> BadRecord:
    if len(raw) > limit:
        reason = f"a line of {len(raw):,} bytes; at most {limit:,} are read"
        return bad_line(line, reason, raw, keep=HEAD_BYTES)
    return bad_line(line, "the bytes are not valid UTF-8", raw)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
