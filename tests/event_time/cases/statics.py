"""A stream joined with a static table, which the dialect makes from rows (semantics §6, J8)."""

from __future__ import annotations

from tests.event_time.case import Case, b, step

V = {"s": {"k": "BIGINT", "v": "BIGINT"}}
KT = {"s": {"k": "BIGINT", "ts": "TIMESTAMPTZ"}}

TABLE = ({"k": "BIGINT", "x": "VARCHAR"}, [(1, "x"), (1, "y"), (2, "z"), (None, "n")])


def joined(how, on="k"):
    """The stream joined with the table."""
    return lambda h, s: s.join(h.table(*TABLE), on=on, how=how)


# fmt: off
CASES = [
    Case("J8 inner with a table",
         joined("inner"),
         V, ("k", "v", "x"), steps=[
        step([(1, 10), (3, 30)], b((1, 10, "x"), (1, 10, "y"))),
        step([(None, 1), (2, 2)], b((2, 2, "z"))),
    ]),
    Case("J8 left with a table",
         joined("left"),
         V, ("k", "v", "x"), steps=[
        step([(1, 10), (3, 30)], b((1, 10, "x"), (1, 10, "y"), (3, 30, None))),
        step([(None, 1)], b((None, 1, None))),
    ]),
    Case("J8 semi with a table",
         joined("semi"),
         V, ("k", "v"), steps=[
        step([(1, 10), (3, 30)], b((1, 10))),
        step([(None, 1)], b()),
    ]),
    Case("J8 anti with a table",
         joined("anti"),
         V, ("k", "v"), steps=[
        step([(1, 10), (3, 30)], b((3, 30))),
        step([(None, 1)], b((None, 1))),
    ]),
    Case("J8b counted after a join with a table",
         lambda h, s: s.with_watermark("ts", "10 seconds").join(h.table(*TABLE), on="k", how="left").group_by(h.window("ts", "5 seconds"), "x").agg(n="count(*)"),
         KT, ("window_start", "x", "n"), steps=[
        step([(1, 10), (3, 11), (1, 12)], b(st=3), b(wm=2, st=3)),
        step([(2, 25)], b(wm=2, st=4), b((10, "x", 2), (10, "y", 2), (10, None, 1), wm=15, st=1)),
    ]),
    Case("J8c an aggregate joined with a table",
         lambda h, s: s.group_by("k").agg(n="count(*)").join(h.table(*TABLE), on="k", how="inner"),
         V, ("k", "n", "x"), mode="complete", steps=[
        step([(1, 1), (3, 1)], b((1, 1, "x"), (1, 1, "y"), st=2)),
        step([(2, 1)], b((1, 1, "x"), (1, 1, "y"), (2, 1, "z"), st=3)),
    ]),
]
# fmt: on
