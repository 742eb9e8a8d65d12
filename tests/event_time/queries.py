"""Queries that many cases share, each ``(dialect, **streams) -> stream``."""

from __future__ import annotations

__all__ = ["counts", "ranged", "sessions", "windowed"]


def counts(length="5 seconds", delay="10 seconds", slide=None, offset=None):
    """Rows per window."""

    def query(h, s):
        windows = h.window("ts", length, slide=slide, offset=offset)
        return s.with_watermark("ts", delay).group_by(windows).agg(n="count(*)")

    return query


def sessions(gap, delay):
    """Rows per session of a key."""

    def query(h, s):
        return (
            s.with_watermark("ts", delay)
            .group_by(h.session_window("ts", gap), "k")
            .agg(n="count(*)")
        )

    return query


def ranged(how):
    """Equal keys, the right row at most five seconds after the left one."""

    def query(h, left, right):
        return left.with_watermark("lt", "10 seconds").join(
            right.with_watermark("rt", "10 seconds"),
            on="k = k2 AND rt BETWEEN lt AND lt + INTERVAL 5 SECONDS",
            how=how,
        )

    return query


def windowed(how):
    """Equal keys in equal windows of ten seconds."""

    def query(h, left, right):
        return left.with_watermark("ts", "10 seconds").join(
            right.with_watermark("ts", "10 seconds"),
            on=["k", h.window("ts", "10 seconds")],
            how=how,
        )

    return query
