"""For any stream, any split into batches, any restart and crash: what an oracle says, exactly.

The oracle (``oracle.py``) shares nothing with the engine. It is told which rows fell into which
batch, by the plans in the cursor store, and checks the watermarks in them too.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestration.testing import CRASH_POINTS, SimulatedCrash
from tests.event_time import oracle
from tests.event_time.observed import micros
from tests.event_time.oracle import SECOND, Planned
from tests.event_time.run import kit

ONE = {"s": {"id": "BIGINT", "k": "VARCHAR", "ts": "TIMESTAMPTZ", "v": "BIGINT"}}
TWINS = {"a": ONE["s"], "b": ONE["s"]}
TWO = {
    "left": {"id": "BIGINT", "k": "VARCHAR", "ts": "TIMESTAMPTZ"},
    "right": {"id2": "BIGINT", "k2": "VARCHAR", "ts2": "TIMESTAMPTZ"},
}
SAME = {
    "left": {"id": "BIGINT", "k": "VARCHAR", "ts": "TIMESTAMPTZ"},
    "right": {"id2": "BIGINT", "k": "VARCHAR", "ts": "TIMESTAMPTZ"},
}


@dataclass(frozen=True)
class Subject:
    """An operator under test.

    Attributes:
        query: ``(dialect, **streams) -> stream``.
        sources: Their schemas.
        delays: Source to the delay of its watermark, in seconds; left out where it has none.
        columns: Columns of the result that are compared; timestamps in microseconds.
        outcome: The oracle.
        mode, nulls: Output mode; whether times may be null.
        needs_key: Sources whose rows without a key are gone before the watermark is measured: a
            join can do nothing with them (semantics §1.7 and §6).
    """

    query: Any
    sources: dict[str, dict[str, str]]
    delays: dict[str, int]
    columns: tuple[str, ...]
    outcome: Any
    mode: str = "append"
    nulls: bool = True
    needs_key: frozenset[str] = frozenset()


_NEEDS_KEY = {
    "inner": frozenset({"left", "right"}),
    "semi": frozenset({"left", "right"}),
    "left": frozenset({"right"}),
    "right": frozenset({"left"}),
    "full": frozenset[str](),
}

_TOTALS = {"n": "count(*)", "total": "sum(v)", "lo": "min(v)", "hi": "max(v)", "mean": "avg(v)"}


def _totals(rows):
    values = [row["v"] for row in rows if row["v"] is not None]
    if not values:
        return (len(rows), None, None, None, None)
    mean = sum(values) / len(values)
    return (len(rows), sum(values), min(values), max(values), mean)


def _windows(mode, slide=None):
    return Subject(
        lambda h, s: (
            s.with_watermark("ts", "5 seconds")
            .group_by(h.window("ts", "6 seconds", slide=slide and f"{slide} seconds"), "k")
            .agg(**_TOTALS)
        ),
        ONE,
        {"s": 5},
        ("window_start", "k", *_TOTALS),
        lambda batches: oracle.windows(
            batches,
            length=6 * SECOND,
            slide=(slide or 6) * SECOND,
            keys=("k",),
            mode=mode,
            aggregate=_totals,
        ),
        mode,
    )


def _sessions(mode):
    return Subject(
        lambda h, s: (
            s.with_watermark("ts", "5 seconds")
            .group_by(h.session_window("ts", "3 seconds"), "k")
            .agg(**_TOTALS)
        ),
        ONE,
        {"s": 5},
        ("window_start", "window_end", "k", *_TOTALS),
        lambda batches: oracle.sessions(
            batches, gap=3 * SECOND, keys=("k",), mode=mode, aggregate=_totals
        ),
        mode,
    )


def _distinct(*keys):
    return Subject(
        lambda h, s: s.with_watermark("ts", "5 seconds").drop_duplicates(*keys),
        ONE,
        {"s": 5},
        ("id",),
        lambda batches: oracle.distinct(batches, keys=keys),
    )


def _within(*keys):
    return Subject(
        lambda h, s: s.with_watermark("ts", "5 seconds").drop_duplicates_within_watermark(*keys),
        ONE,
        {"s": 5},
        ("id",),
        lambda batches: oracle.distinct(batches, keys=keys, within=5 * SECOND),
        nulls=False,
    )


def _range_join(how):
    def leaves(side, row, watermark):
        time = row["ts"] if side == "left" else row["ts2"]
        return time is not None and time + (4 * SECOND if side == "left" else 0) < watermark

    def matches(left, right):
        if None in (left["k"], right["k2"], left["ts"], right["ts2"]):
            return False
        return left["k"] == right["k2"] and 0 <= right["ts2"] - left["ts"] <= 4 * SECOND

    return Subject(
        lambda h, **s: (
            s["left"]
            .with_watermark("ts", "5 seconds")
            .join(
                s["right"].with_watermark("ts2", "3 seconds"),
                on="k = k2 AND ts2 BETWEEN ts AND ts + INTERVAL 4 SECONDS",
                how=how,
            )
        ),
        TWO,
        {"left": 5, "right": 3},
        ("id",) if how == "semi" else ("id", "id2"),
        lambda batches: oracle.joined(
            batches,
            how=how,
            matches=matches,
            late_at=lambda side, row: row["ts" if side == "left" else "ts2"],
            leaves=leaves,
        ),
        needs_key=_NEEDS_KEY[how],
    )


def _window_join(how):
    def end(row):
        return None if row["ts"] is None else row["ts"] // (4 * SECOND) * 4 * SECOND + 4 * SECOND

    return Subject(
        lambda h, **s: (
            s["left"]
            .with_watermark("ts", "5 seconds")
            .join(
                s["right"].with_watermark("ts", "3 seconds"),
                on=["k", h.window("ts", "4 seconds")],
                how=how,
            )
        ),
        SAME,
        {"left": 5, "right": 3},
        ("id",) if how == "semi" else ("id", "id2"),
        lambda batches: oracle.joined(
            batches,
            how=how,
            matches=lambda one, other: (
                None not in (one["k"], end(one))
                and (one["k"], end(one)) == (other["k"], end(other))
            ),
            late_at=lambda _, row: end(row),
            leaves=lambda _, row, watermark: end(row) <= watermark,
        ),
        nulls=False,
        needs_key=_NEEDS_KEY[how],
    )


def _windows_of_windows(batches):
    inner = oracle.windows(
        batches, length=2 * SECOND, slide=2 * SECOND, keys=("k",), mode="append", aggregate=_totals
    )
    groups: dict[int, list[int]] = {}
    for start, _, rows, *_ in inner.table:
        groups.setdefault(start // (6 * SECOND) * 6 * SECOND, []).append(rows)
    closed = batches[-1].watermark if batches else 0
    return oracle.Outcome(
        [(at, len(n), sum(n)) for at, n in groups.items() if at + 6 * SECOND <= closed], inner.late
    )


def _distinct_counted(batches):
    first = oracle.distinct(batches, keys=("k", "ts"))
    kept = {one for (one,) in first.table}
    rest = [
        Planned(
            {name: [row for row in rows if row["id"] in kept] for name, rows in batch.rows.items()},
            batch.watermark,
            batch.late,
        )
        for batch in batches
    ]
    counted = oracle.windows(
        rest,
        length=6 * SECOND,
        slide=6 * SECOND,
        keys=(),
        mode="append",
        aggregate=lambda rows: (len(rows),),
    )
    return oracle.Outcome(counted.table, first.late + counted.late)


SUBJECTS = {
    "append": _windows("append"),
    "append, sliding": _windows("append", slide=2),
    "update": _windows("update"),
    "update, sliding": _windows("update", slide=4),
    "complete": _windows("complete"),
    "sessions": _sessions("append"),
    "sessions, complete": _sessions("complete"),
    "distinct times": _distinct("k", "ts"),
    "distinct keys": _distinct("k"),
    "distinct within": _within("k"),
    "inner join": _range_join("inner"),
    "left join": _range_join("left"),
    "right join": _range_join("right"),
    "full join": _range_join("full"),
    "semi join": _range_join("semi"),
    "window join": _window_join("full"),
    "window semi join": _window_join("semi"),
    "union": Subject(
        lambda h, a, b: (
            a.with_watermark("ts", "5 seconds")
            .union(b.with_watermark("ts", "2 seconds"))
            .group_by(h.window("ts", "6 seconds"), "k")
            .agg(**_TOTALS)
        ),
        TWINS,
        {"a": 5, "b": 2},
        ("window_start", "k", *_TOTALS),
        _windows("append").outcome,
    ),
    "windows of windows": Subject(
        lambda h, s: (
            s.with_watermark("ts", "5 seconds")
            .group_by(h.window("ts", "2 seconds"), "k")
            .agg(n="count(*)")
            .group_by(h.window(h.window_time(), "6 seconds"))
            .agg(groups="count(*)", total="sum(n)")
        ),
        ONE,
        {"s": 5},
        ("window_start", "groups", "total"),
        _windows_of_windows,
    ),
    "distinct, counted": Subject(
        lambda h, s: (
            s.with_watermark("ts", "5 seconds")
            .drop_duplicates("k", "ts")
            .group_by(h.window("ts", "6 seconds"))
            .agg(n="count(*)")
        ),
        ONE,
        {"s": 5},
        ("window_start", "n"),
        _distinct_counted,
    ),
}

#: What happens to the process at an addition.
_fates = st.sampled_from([None, None, "wait", "restart", *CRASH_POINTS])
#: Seconds that event time has come on, and then rows as (source, key, seconds off, millis, value).
_rows = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["a", "b", "c", None]),
        st.one_of(st.integers(-12, 4), st.integers(-12, 4), st.none()),
        st.sampled_from([0, 0, 0, 1, 500, 999]),
        st.one_of(st.integers(-3, 9), st.none()),
    ),
    max_size=8,
)
_additions = st.lists(st.tuples(st.integers(0, 9), _rows, _fates), min_size=1, max_size=6)


@pytest.mark.parametrize("name", SUBJECTS)
@settings(
    max_examples=int(os.environ.get("HEADWATER_EXAMPLES", "4")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A failure shows its whole stream. Cutting it down takes many runs, so only when asked for.
    phases=[
        phase for phase in Phase if phase is not Phase.shrink or "HEADWATER_SHRINK" in os.environ
    ],
)
@given(additions=_additions, policy=st.sampled_from(["min", "max"]), no_data=st.booleans())
def test_it_ends_as_the_oracle_says(name, additions, policy, no_data):
    subject = SUBJECTS[name]
    with tempfile.TemporaryDirectory() as root:
        home = Path(root)
        test, sources = kit(
            subject.query,
            subject.sources,
            home,
            output_mode=subject.mode,
            watermark_policy=policy,
            no_data_batches=no_data,
            home=home / "home",
        )
        added = _play(test, sources, subject, additions)
        batches = _planned(test, added, subject)
        delays = {
            source: (_time(subject.sources[source]), delay * SECOND)
            for source, delay in subject.delays.items()
        }
        assert [(batch.watermark, batch.late) for batch in batches] == oracle.watermarks(
            batches, delays, policy
        )
        expected = subject.outcome(batches)
        assert _table(test, subject) == Counter(map(_settled, expected.table))
        assert _late(test) == Counter(expected.late)


def _time(schema):
    return next(name for name, kind in schema.items() if kind == "TIMESTAMPTZ")


def _play(test, sources, subject, additions):
    """Add and drain, die and go on; the rows of each source in order, with times in µs."""
    added = {name: [] for name in sources}
    now = number = 0
    names = list(sources)
    for step, rows, fate in additions:
        now += step
        for which, key, off, millis, value in rows:
            source = names[which % len(names)]
            if off is None and not subject.nulls:
                off = 0
            number += 1
            stamp = None if off is None else micros(now + off + millis / 1000)
            given = (number, key, stamp, value)
            row = dict(zip(subject.sources[source], given, strict=False))
            added[source].append({**row, "id": number})
            time = _time(subject.sources[source])
            sources[source].add([{**row, time: None if stamp is None else stamp / SECOND}])
        if fate == "wait":
            continue
        if fate == "restart":
            test.restart()
        elif fate is not None:
            test.crash_at(fate)
            with suppress(SimulatedCrash):
                test.drain()
            test.restart()
            continue
        test.drain()
    test.drain()
    assert test.drain() == []
    return added


def _planned(test, added, subject):
    """The batches of the cursor store, with their rows."""
    with test.query.open(clock=test.clock) as session:
        generation = session.store.queries.get(test.query.name)
        records = [] if generation is None else session.store.batches.history(generation)
    plans = sorted((record.plan for record in records), key=lambda plan: plan.batch_id)
    assert [plan.batch_id for plan in plans] == list(range(len(plans)))
    taken = dict.fromkeys(added, 0)
    batches = []
    for plan in plans:
        rows = {}
        for part in plan.slices:
            start, end = int(part.start.get("rows", 0)), int(part.end.get("rows", 0))
            assert start == taken[part.source]
            taken[part.source] = end
            key = "k2" if "k2" in subject.sources[part.source] else "k"
            rows[part.source] = [
                row
                for row in added[part.source][start:end]
                if part.source not in subject.needs_key or row[key] is not None
            ]
        batches.append(
            Planned(
                rows,
                plan.event_time["watermark_ms"] * 1000,
                plan.event_time["late_ms"] * 1000,
            )
        )
    assert taken == {name: len(rows) for name, rows in added.items()}
    return batches


def _table(test, subject):
    return Counter(
        _settled(tuple(_micros(row[name]) for name in subject.columns)) for row in test.table()
    )


def _late(test):
    rows = [json.loads(row["row"]) for row in test.late()]
    return Counter(row["id"] if "id" in row else row["id2"] for row in rows)


def _micros(value):
    from datetime import datetime

    from tests.event_time.observed import plain

    return micros(plain(value)) if isinstance(value, datetime) else value


def _settled(row):
    """Means without their last bits; whole decimals as integers."""
    return tuple(
        round(float(value), 9)
        if isinstance(value, float)
        else (int(value) if isinstance(value, Decimal) else value)
        for value in row
    )
