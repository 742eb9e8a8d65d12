"""When micro-batches run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from orchestration.errors import DeclarationError
from orchestration.streams.durations import parse_duration

__all__ = ["Trigger", "available_now", "once", "parse_trigger", "processing_time"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """When micro-batches run. Made by :func:`once`, :func:`available_now`, :func:`processing_time`.

    Attributes:
        kind: Which of the three.
        interval: Time from the start of one batch to the start of the next.
        max_files, max_bytes, max_rows: Limits of one batch; ``None`` leaves the source's own.
    """

    kind: Literal["once", "available_now", "processing_time"]
    interval: timedelta | None = None
    max_files: int | None = None
    max_bytes: int | None = None
    max_rows: int | None = None

    def __str__(self) -> str:
        if self.interval is None:
            return self.kind
        return f"{self.kind} {self.interval.total_seconds():g} seconds"


def once() -> Trigger:
    """One batch with everything that is there, whatever the limits, in one commit.

    It is read and written as a stream, so memory stays bounded. A batch that a crash left
    unfinished counts as that one.
    """
    return Trigger("once")


def available_now(
    *, max_files: int | None = None, max_bytes: int | None = None, max_rows: int | None = None
) -> Trigger:
    """Batches within the limits until what was there at the start is done, then stop.

    Args:
        max_files: Files a batch, at most.
        max_bytes: Bytes a batch; a single larger file is still taken, alone.
        max_rows: Rows a batch, for sources that know their counts (Parquet).
    """
    return Trigger("available_now", None, *_limits(max_files, max_bytes, max_rows))


def processing_time(
    interval: str,
    *,
    max_files: int | None = None,
    max_bytes: int | None = None,
    max_rows: int | None = None,
) -> Trigger:
    """One batch every ``interval`` for as long as the process lives.

    A batch that takes longer than the interval is followed by the next at once. SIGTERM and
    SIGINT end the query after the batch in hand. Failures that may pass (a store or the cursor
    database does not answer) are outlasted for a quarter of an hour; one at the very start is not.

    Args:
        interval: A duration, e.g. ``"10 seconds"``.
        max_files, max_bytes, max_rows: As for :func:`available_now`.
    """
    every = parse_duration(interval)
    if every <= timedelta(0):
        raise DeclarationError(f"processing_time({interval!r}) is not a positive duration")
    return Trigger("processing_time", every, *_limits(max_files, max_bytes, max_rows))


def parse_trigger(text: str) -> Trigger:
    """A trigger as the command line spells it.

    ``once``, ``available_now``, or ``processing_time=10 seconds``.

    Raises:
        DeclarationError: It is none of these.
    """
    kind, _, interval = text.partition("=")
    if kind == "once" and not interval:
        return once()
    if kind == "available_now" and not interval:
        return available_now()
    if kind == "processing_time" and interval:
        return processing_time(interval)
    raise DeclarationError(
        f"{text!r} is no trigger",
        remedy="use once, available_now, or 'processing_time=10 seconds'",
    )


def _limits(*values: int | None) -> tuple[int | None, ...]:
    for value in values:
        if value is not None and value < 1:
            raise DeclarationError(f"a limit of {value} would let no batch through")
    return values
