"""Stateful operators one after another, in append mode (semantics §6, §9 D), and unions, limits, policies."""

from __future__ import annotations

from tests.event_time.case import Case, b, step

T = {"s": {"ts": "TIMESTAMPTZ"}}
TV = {"s": {"ts": "TIMESTAMPTZ", "v": "BIGINT"}}
KT = {"s": {"k": "VARCHAR", "ts": "TIMESTAMPTZ"}}
TWO = {"a": {"ts": "TIMESTAMPTZ"}, "b": {"ts": "TIMESTAMPTZ"}}
R = {"left": {"k": "BIGINT", "lt": "TIMESTAMPTZ"}, "right": {"k2": "BIGINT", "rt": "TIMESTAMPTZ"}}
K = {"s": {"k": "BIGINT"}}

# fmt: off
CASES = [
    Case("M1 windows of windows",
         lambda h, s: s.with_watermark("ts", "0 seconds").group_by(h.window("ts", "5 seconds")).agg(n="count(*)").group_by(h.window(h.window_time(), "10 seconds")).agg(windows="count(*)", total="sum(n)"),
         T, ("window_start", "windows", "total"), steps=[
        step([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], b(st=3), b((10, 2, 10), wm=21, st=1)),
        step([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29], b(wm=21, late=10, st=2), b(wm=29, st=2)),
        step([30, 31], b(wm=29, st=3), b((20, 2, 12), wm=31, st=1)),
    ]),
    Case("M1b windows of windows, no no-data batches",
         lambda h, s: s.with_watermark("ts", "0 seconds").group_by(h.window("ts", "5 seconds")).agg(n="count(*)").group_by(h.window(h.window_time(), "10 seconds")).agg(windows="count(*)", total="sum(n)"),
         T, ("window_start", "windows", "total"), no_data_batches=False, steps=[
        step([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], b(st=3)),
        step([30], b((10, 2, 10), wm=21, st=2)),
        step([31], b((20, 1, 2), wm=30, st=1)),
        step([45], b(wm=31, st=2)),
        step([46], b((30, 1, 2), wm=45, st=1)),
    ]),
    Case("M2 windows of windows of windows",
         lambda h, s: s.with_watermark("ts", "0 seconds").group_by(h.window("ts", "5 seconds")).agg(n="count(*)").group_by(h.window(h.window_time(), "10 seconds")).agg(windows="count(*)", total="sum(n)").group_by(h.window(h.window_time(), "20 seconds")).agg(windows="count(*)", total="sum(total)"),
         T, ("window_start", "windows", "total"), steps=[
        step([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37], b(st=8), b((0, 2, 20), wm=37, st=3)),
        step([30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60], b(wm=37, late=5, st=8), b((20, 2, 23), (40, 2, 20), wm=60, st=1)),
        step([80], b(wm=60, st=2), b((60, 1, 1), wm=80, st=1)),
    ]),
    Case("M3 join, then windows",
         lambda h, left, right: left.with_watermark("lt", "0 seconds").join(right.with_watermark("rt", "0 seconds"), on="lt = rt").group_by(h.window("lt", "5 seconds")).agg(n="count(*)"),
         R, ("window_start", "n"), steps=[
        step({"left": [(1, 1), (2, 2), (3, 3), (4, 4)], "right": [(1, 1), (2, 2), (3, 3), (4, 4)]}, b(st=9), b(wm=4, st=1)),
        step({"left": [(5, 5)], "right": [(5, 5)]}, b(wm=4, st=4), b((0, 4), wm=5, st=1)),
        step({"left": [(10, 10)], "right": [(10, 10)]}, b(wm=5, st=4), b((5, 1), wm=10, st=1)),
    ]),
    Case("M4 deduplicate, then count",
         lambda h, s: s.with_watermark("ts", "10 seconds").drop_duplicates("v", "ts").group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TV, ("window_start", "n"), steps=[
        step([(10, 1), (10, 1), (11, 1)], b(st=3), b(wm=1, st=3)),
        step([(10, 1), (25, 2)], b(wm=1, st=5), b((10, 2), wm=15, st=2)),
    ]),
    Case("M4b deduplicate, then count: fifteen",
         lambda h, s: s.with_watermark("ts", "10 seconds").drop_duplicates("v", "ts").group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TV, ("window_start", "n"), steps=[
        step([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9), (10, 10), (11, 11), (12, 12), (13, 13), (14, 14), (15, 15)], b(st=19), b((0, 4), wm=5, st=13)),
        step([(40, 1)], b(wm=5, st=15), b((10, 5), (15, 1), (5, 5), wm=30, st=2)),
    ]),
    Case("M5 an outer join within a range, then windows: the watermark is lower by the range",
         lambda h, left, right: left.with_watermark("lt", "0 seconds").join(right.with_watermark("rt", "0 seconds"), on="k = k2 AND rt BETWEEN lt AND lt + INTERVAL 5 SECONDS", how="left").group_by(h.window("lt", "5 seconds")).agg(n="count(*)", matched="count(k2)"),
         R, ("window_start", "n", "matched"), steps=[
        step({"left": [(1, 1), (2, 2)], "right": [(1, 3)]}, b(st=4), b(wm=2, st=4)),
        step({"left": [(9, 9)], "right": [(9, 9)]}, b(wm=2, st=7), b(wm=9, st=4)),
        step({"left": [(9, 11)], "right": [(9, 11)]}, b(wm=9, st=7), b((0, 2, 1), wm=11, st=5)),
        step({"left": [(9, 30)], "right": [(9, 30)]}, b(wm=11, st=8), b((10, 1, 1), (5, 2, 2), wm=30, st=3)),
    ]),
    Case("M6 count, then deduplicate",
         lambda h, s: s.with_watermark("ts", "0 seconds").group_by(h.window("ts", "5 seconds")).agg(n="count(*)").drop_duplicates("n", "window_end"),
         T, ("window_end", "n"), differs="window_end is event time here: its keys leave with the watermark", steps=[
        step([1, 5, 10, 15], b(st=4), b((10, 1), (15, 1), (5, 1), wm=15, st=1)),
        step([21], b(wm=15, st=2), b((20, 1), wm=21, st=1)),
    ]),
    Case("M7 sessions, then windows of them",
         lambda h, s: s.with_watermark("ts", "0 seconds").group_by(h.session_window("ts", "3 seconds"), "k").agg(n="count(*)").group_by(h.window(h.window_time(), "10 seconds")).agg(sessions="count(*)", rows="sum(n)"),
         KT, ("window_start", "sessions", "rows"), steps=[
        step([("a", 1), ("a", 3), ("b", 2)], b(st=2), b(wm=3, st=2)),
        step([("a", 12)], b(wm=3, st=3), b((0, 2, 3), wm=12, st=1)),
        step([("c", 30)], b(wm=12, st=2), b((10, 1, 1), wm=30, st=1)),
    ]),
    Case("A27 a union moves with the slower one",
         lambda h, a, b: a.with_watermark("ts", "10 seconds").union(b.with_watermark("ts", "5 seconds")).group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TWO, ("window_start", "n"), steps=[
        step({"a": [11]}, b(st=1)),
        step({"b": [6]}, b(st=2), b(wm=1, st=2)),
        step({"b": [8]}, b(wm=1, st=2)),
        step({"a": [21]}, b(wm=1, st=3), b(wm=3, st=3)),
        step({"b": [17, 28, 39]}, b(wm=3, st=6), b((5, 2), wm=11, st=5)),
        step({"a": [31]}, b(wm=11, st=6), b((10, 1), (15, 1), wm=21, st=4)),
        step({"a": [41]}, b(wm=21, st=5), b((20, 1), (25, 1), wm=31, st=3)),
        step({"a": [51]}, b(wm=31, st=4), b(wm=34, st=4)),
    ]),
    Case("A27b policy max: it moves with the faster one",
         lambda h, a, b: a.with_watermark("ts", "10 seconds").union(b.with_watermark("ts", "5 seconds")).group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TWO, ("window_start", "n"), policy="max", steps=[
        step({"a": [11]}, b(st=1), b(wm=1, st=1)),
        step({"b": [6]}, b(wm=1, st=2)),
        step({"b": [8]}, b(wm=1, st=2), b(wm=3, st=2)),
        step({"a": [21]}, b(wm=3, st=3), b((5, 2), wm=11, st=2)),
        step({"b": [17, 28, 39]}, b(wm=11, st=5), b((10, 1), (15, 1), (20, 1), (25, 1), wm=34, st=1)),
        step({"a": [31]}, b(wm=34, st=2)),
        step({"a": [41]}, b(wm=34, st=3)),
        step({"a": [51]}, b(wm=34, st=4), b((30, 1), (35, 1), wm=41, st=2)),
    ]),
    Case("A27c both at once",
         lambda h, a, b: a.with_watermark("ts", "10 seconds").union(b.with_watermark("ts", "5 seconds")).group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TWO, ("window_start", "n"), steps=[
        step({"a": [100], "b": [100]}, b(st=1), b(wm=90, st=1)),
        step({"a": [120], "b": [110]}, b(wm=90, st=3), b((100, 2), wm=105, st=2)),
        step({"a": [100], "b": [100]}, b(wm=105, late=2, st=2)),
        step({"a": [140], "b": [100]}, b(wm=105, late=1, st=3)),
        step({"a": [100], "b": [135]}, b(wm=105, late=1, st=4), b((110, 1), (120, 1), wm=130, st=2)),
    ]),
    Case("A26 policy min",
         lambda h, a, b: a.with_watermark("ts", "10 seconds").union(b.with_watermark("ts", "15 seconds")).group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TWO, ("window_start", "n"), policy="min", steps=[
        step({"a": [20], "b": [30]}, b(st=2), b(wm=10, st=2)),
        step({"a": [120], "b": [130]}, b(wm=10, st=4), b((20, 1), (30, 1), wm=110, st=2)),
        step({"b": [150]}, b(wm=110, st=3)),
        step({"a": [1], "b": [1]}, b(wm=110, late=2, st=3)),
    ]),
    Case("A26 policy max",
         lambda h, a, b: a.with_watermark("ts", "10 seconds").union(b.with_watermark("ts", "15 seconds")).group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TWO, ("window_start", "n"), policy="max", steps=[
        step({"a": [20], "b": [30]}, b(st=2), b(wm=15, st=2)),
        step({"a": [120], "b": [130]}, b(wm=15, st=4), b((20, 1), (30, 1), wm=115, st=2)),
        step({"a": [150]}, b(wm=115, st=3), b((120, 1), (130, 1), wm=140, st=1)),
        step({"a": [1], "b": [1]}, b(wm=140, late=2, st=1)),
    ]),
    Case("A27d one watermark after the union",
         lambda h, a, b: a.union(b).with_watermark("ts", "10 seconds").group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
         TWO, ("window_start", "n"), steps=[
        step({"a": [10]}, b(st=1)),
        step({"b": [25]}, b(st=2), b((10, 1), wm=15, st=1)),
        step({"a": [30], "b": [10]}, b(wm=15, late=1, st=2), b(wm=20, st=2)),
    ]),
    Case("A27e a union of plain streams",
         lambda h, a, b: a.union(b),
         TWO, ("ts",), steps=[
        step({"a": [1], "b": [2]}, b((1,), (2,))),
        step({"b": [3]}, b((3,))),
    ]),
    Case("A27f deduplicated over a union",
         lambda h, a, b: a.with_watermark("ts", "10 seconds").union(b.with_watermark("ts", "10 seconds")).drop_duplicates("ts"),
         TWO, ("ts",), steps=[
        step({"a": [10], "b": [10, 11]}, b((10,), (11,), st=2)),
        step({"b": [40]}, b((40,), st=3)),
        step({"a": [12]}, b((12,), st=4), b(wm=2, st=4)),
        step({"a": [40]}, b(wm=2, st=4), b(wm=30, st=1)),
        step({"b": [30, 31]}, b((31,), wm=30, late=1, st=2)),
    ]),
    Case("L1 the first three rows ever",
         lambda h, s: s.limit(3),
         K, ("k",), steps=[
        step([1, 2], b((1,), (2,))),
        step([3], b((3,))),
        step([4, 5], b()),
    ]),
    Case("L2 a limit of deduplicated rows",
         lambda h, s: s.drop_duplicates().limit(2),
         K, ("k",), steps=[
        step([1, 1], b((1,))),
        step([1, 2], b((2,))),
        step([3], b()),
    ]),
]
# fmt: on
