"""What each output mode holds (semantics §4): a query that it cannot hold is refused with a remedy."""

from __future__ import annotations

import pytest

from orchestration.errors import HeadwaterError
from tests.event_time.run import kit

SOURCES = {
    "s": {"k": "VARCHAR", "ts": "TIMESTAMPTZ", "v": "BIGINT"},
    "r": {"k": "VARCHAR", "rt": "TIMESTAMPTZ", "w": "BIGINT"},
}


def _timed(stream, column="ts"):
    return stream.with_watermark(column, "10 seconds")


def _ranged(how, **kwargs):
    return lambda h, s, r: _timed(s).join(
        _timed(r.select("rt", "w", k2="k"), "rt"),
        on="k = k2 AND rt BETWEEN ts AND ts + INTERVAL 5 SECONDS",
        how=how,
        **kwargs,
    )


#: Query, and the modes that hold it.
MATRIX = {
    "stateless": (lambda h, s, r: s.where("v > 1").select("k"), "append update"),
    "stream-static join": (
        lambda h, s, r: s.join(h.table({"k": "VARCHAR", "x": "BIGINT"}, [("a", 1)]), on="k"),
        "append update",
    ),
    "windowed": (
        lambda h, s, r: _timed(s).group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
        "append update complete",
    ),
    "by event time": (
        lambda h, s, r: _timed(s).group_by("ts").agg(n="count(*)"),
        "append update complete",
    ),
    "by key, with a watermark": (
        lambda h, s, r: _timed(s).group_by("k").agg(n="count(*)"),
        "update complete",
    ),
    "by key": (lambda h, s, r: s.group_by("k").agg(n="count(*)"), "update complete"),
    "windowed without a watermark": (
        lambda h, s, r: s.group_by(h.window("ts", "5 seconds")).agg(n="count(*)"),
        "update complete",
    ),
    "global": (lambda h, s, r: s.group_by().agg(n="count(*)"), "update complete"),
    "sessions": (
        lambda h, s, r: (
            _timed(s).group_by(h.session_window("ts", "5 seconds"), "k").agg(n="count(*)")
        ),
        "append complete",
    ),
    "sessions without a key": (
        lambda h, s, r: _timed(s).group_by(h.session_window("ts", "5 seconds")).agg(n="count(*)"),
        "",
    ),
    "drop_duplicates": (lambda h, s, r: s.drop_duplicates("k"), "append update"),
    "within the watermark": (
        lambda h, s, r: _timed(s).drop_duplicates_within_watermark("k"),
        "append update",
    ),
    "within no watermark": (lambda h, s, r: s.drop_duplicates_within_watermark("k"), ""),
    "inner join": (_ranged("inner"), "append update"),
    "left join": (_ranged("left"), "append"),
    "right join": (_ranged("right"), "append"),
    "full join": (_ranged("full"), "append"),
    "semi join": (_ranged("semi"), "append"),
    "left join without watermarks": (
        lambda h, s, r: s.join(r, on="k", how="left"),
        "",
    ),
    "limit": (lambda h, s, r: s.limit(3), "append"),
    "limit of an aggregation": (
        lambda h, s, r: s.group_by("k").agg(n="count(*)").limit(3),
        "complete",
    ),
    "order_by": (lambda h, s, r: s.order_by("k"), ""),
    "order_by of an aggregation": (
        lambda h, s, r: s.group_by("k").agg(n="count(*)").order_by("n DESC"),
        "complete",
    ),
    "aggregation of an aggregation": (
        lambda h, s, r: (
            _timed(s)
            .group_by(h.window("ts", "5 seconds"))
            .agg(n="count(*)")
            .group_by(h.window(h.window_time(), "10 seconds"))
            .agg(n="sum(n)")
        ),
        "append",
    ),
    "union": (
        lambda h, s, r: s.select("k").union(r.select("k")),
        "append update",
    ),
    "union with a table": (
        lambda h, s, r: s.select("k").union(h.table({"k": "VARCHAR"}, [("a",)])),
        "",
    ),
    "a second watermark after an aggregation": (
        lambda h, s, r: (
            _timed(s)
            .group_by(h.window("ts", "5 seconds"))
            .agg(n="count(*)")
            .with_watermark("window_start", "1 second")
        ),
        "",
    ),
    "row_number": (lambda h, s, r: s.select(n="row_number() OVER (ORDER BY v)"), ""),
    "lag": (lambda h, s, r: s.select(n="lag(v) OVER (ORDER BY v)"), ""),
    "an aggregate in a select": (lambda h, s, r: s.select(n="count(*)"), ""),
    "a watermark on a number": (lambda h, s, r: s.with_watermark("v", "1 second"), ""),
    "a watermark on nothing": (lambda h, s, r: s.with_watermark("nope", "1 second"), ""),
    "a negative delay": (lambda h, s, r: s.with_watermark("ts", "-1 second"), ""),
    "a slide longer than the window": (
        lambda h, s, r: (
            _timed(s).group_by(h.window("ts", "5 seconds", "6 seconds")).agg(n="count(*)")
        ),
        "",
    ),
    "an offset as long as the slide": (
        lambda h, s, r: (
            _timed(s).group_by(h.window("ts", "5 seconds", offset="5 seconds")).agg(n="count(*)")
        ),
        "",
    ),
    "a window of a month": (
        lambda h, s, r: _timed(s).group_by(h.window("ts", "1 month")).agg(n="count(*)"),
        "",
    ),
    "a window of nothing": (
        lambda h, s, r: _timed(s).group_by(h.window("ts", "0 seconds")).agg(n="count(*)"),
        "",
    ),
    "two windows": (
        lambda h, s, r: (
            _timed(s)
            .group_by(h.window("ts", "5 seconds"), h.window("ts", "10 seconds"))
            .agg(n="count(*)")
        ),
        "",
    ),
}


@pytest.mark.parametrize("mode", ["append", "update", "complete"])
@pytest.mark.parametrize("name", MATRIX)
def test_a_mode_takes_a_query_or_says_what_to_do(name, mode, tmp_path):
    query, modes = MATRIX[name]
    if mode in modes.split():
        kit(query, SOURCES, tmp_path, output_mode=mode, home=tmp_path / "home")
        return
    with pytest.raises(HeadwaterError) as refused:
        kit(query, SOURCES, tmp_path, output_mode=mode, home=tmp_path / "home")
    assert refused.value.remedy, "the error says what is wrong, and not what to do"
