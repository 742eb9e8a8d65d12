"""Update and complete mode; aggregates without time (semantics §4, §9 A)."""

from __future__ import annotations

from tests.event_time.case import Case, b, step
from tests.event_time.queries import counts

T = {"s": {"ts": "TIMESTAMPTZ"}}
KT = {"s": {"k": "VARCHAR", "ts": "TIMESTAMPTZ"}}
KV = {"s": {"k": "VARCHAR", "v": "BIGINT"}}

# fmt: off
CASES = [
    Case("A3 update: changed groups, and closed ones leave silently",
         counts("5 seconds", "10 seconds"),
         T, ("window_start", "n"), mode="update", steps=[
        step([10, 11, 12, 13, 14, 15], b((10, 5), (15, 1), st=2), b(wm=5, st=2)),
        step([25], b((25, 1), wm=5, st=3), b(wm=15, st=2)),
        step([10, 25], b((25, 2), wm=15, late=1, st=2)),
        step([10], b(wm=15, late=1, st=2)),
    ]),
    Case("A4 complete: all groups, late rows too",
         counts("5 seconds", "10 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([10, 11, 12], b((10, 3), st=1)),
        step([25], b((10, 3), (25, 1), wm=2, st=2)),
        step([25], b((10, 3), (25, 2), wm=15, st=2)),
        step([10], b((10, 4), (25, 2), wm=15, st=2)),
        step([25], b((10, 4), (25, 3), wm=15, st=2)),
    ]),
    Case("A10 complete: offset 2 s",
         counts("5 seconds", "10 seconds", offset="2 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([1, 2, 6.999, 7], b((-3, 1), (2, 2), (7, 1), st=3)),
    ]),
    Case("A11 complete: before the epoch",
         counts("5 seconds", "10 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([-1, -5, -5.000001, 0, None], b((-10, 1), (-5, 2), (0, 1), st=3)),
    ]),
    Case("A12 complete: sliding before the epoch",
         counts("10 seconds", "10 seconds", "5 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([-1, -12.5, 3], b((-10, 1), (-15, 1), (-20, 1), (-5, 2), (0, 1), st=5)),
    ]),
    Case("A12b complete: sliding that does not divide, before the epoch",
         counts("10 seconds", "10 seconds", "4 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([-1, -9.5, 0, 2], b((-12, 1), (-16, 1), (-4, 3), (-8, 2), (0, 2), st=5)),
    ]),
    Case("A15 complete: weeks start on Thursday",
         counts("1 week", "10 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([0, 259200, 345599, 345600], b((0, 4), st=1)),
    ]),
    Case("A15b complete: weeks from Monday",
         counts("7 days", "10 seconds", offset="4 days"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([0, 259200, 345599, 345600], b((-259200, 3), (345600, 1), st=2)),
    ]),
    Case("A10b complete: a negative offset",
         counts("5 seconds", "10 seconds", offset="-2 seconds"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([1, 2.999, 3, 7], b((-2, 2), (3, 2), st=2)),
    ]),
    Case("A23 update without a watermark",
         lambda h, s: s.group_by("k").agg(total="sum(v)", n="count(*)"),
         KV, ("k", "total", "n"), mode="update", steps=[
        step([("a", 1), ("b", 2)], b(("a", 1, 1), ("b", 2, 1), st=2)),
        step([("a", 3)], b(("a", 4, 2), st=2)),
        step([(None, 1)], b((None, 1, 1), st=3)),
        step([(None, None), ("b", None)], b(("b", 2, 2), (None, 1, 2), st=3)),
    ]),
    Case("A24 complete, ordered",
         lambda h, s: s.group_by("k").agg(total="sum(v)").order_by("k"),
         KV, ("k", "total"), mode="complete", steps=[
        step([("b", 1), ("a", 2)], b(("a", 2), ("b", 1), st=2)),
        step([("a", 3)], b(("a", 5), ("b", 1), st=2)),
    ]),
    Case("A24b complete, the two largest",
         lambda h, s: s.group_by("k").agg(total="sum(v)").order_by("total DESC", "k").limit(2),
         KV, ("k", "total"), mode="complete", steps=[
        step([("a", 1), ("b", 2), ("c", 3)], b(("c", 3), ("b", 2), st=3)),
        step([("a", 5)], b(("a", 6), ("c", 3), st=3)),
        step([("b", 4)], b(("a", 6), ("b", 6), st=3)),
    ]),
    Case("A25 a global aggregate, complete",
         lambda h, s: s.group_by().agg(n="count(*)", total="sum(v)"),
         KV, ("n", "total"), mode="complete", steps=[
        step([("a", 1), ("a", 2)], b((2, 3), st=1)),
        step([("b", 3)], b((3, 6), st=1)),
    ]),
    Case("A25b a global aggregate, update",
         lambda h, s: s.group_by().agg(n="count(*)", total="sum(v)"),
         KV, ("n", "total"), mode="update", steps=[
        step([("a", 1), ("a", 2)], b((2, 3), st=1)),
        step([("b", 3)], b((3, 6), st=1)),
        step([(None, None)], b((4, 6), st=1)),
    ]),
    Case("A42 a global aggregate of no rows, complete",
         lambda h, s: s.where("v > 100").group_by().agg(n="count(*)", total="sum(v)"),
         KV, ("n", "total"), mode="complete", steps=[
        step([("a", 1)], b((0, None), st=1)),
        step([("a", 101)], b((1, 101), st=1)),
    ]),
    Case("A43 a global aggregate of no rows, update",
         lambda h, s: s.where("v > 100").group_by().agg(n="count(*)", total="sum(v)"),
         KV, ("n", "total"), mode="update", steps=[
        step([("a", 1)], b((0, None), st=1)),
        step([("a", 101)], b((1, 101), st=1)),
        step([("a", 2)], b((1, 101), st=1)),
    ]),
    Case("A44 update: a window with a key",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by(h.window("ts", "5 seconds"), "k").agg(n="count(*)"),
         KT, ("window_start", "k", "n"), mode="update", steps=[
        step([("a", 10), ("b", 10)], b((10, "a", 1), (10, "b", 1), st=2)),
        step([("a", 11), ("a", 16)], b((10, "a", 2), (15, "a", 1), st=3), b(wm=6, st=3)),
        step([("b", 30)], b((30, "b", 1), wm=6, st=4), b(wm=20, st=1)),
        step([("b", 16), ("b", 21)], b((20, "b", 1), wm=20, late=1, st=2)),
    ]),
    Case("A45 update: sliding, late in one window of two",
         counts("10 seconds", "10 seconds", "5 seconds"),
         T, ("window_start", "n"), mode="update", steps=[
        step([26], b((20, 1), (25, 1), st=2), b(wm=16, st=2)),
        step([12], b((10, 1), wm=16, late=1, st=3)),
        step([9.5], b(wm=16, late=2, st=3)),
        step([40], b((35, 1), (40, 1), wm=16, st=5), b(wm=30, st=3)),
        step([30], b((25, 2), (30, 1), wm=30, st=4)),
    ]),
    Case("A46 update, no no-data batches",
         counts("5 seconds", "10 seconds"),
         T, ("window_start", "n"), mode="update", no_data_batches=False, steps=[
        step([10, 15], b((10, 1), (15, 1), st=2)),
        step([25], b((25, 1), wm=5, st=3)),
        step([10, 25], b((10, 2), (25, 2), wm=15, st=2)),
        step([26], b((25, 3), wm=15, st=2)),
        step([40], b((40, 1), wm=16, st=3)),
        step([41], b((40, 2), wm=30, st=1)),
    ]),
    Case("A47 update by raw event time",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by("ts").agg(n="count(*)"),
         T, ("ts", "n"), mode="update", steps=[
        step([10, 10], b((10, 2), st=1)),
        step([20], b((20, 1), st=2), b(wm=10, st=1)),
        step([10], b(wm=10, late=1, st=1)),
        step([10.001, 20], b((10.001, 1), (20, 2), wm=10, st=2)),
        step([31], b((31, 1), wm=10, st=3), b(wm=21, st=1)),
    ]),
    Case("A48 update by key under a watermark: nothing is late, nothing leaves",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by("k").agg(n="count(*)"),
         KT, ("k", "n"), mode="update", steps=[
        step([("a", 10)], b(("a", 1), st=1)),
        step([("b", 50)], b(("b", 1), st=2), b(wm=40, st=2)),
        step([("a", 1)], b(("a", 2), wm=40, st=2)),
    ]),
    Case("A49 complete by raw event time",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by("ts").agg(n="count(*)"),
         T, ("ts", "n"), mode="complete", steps=[
        step([10], b((10, 1), st=1)),
        step([30], b((10, 1), (30, 1), st=2)),
        step([10], b((10, 2), (30, 1), wm=20, st=2)),
    ]),
    Case("A50 complete without a watermark",
         lambda h, s: s.group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         T, ("window_start", "n"), mode="complete", steps=[
        step([15], b((15, 1), st=1)),
        step([10, 12, 14], b((10, 3), (15, 1), st=2)),
        step([None], b((10, 3), (15, 1), st=2)),
    ]),
    Case("A51 update without a watermark, windowed",
         lambda h, s: s.group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         T, ("window_start", "n"), mode="update", steps=[
        step([15], b((15, 1), st=1)),
        step([10, 12, 14], b((10, 3), st=2)),
        step([500], b((500, 1), st=3)),
        step([10], b((10, 4), st=3)),
    ]),
    Case("A52 update: a change that changes nothing is a change",
         lambda h, s: s.group_by("k").agg(hi="max(v)"),
         KV, ("k", "hi"), mode="update", steps=[
        step([("a", 5)], b(("a", 5), st=1)),
        step([("a", 3)], b(("a", 5), st=1)),
        step([("a", None)], b(("a", 5), st=1)),
    ]),
    Case("A53 complete: an empty result",
         lambda h, s: s.where("v > 100").group_by("k").agg(n="count(*)"),
         KV, ("k", "n"), mode="complete", steps=[
        step([("a", 1)], b(st=0)),
        step([("a", 101)], b(("a", 1), st=1)),
        step([("b", 1)], b(("a", 1), st=1)),
    ]),
    Case("A54 complete: filtered after the aggregation",
         lambda h, s: s.group_by("k").agg(n="count(*)").where("n > 1").select("k", double="n * 2"),
         KV, ("k", "double"), mode="complete", steps=[
        step([("a", 1)], b(st=1)),
        step([("a", 2), ("b", 1)], b(("a", 4), st=2)),
        step([("b", 1)], b(("a", 4), ("b", 4), st=2)),
    ]),
    Case("A55 aggregates that keep more than a number",
         lambda h, s: s.group_by("k").agg(lo="min(v)", hi="max(v)", mean="avg(v)", spread="max(v) - min(v)", some="count(v)", odd="count(*) FILTER (WHERE v % 2 = 1)", any_="bool_or(v > 4)", all_="bool_and(v > 0)"),
         KV, ("k", "lo", "hi", "mean", "spread", "some", "odd", "any_", "all_"), mode="update", steps=[
        step([("a", 1), ("a", 4), ("b", None)], b(("a", 1, 4, 2.5, 3, 2, 1, False, True), ("b", None, None, None, None, 0, 0, None, None), st=2)),
        step([("a", 7), ("b", 2)], b(("a", 1, 7, 4, 6, 3, 2, True, True), ("b", 2, 2, 2, 0, 1, 0, False, True), st=2)),
    ]),
    Case("A56 min_by and max_by",
         lambda h, s: s.group_by().agg(first_k="min_by(k, v)", last_k="max_by(k, v)"),
         KV, ("first_k", "last_k"), mode="update", steps=[
        step([("a", 3), ("b", 5)], b(("a", "b"), st=1)),
        step([("c", 1), ("d", 4)], b(("c", "b"), st=1)),
        step([("e", 9)], b(("c", "e"), st=1)),
    ]),
    Case("A57 update, stateless: as append",
         lambda h, s: s.where("v > 1").select("k", w="v * 2"),
         KV, ("k", "w"), mode="update", steps=[
        step([("a", 1), ("b", 2)], b(("b", 4))),
        step([("c", 3)], b(("c", 6))),
    ]),
]
# fmt: on
