"""Stateful queries over random rows, and what their twin says of them."""

import random

import pyarrow as pa

from orchestration import stream
from orchestration.streams.windows import session_window, window, window_time
from orchestration.testing import MemoryStream, StreamTest

SCHEMA = {"ts": "TIMESTAMPTZ", "k": "VARCHAR", "v": "BIGINT", "x": "DOUBLE"}
AGGREGATES = {
    "n": "count(*)",
    "total": "sum(v)",
    "mean": "avg(x)",
    "spread": "stddev_samp(x)",
    "sketch": "approx_count_distinct(v)",
    "earliest": "first(v)",
    "values": "list(v)",
    "texts": "string_agg(k, '-')",
    "middle": "median(x)",
}


class Twins:
    """A query over random rows in memory.

    Args:
        declare: Makes the stream of its sources.
        sources: How many.
        mode: Output mode.
        options: For :class:`StreamTest`.
    """

    def __init__(self, declare, sources=1, mode="append", **options):
        self.sources = [MemoryStream(SCHEMA, name=f"s{n}") for n in range(sources)]
        self.test = StreamTest(declare(*self.sources), output_mode=mode, **options)
        self.late = 0

    def feed(self, seed, batches=5, rows=25):
        """Batches of rows out of order, some of them late, with duplicates and nulls."""
        chance = random.Random(seed)  # noqa: S311
        for number in range(batches):
            for source in self.sources:
                given = [self._row(chance, number * 12.0) for _ in range(chance.randrange(rows))]
                source.add(given + given[: chance.randrange(3)])
            self.drain()
            if chance.random() < 0.3:
                self.test.restart()
        return self

    def drain(self):
        self.late += sum(batch.late_rows for batch in self.test.drain())

    def _row(self, chance, now):
        behind = chance.choice([0, 3, 8, 30])
        return {
            "ts": None
            if chance.random() < 0.03
            else 1000 + round(now + 12 * chance.random() - behind, 1),
            "k": chance.choice(["a", "b", "c", None]),
            "v": chance.randrange(-5, 5),
            "x": chance.choice([0.1, 0.2, 0.3, -0.3, 1e6, None, chance.random()]),
        }

    def prove(self):
        """The twin, and what the comparison finds."""
        return self.test.query.reprocess(), self.test.query.verify()


def timed(source, delay="10 seconds", **options):
    return stream(source).with_watermark("ts", delay, **options)


def windowed(rows, *keys, **columns):
    return rows.group_by(window("ts", "5 seconds"), *keys).agg(**(columns or AGGREGATES))


def running(key, rows, state):
    """How many rows of a key there were, with each batch that brings some."""
    seen = (state.get() or {"n": 0})["n"] + rows.num_rows
    state.update({"n": seen})
    return pa.table({"k": [key["k"]], "n": [seen]})


def both(left, right, how):
    """Two streams within two seconds."""
    return timed(left).join(
        timed(right).select("k AS rk", "v AS rv", "ts AS rts"),
        on="k = rk AND rts BETWEEN ts AND ts + INTERVAL 2 SECONDS",
        how=how,
    )


__all__ = [
    "AGGREGATES",
    "SCHEMA",
    "Twins",
    "both",
    "running",
    "session_window",
    "stream",
    "timed",
    "window",
    "window_time",
    "windowed",
]
