"""Session windows (semantics §3, §9 B)."""

from __future__ import annotations

from tests.event_time.case import Case, b, step
from tests.event_time.queries import sessions

KT = {"s": {"k": "VARCHAR", "ts": "TIMESTAMPTZ"}}
KTV = {"s": {"k": "VARCHAR", "ts": "TIMESTAMPTZ", "v": "BIGINT"}}

# fmt: off
CASES = [
    Case("S1 append",
         sessions("10 seconds", "30 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("hello", 40), ("world", 40), ("spark", 40), ("streaming", 40), ("world", 41), ("hello", 41), ("structured", 41), ("streaming", 41)], b(st=5), b(wm=11, st=5)),
        step([("spark", 25), ("streaming", 25)], b(wm=11, st=7)),
        step([("spark", 0), ("streaming", 0)], b(wm=11, late=2, st=7)),
        step([("spark", 30), ("streaming", 30)], b(wm=11, st=5)),
        step([("hello", 60), ("apache", 60), ("spark", 60)], b(wm=11, st=8), b(wm=30, st=8)),
        step([("structured", 90), ("streaming", 90)], b(wm=30, st=10), b(("hello", 40, 51, 2), ("spark", 25, 50, 3), ("streaming", 25, 51, 4), ("structured", 41, 51, 1), ("world", 40, 51, 2), wm=60, st=5)),
    ]),
    Case("S2 complete",
         sessions("10 seconds", "30 seconds"),
         KT, ("k", "window_start", "window_end", "n"), mode="complete", steps=[
        step([("a", 40), ("a", 41)], b(("a", 40, 51, 2), st=1)),
        step([("a", 25)], b(("a", 25, 35, 1), ("a", 40, 51, 2), wm=11, st=2)),
        step([("a", 30)], b(("a", 25, 51, 4), wm=11, st=1)),
        step([("a", 60)], b(("a", 25, 51, 4), ("a", 60, 70, 1), wm=11, st=2)),
        step([("a", 0)], b(("a", 25, 51, 4), ("a", 60, 70, 1), wm=30, late=1, st=2)),
    ]),
    Case("S3 two that touch are one; a microsecond more are two",
         sessions("10 seconds", "30 seconds"),
         KT, ("k", "window_start", "window_end", "n"), mode="complete", steps=[
        step([("a", 0), ("b", 0)], b(("a", 0, 10, 1), ("b", 0, 10, 1), st=2)),
        step([("a", 10), ("b", 10.001)], b(("a", 0, 20, 2), ("b", 0, 10, 1), ("b", 10.001, 20.001, 1), st=3)),
        step([("c", 0), ("c", 10)], b(("a", 0, 20, 2), ("b", 0, 10, 1), ("b", 10.001, 20.001, 1), ("c", 0, 20, 2), st=4)),
    ]),
    Case("S3b by a microsecond",
         sessions("10 seconds", "30 seconds"),
         KT, ("k", "window_start", "window_end", "n"), mode="complete", steps=[
        step([("a", 0), ("a", 10), ("b", 0), ("b", 10.000001)], b(("a", 0, 20, 2), ("b", 0, 10, 1), ("b", 10.000001, 20.000001, 1), st=3)),
    ]),
    Case("S4 closed and late at the end",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10)], b(st=1)),
        step([("z", 24.999)], b(st=2), b(wm=14.999, st=2)),
        step([("z", 25)], b(wm=14.999, st=2), b(("a", 10, 15, 1), wm=15, st=1)),
        step([("a", 10)], b(wm=15, late=1, st=1)),
        step([("a", 14)], b(wm=15, st=2)),
    ]),
    Case("S5 a late row does not join an open session",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10), ("a", 13)], b(st=1), b(wm=3, st=1)),
        step([("z", 26)], b(wm=3, st=2), b(wm=16, st=2)),
        step([("a", 11)], b(wm=16, late=1, st=2)),
        step([("a", 12)], b(wm=16, st=2)),
        step([("z", 40)], b(wm=16, st=3), b(("a", 10, 18, 3), wm=30, st=2)),
    ]),
    Case("S6 two open sessions become one",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10)], b(st=1)),
        step([("a", 18)], b(st=2), b(wm=8, st=2)),
        step([("a", 14)], b(wm=8, st=1)),
        step([("z", 60)], b(wm=8, st=2), b(("a", 10, 23, 3), wm=50, st=1)),
    ]),
    Case("S7 many become one in one batch",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10), ("a", 20), ("a", 30), ("b", 20)], b(st=4), b(("a", 10, 15, 1), wm=20, st=3)),
        step([("a", 15), ("a", 25)], b(wm=20, late=1, st=2)),
        step([("z", 99)], b(wm=20, st=3), b(("a", 20, 35, 3), ("b", 20, 25, 1), wm=89, st=1)),
    ]),
    Case("S8 a session grows while others close",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10), ("b", 10)], b(st=2)),
        step([("a", 15), ("b", 12)], b(st=2), b(wm=5, st=2)),
        step([("a", 20)], b(wm=5, st=2), b(wm=10, st=2)),
        step([("a", 24)], b(wm=10, st=2), b(wm=14, st=2)),
        step([("a", 28)], b(wm=14, st=2), b(("b", 10, 17, 2), wm=18, st=1)),
        step([("z", 60)], b(wm=18, st=2), b(("a", 10, 33, 5), wm=50, st=1)),
    ]),
    Case("S9 a null time is in no session; a null key has its own",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", None), (None, 10), (None, 12)], b(st=1), b(wm=2, st=1)),
        step([("z", 40)], b(wm=2, st=2), b((None, 10, 17, 2), wm=30, st=1)),
    ]),
    Case("S10 the gap of each row",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by(h.session_window("ts", "CASE WHEN v > 0 THEN INTERVAL 5 SECONDS ELSE INTERVAL 10 SECONDS END"), "k").agg(n="count(*)"),
         KTV, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10, 1), ("a", 16, 0)], b(st=2), b(wm=6, st=2)),
        step([("b", 10, 0), ("b", 16, 1)], b(wm=6, st=3)),
        step([("z", 60, 1)], b(wm=6, st=4), b(("a", 10, 15, 1), ("a", 16, 26, 1), ("b", 10, 21, 2), wm=50, st=1)),
    ]),
    Case("S11 a gap of nothing drops the row",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by(h.session_window("ts", "CASE WHEN v > 0 THEN INTERVAL 5 SECONDS WHEN v = 0 THEN INTERVAL 0 SECONDS ELSE -INTERVAL 1 SECOND END"), "k").agg(n="count(*)"),
         KTV, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10, 1), ("a", 12, 0), ("a", 13, -1), ("b", 10, 0)], b(st=1), b(wm=3, st=1)),
        step([("z", 60, 1)], b(wm=3, st=2), b(("a", 10, 15, 1), wm=50, st=1)),
    ]),
    Case("S12 a long row reaches over a short one",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by(h.session_window("ts", "CASE WHEN v > 0 THEN INTERVAL 2 SECONDS ELSE INTERVAL 20 SECONDS END"), "k").agg(n="count(*)"),
         KTV, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10, 0), ("a", 12, 1), ("a", 28, 1)], b(st=1), b(wm=18, st=1)),
        step([("a", 33, 1)], b(wm=18, st=2), b(wm=23, st=2)),
        step([("z", 90, 1)], b(wm=23, st=3), b(("a", 10, 30, 3), ("a", 33, 35, 1), wm=80, st=1)),
    ]),
    Case("S13 sums over sessions",
         lambda h, s: s.with_watermark("ts", "10 seconds").group_by(h.session_window("ts", "5 seconds"), "k").agg(total="sum(v)", hi="max(v)", mean="avg(v)"),
         KTV, ("k", "window_start", "window_end", "total", "hi", "mean"), steps=[
        step([("a", 10, 1), ("a", 12, 5)], b(st=1), b(wm=2, st=1)),
        step([("a", 17, None), ("b", 11, 2)], b(wm=2, st=2), b(wm=7, st=2)),
        step([("z", 50, 1)], b(wm=7, st=3), b(("a", 10, 22, 6, 5, 3), ("b", 11, 16, 2, 2, 2), wm=40, st=1)),
    ]),
    Case("S14 no no-data batches",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), no_data_batches=False, steps=[
        step([("a", 10)], b(st=1)),
        step([("z", 30)], b(st=2)),
        step([("a", 12)], b(("a", 10, 17, 2), wm=20, st=1)),
        step([("a", 26)], b(wm=20, st=2)),
        step([("z", 60)], b(wm=20, st=3)),
        step([("z", 61)], b(("a", 26, 31, 1), ("z", 30, 35, 1), wm=50, st=1)),
    ]),
    Case("S15 after closing, the key starts again",
         sessions("5 seconds", "0 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10)], b(st=1), b(wm=10, st=1)),
        step([("a", 20)], b(wm=10, st=2), b(("a", 10, 15, 1), wm=20, st=1)),
        step([("a", 30)], b(wm=20, st=2), b(("a", 20, 25, 1), wm=30, st=1)),
        step([("a", 26)], b(wm=30, st=1)),
    ]),
    Case("S16 duplicates at one moment",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), steps=[
        step([("a", 10), ("a", 10), ("a", 10)], b(st=1)),
        step([("a", 10)], b(st=1)),
        step([("z", 60)], b(st=2), b(("a", 10, 15, 4), wm=50, st=1)),
    ]),
    Case("S17 complete: late rows are dropped, nothing leaves",
         sessions("5 seconds", "10 seconds"),
         KT, ("k", "window_start", "window_end", "n"), mode="complete", steps=[
        step([("a", 10)], b(("a", 10, 15, 1), st=1)),
        step([("b", 40)], b(("a", 10, 15, 1), ("b", 40, 45, 1), st=2)),
        step([("a", 12), ("a", 20)], b(("a", 10, 17, 2), ("a", 20, 25, 1), ("b", 40, 45, 1), wm=30, st=3)),
        step([("a", 25.000001)], b(("a", 10, 17, 2), ("a", 20, 25, 1), ("a", 25.000001, 30.000001, 1), ("b", 40, 45, 1), wm=30, st=4)),
        step([("a", 26)], b(("a", 10, 17, 2), ("a", 20, 25, 1), ("a", 25.000001, 31, 2), ("b", 40, 45, 1), wm=30, st=4)),
    ]),
]
# fmt: on
