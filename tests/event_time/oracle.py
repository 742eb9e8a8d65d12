"""What a stream must end with, computed from its rows and the batches they fell into, engine apart.

Each oracle takes the batches as they were planned — rows, the watermark they close by, the one
they drop late rows by — and gives the sink's table and the ids of late rows (once for every window
a row was late for). Times are microseconds. Rows are mappings; each has an ``id``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome", "Planned", "distinct", "joined", "sessions", "watermarks", "windows"]

Row = Mapping[str, Any]
SECOND = 1_000_000


@dataclass(frozen=True)
class Planned:
    """A batch: its rows by source, and its two watermarks in microseconds."""

    rows: Mapping[str, Sequence[Row]]
    watermark: int
    late: int


@dataclass(frozen=True)
class Outcome:
    """Rows of the sink as tuples, and ids of the late rows."""

    table: list[tuple[Any, ...]]
    late: list[int]


def watermarks(batches, inputs: Mapping[str, tuple[str, int]], policy) -> list[tuple[int, int]]:
    """The watermark and the late watermark of each batch, from the rows of those before it.

    Args:
        batches: The batches.
        inputs: Source to its event-time column and delay.
        policy: ``min`` or ``max``.
    """
    latest: dict[str, int | None] = dict.fromkeys(inputs)
    current, before, found = 0, 0, []
    for batch in batches:
        found.append((current, before))
        for name, (column, _) in inputs.items():
            times = [row[column] for row in batch.rows.get(name, ()) if row[column] is not None]
            latest[name] = max(
                [*times, *([] if latest[name] is None else [latest[name]])], default=None
            )
        reached = [
            0 if latest[name] is None else latest[name] // 1000 * 1000 - delay
            for name, (_, delay) in inputs.items()
        ]
        before, current = current, max(current, (min if policy == "min" else max)(reached))
    return found


def windows(batches, *, length, slide, keys, mode, aggregate) -> Outcome:
    """Groups of windows and keys; a row as ``(start, *keys, *aggregate(rows))``."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    late = []
    for batch in batches:
        for row in _all(batch):
            for start in _starts(row["ts"], length, slide):
                if mode != "complete" and start + length <= batch.late:
                    late.append(row["id"])
                else:
                    groups[(start, *(row[key] for key in keys))].append(row)
    closed = batches[-1].watermark if batches else 0
    return Outcome(
        [
            (*group, *aggregate(rows))
            for group, rows in groups.items()
            if mode != "append" or group[0] + length <= closed
        ],
        late,
    )


def sessions(batches, *, gap, keys, mode, aggregate) -> Outcome:
    """Sessions per key; a row as ``(start, end, *keys, *aggregate(rows))``.

    A session that has come out is gone: a later row that would have touched it starts anew.
    """
    open_: dict[tuple[Any, ...], list[tuple[int, int, list[Row]]]] = defaultdict(list)
    out, late = [], []
    for batch in batches:
        for row in _all(batch):
            if row["ts"] is None:
                continue
            if row["ts"] + gap <= batch.late:
                late.append(row["id"])
                continue
            start, end, rows = row["ts"], row["ts"] + gap, [row]
            apart = []
            for other in open_[tuple(row[key] for key in keys)]:
                if other[0] <= end and start <= other[1]:
                    start, end, rows = min(start, other[0]), max(end, other[1]), rows + other[2]
                else:
                    apart.append(other)
            open_[tuple(row[key] for key in keys)] = [*apart, (start, end, rows)]
        if mode == "append":
            for group, found in open_.items():
                out += [(s, e, *group, *aggregate(r)) for s, e, r in found if e <= batch.watermark]
                open_[group] = [one for one in found if one[1] > batch.watermark]
    if mode == "complete":
        out = [(s, e, *group, *aggregate(r)) for group, found in open_.items() for s, e, r in found]
    return Outcome(out, late)


def distinct(batches, *, keys, within=None) -> Outcome:
    """First rows of their keys, as ids; ``within`` is the delay of the other kind."""
    seen: dict[tuple[Any, ...], int | None] = {}
    out, late = [], []
    for batch in batches:
        for row in _all(batch):
            if row["ts"] is not None and row["ts"] <= batch.late:
                late.append(row["id"])
                continue
            key = tuple(row[name] for name in keys)
            if key not in seen:
                seen[key] = None if within is None else row["ts"] + within
                out.append((row["id"],))
        seen = {k: end for k, end in seen.items() if end is None or end > batch.watermark}
    return Outcome(out, late)


def joined(
    batches,
    *,
    how,
    matches: Callable[[Row, Row], bool],
    late_at: Callable[[str, Row], int | None],
    leaves: Callable[[str, Row, int], bool],
) -> Outcome:
    """Pairs of ids, ``None`` for no partner; ``how`` as for a join of streams.

    No row that has left could have met one that is still accepted, so the pairs are those of all
    accepted rows; a row without a partner is there once it has left.

    Args:
        batches: The batches.
        how: ``inner``, ``left``, ``right``, ``full``, ``semi``.
        matches: Whether two rows belong together.
        late_at: A row is late when the late watermark has reached this; ``None``: never.
        leaves: Whether a row of a side has left the state at a watermark.
    """
    kept: dict[str, list[Row]] = {"left": [], "right": []}
    late = []
    for batch in batches:
        for side, rows in kept.items():
            for row in batch.rows.get(side, ()):
                at = late_at(side, row)
                if at is not None and at <= batch.late:
                    late.append(row["id"])
                else:
                    rows.append(row)
    closed = batches[-1].watermark if batches else 0
    pairs = [(l["id"], r["id"]) for l in kept["left"] for r in kept["right"] if matches(l, r)]  # noqa: E741
    met = ({pair[0] for pair in pairs}, {pair[1] for pair in pairs})
    if how == "semi":
        return Outcome([(one,) for one in sorted(met[0])], late)
    alone = [
        (row["id"], None)
        for row in kept["left"]
        if how in {"left", "full"} and row["id"] not in met[0] and leaves("left", row, closed)
    ] + [
        (None, row["id"])
        for row in kept["right"]
        if how in {"right", "full"} and row["id"] not in met[1] and leaves("right", row, closed)
    ]
    return Outcome(pairs + alone, late)


def _all(batch: Planned) -> list[Row]:
    return [row for rows in batch.rows.values() for row in rows]


def _starts(ts: int | None, length: int, slide: int) -> list[int]:
    if ts is None:
        return []
    last = ts // slide * slide
    return list(range(last, ts - length, -slide))
