"""Random queries over random streams, from a seed: what both engines are given.

Left out, because ours differs on purpose there (semantics): additions without rows (a batch in
Spark, none here), null keys in a full join (they match in Spark), restarts in Spark (it forgets the
inputs' maxima), times between milliseconds in joins (Spark's strict test is a millisecond wide), state rows of
semi joins (Spark lets a left row go once it has met a partner), conditions of one side in outer
joins (there Spark gives the rows that fail them at once),
null times where rows are deduplicated within the watermark (Spark fails).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.event_time.case import Case, Step

__all__ = ["KINDS", "RandomCase", "random_case"]

_ONE = {"s": {"k": "VARCHAR", "ts": "TIMESTAMPTZ", "v": "BIGINT"}}
_TWO = {
    "left": {"k": "BIGINT", "lt": "TIMESTAMPTZ", "a": "BIGINT"},
    "right": {"k2": "BIGINT", "rt": "TIMESTAMPTZ", "b": "BIGINT"},
}
_SAME = {
    "left": {"k": "BIGINT", "ts": "TIMESTAMPTZ", "a": "BIGINT"},
    "right": {"k": "BIGINT", "ts": "TIMESTAMPTZ", "b": "BIGINT"},
}
_TWINS = {"a": _ONE["s"], "b": _ONE["s"]}

_AGGREGATES = {
    "n": "count(*)",
    "some": "count(v)",
    "total": "sum(v)",
    "lo": "min(v)",
    "hi": "max(v)",
    "mean": "avg(v)",
}


@dataclass(frozen=True)
class RandomCase:
    """A case without expectations: the judge gives them.

    Attributes:
        case: Query and additions; its steps have no batches.
        about: The query in words, for a failure.
        restarts: Before which steps we start anew.
        counts_groups: Whether Spark counts late groups where we count late rows.
        state: Whether rows of state are compared.
    """

    case: Case
    about: str
    restarts: frozenset[int] = field(default=frozenset())
    counts_groups: bool = False
    state: bool = True


def random_case(kind: str, seed: int) -> RandomCase:
    """The case of a seed."""
    rng = random.Random(f"{kind}/{seed}")
    made = KINDS[kind](rng)
    sources = made["sources"]
    steps = _steps(
        rng, sources, nulls=made.get("nulls", ("k", "ts", "v")), fine=made.get("fine", True)
    )
    case = Case(
        f"{kind} {seed}",
        made["query"],
        sources,
        made["columns"],
        steps=steps,
        mode=made.get("mode", "append"),
        policy=rng.choice(["min", "min", "max"]) if len(sources) > 1 else "min",
        no_data_batches=rng.random() < 0.75,
    )
    restarts = frozenset(number for number in range(1, len(steps)) if rng.random() < 0.15)
    return RandomCase(
        case, made["about"], restarts, made.get("counts_groups", False), made.get("state", True)
    )


def _steps(rng, sources, *, nulls, fine):
    """Additions whose times wander upwards, some of them late, doubled or null."""
    now, steps = rng.choice([0, 20, 100]), []
    fractions = [0, 0, 0, 0.5, 0.001, 0.999, *([0.0005, 0.000001, 0.999999] if fine else [])]

    def value(name, kind):
        if name in nulls and rng.random() < 0.07:
            return None
        if kind == "TIMESTAMPTZ":
            return now + rng.randint(-14, 8) + rng.choice(fractions)
        return rng.choice("abc") if kind == "VARCHAR" else rng.randint(0, 5)

    for _ in range(rng.randint(3, 7)):
        add: dict[str, list[Any]] = {}
        for name, schema in sources.items():
            rows = [
                tuple(value(column, kind) for column, kind in schema.items())
                for _ in range(rng.choice([0, 1, 2, 4, 7]))
            ]
            rows += [rng.choice(rows) for _ in range(rng.randint(0, 2)) if rows]
            add[name] = rows
        if not any(add.values()):
            name, schema = rng.choice(list(sources.items()))
            add[name] = [tuple(value(column, kind) for column, kind in schema.items())]
        steps.append(Step({name: rows for name, rows in add.items() if rows}, ()))
        now += rng.choice([0, 1, 3, 8, 15, 40])
    return steps


def _delay(rng):
    return f"{rng.choice([0, 1, 5, 10])} seconds"


def _windows(rng):
    length = rng.choice([1, 5, 10])
    slide = rng.choice([None, None, length, max(1, length // 2), max(1, length // 3)])
    offset = rng.choice([None, None, 0, 1, -1])
    if offset is not None and abs(offset) >= (slide or length):
        offset = None
    return [f"{length} seconds"] + [
        None if part is None else f"{part} seconds" for part in (slide, offset)
    ]


def _aggregation(mode):
    def make(rng):
        (length, slide, offset), delay = _windows(rng), _delay(rng)
        keys = rng.choice([(), ("k",)])

        def query(h, s):
            return (
                s.with_watermark("ts", delay)
                .group_by(h.window("ts", length, slide, offset), *keys)
                .agg(**_AGGREGATES)
            )

        return {
            "query": query,
            "about": f"window({length}, {slide}, {offset}), {keys}, delay {delay}, {mode}",
            "sources": _ONE,
            "columns": ("window_start", "window_end", *keys, *_AGGREGATES),
            "mode": mode,
            "counts_groups": True,
        }

    return make


def _raw_time(rng):
    delay, mode = _delay(rng), rng.choice(["append", "update", "complete"])
    return {
        "query": lambda h, s: s.with_watermark("ts", delay).group_by("ts", "k").agg(**_AGGREGATES),
        "about": f"by ts and k, delay {delay}, {mode}",
        "sources": _ONE,
        "columns": ("ts", "k", *_AGGREGATES),
        "mode": mode,
        # A null time never leaves, and Spark emits its group in no batch; nothing to compare.
        "nulls": ("k", "v"),
        "counts_groups": True,
    }


def _keyed(rng):
    mode = rng.choice(["update", "complete"])
    return {
        "query": lambda h, s: s.group_by("k").agg(**_AGGREGATES),
        "about": f"by k, no watermark, {mode}",
        "sources": _ONE,
        "columns": ("k", *_AGGREGATES),
        "mode": mode,
    }


def _sessions(rng):
    gap, delay, mode = (
        f"{rng.choice([1, 3, 5, 10])} seconds",
        _delay(rng),
        rng.choice(["append", "append", "complete"]),
    )
    return {
        "query": lambda h, s: (
            s.with_watermark("ts", delay)
            .group_by(h.session_window("ts", gap), "k")
            .agg(**_AGGREGATES)
        ),
        "about": f"sessions of {gap}, delay {delay}, {mode}",
        "sources": _ONE,
        "columns": ("window_start", "window_end", "k", *_AGGREGATES),
        "mode": mode,
        "counts_groups": True,
    }


def _distinct(rng):
    delay, keys = _delay(rng), rng.choice([("ts",), ("k", "ts"), ("k",), ("k", "v"), ()])
    mode = rng.choice(["append", "update"])
    return {
        "query": lambda h, s: s.with_watermark("ts", delay).drop_duplicates(*keys),
        "about": f"drop_duplicates{keys}, delay {delay}, {mode}",
        "sources": _ONE,
        "columns": ("k", "ts", "v"),
        "mode": mode,
    }


def _distinct_within(rng):
    delay, keys = _delay(rng), rng.choice([("k",), ("k", "v"), ()])
    return {
        "query": lambda h, s: s.with_watermark("ts", delay).drop_duplicates_within_watermark(*keys),
        "about": f"drop_duplicates_within_watermark{keys}, delay {delay}",
        "sources": _ONE,
        "columns": ("k", "ts", "v"),
        "nulls": ("k", "v"),
    }


def _range_join(how):
    def make(rng):
        left, right, below, above = _delay(rng), _delay(rng), rng.choice([0, 2]), rng.choice([0, 5])
        strict = rng.random() < 0.2
        bounds = (
            f"rt > lt - INTERVAL {below} SECONDS AND rt < lt + INTERVAL {above + 1} SECONDS"
            if strict
            else f"rt BETWEEN lt - INTERVAL {below} SECONDS AND lt + INTERVAL {above} SECONDS"
        )
        more = "" if how == "full" else rng.choice(["", "", " AND a <= b"])
        return {
            "query": lambda h, **s: (
                s["left"]
                .with_watermark("lt", left)
                .join(
                    s["right"].with_watermark("rt", right), on=f"k = k2 AND {bounds}{more}", how=how
                )
            ),
            "about": f"{how} join on {bounds}{more}, delays {left} and {right}",
            "sources": _TWO,
            "columns": ("k", "lt", "a") if how == "semi" else ("k", "lt", "a", "k2", "rt", "b"),
            "nulls": ("lt", "rt", "a", "b") if how == "full" else ("k", "k2", "lt", "rt", "a", "b"),
            "fine": False,
            "state": how != "semi",
        }

    return make


def _window_join(rng):
    how = rng.choice(["inner", "left", "right", "full", "semi"])
    left, right, length = _delay(rng), _delay(rng), rng.choice([1, 5, 10])
    return {
        "query": lambda h, **s: (
            s["left"]
            .with_watermark("ts", left)
            .join(
                s["right"].with_watermark("ts", right),
                on=["k", h.window("ts", f"{length} seconds")],
                how=how,
            )
        ),
        "about": f"{how} join on k and windows of {length} s, delays {left} and {right}",
        "sources": _SAME,
        "columns": ("k", "a") if how == "semi" else ("k", "window_start", "a", "b"),
        # Null keys as in the range joins; rows of a null time have no window here.
        "nulls": ("a", "b"),
        "fine": False,
        "state": how != "semi",
    }


def _plain_join(rng):
    return {
        "query": lambda h, **s: s["left"].join(s["right"], on="k = k2"),
        "about": "inner join on k, no watermark",
        "sources": _TWO,
        "columns": ("k", "lt", "a", "k2", "rt", "b"),
        "nulls": ("k", "k2", "lt", "rt", "a", "b"),
    }


def _union(rng):
    first, second, length = _delay(rng), _delay(rng), rng.choice([1, 5])
    return {
        "query": lambda h, a, b: (
            a.with_watermark("ts", first)
            .union(b.with_watermark("ts", second))
            .group_by(h.window("ts", f"{length} seconds"))
            .agg(**_AGGREGATES)
        ),
        "about": f"union of delays {first} and {second}, windows of {length} s",
        "sources": _TWINS,
        "columns": ("window_start", *_AGGREGATES),
        "counts_groups": True,
    }


def _windows_of_windows(rng):
    delay = _delay(rng)
    return {
        "query": lambda h, s: (
            s.with_watermark("ts", delay)
            .group_by(h.window("ts", "2 seconds"), "k")
            .agg(n="count(*)", hi="max(v)")
            .group_by(h.window(h.window_time(), "6 seconds"))
            .agg(groups="count(*)", total="sum(n)", top="max(hi)")
        ),
        "about": f"windows of 6 s of windows of 2 s, delay {delay}",
        "sources": _ONE,
        "columns": ("window_start", "groups", "total", "top"),
        "counts_groups": True,
    }


def _distinct_counted(rng):
    delay = _delay(rng)
    return {
        "query": lambda h, s: (
            s.with_watermark("ts", delay)
            .drop_duplicates("k", "ts")
            .group_by(h.window("ts", "5 seconds"))
            .agg(n="count(*)")
        ),
        "about": f"distinct k and ts, counted per 5 s, delay {delay}",
        "sources": _ONE,
        "columns": ("window_start", "n"),
        "nulls": ("k", "v"),
        "counts_groups": True,
    }


#: What is compared, by name: each makes a query from random numbers.
KINDS = {
    "append": _aggregation("append"),
    "update": _aggregation("update"),
    "complete": _aggregation("complete"),
    "raw time": _raw_time,
    "keyed": _keyed,
    "sessions": _sessions,
    "distinct": _distinct,
    "distinct within": _distinct_within,
    "inner join": _range_join("inner"),
    "left join": _range_join("left"),
    "right join": _range_join("right"),
    "full join": _range_join("full"),
    "semi join": _range_join("semi"),
    "window join": _window_join,
    "plain join": _plain_join,
    "union": _union,
    "windows of windows": _windows_of_windows,
    "distinct, counted": _distinct_counted,
}
