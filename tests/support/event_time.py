"""Small stateful queries over rows in memory, and what their batches say."""

import contextlib
from datetime import UTC, datetime

from orchestration import stream
from orchestration.streams.windows import window
from orchestration.testing import MemoryStream, SimulatedCrash, StreamTest

SCHEMA = {"ts": "TIMESTAMPTZ", "k": "VARCHAR", "v": "BIGINT"}


def source(name="memory", **options):
    return MemoryStream(SCHEMA, name=name, **options)


def add(src, *times, k="a", v=1):
    src.add([{"ts": ts, "k": k, "v": v} for ts in times])


def counts(src, delay="10 seconds", **watermark):
    """Counts per five seconds: the query of most cases of semantics §9."""
    rows = stream(src).with_watermark("ts", delay, **watermark)
    return rows.group_by(window("ts", "5 seconds")).agg(n="count(*)")


def totals(src):
    """Running totals per key, without a watermark."""
    return stream(src).group_by("k").agg(n="count(*)", total="sum(v)")


def distinct(src):
    return stream(src).with_watermark("ts", "10 seconds").drop_duplicates("k", "ts")


def seconds(moment):
    return moment.timestamp()


def windows(rows):
    """Start in seconds and count of each row."""
    return sorted((seconds(row["window_start"]), row["n"]) for row in rows)


def said(batches):
    """Per batch: windows given, watermark, late rows, state rows."""
    return [(windows(b.rows), b.watermark, b.late_rows, b.state_rows) for b in batches]


def at(value):
    return datetime.fromtimestamp(value, UTC)


def die(test, point):
    """Drain until ``point`` and die there; true when it was reached."""
    test.crash_at(point)
    with contextlib.suppress(SimulatedCrash):
        test.drain()
        test.restart()
        return False
    test.restart()
    return True


def settled(test):
    """Sink and late table as they are in the end."""
    late = [{k: v for k, v in row.items() if k != "late_at"} for row in test.late()]
    return sorted(map(repr, test.table())), sorted(map(repr, late))


__all__ = [
    "SCHEMA",
    "StreamTest",
    "add",
    "at",
    "counts",
    "die",
    "distinct",
    "said",
    "seconds",
    "settled",
    "source",
    "totals",
    "windows",
]
