"""Visits: what one user did without a break of half an hour, as one row.

A visit has no length of its own; it grows as long as requests keep coming, and two visits become
one when a late request closes the gap between them. It is given when nothing can do that any more.
"""

from __future__ import annotations

from assets.web_logs import raw
from orchestration import delta_sink, pipeline, session_window

__all__ = ["visits"]

visits = pipeline(
    "visits",
    raw.where("user_id IS NOT NULL")
    .select("ts", "user_id", "bytes", page="split_part(lower(path), '?', 1)")
    .with_watermark("ts", "10 minutes")
    .group_by(session_window("ts", "30 minutes"), "user_id")
    .agg(
        requests="count(*)",
        entry_page="first(page)",
        exit_page="last(page)",
        seconds="date_diff('second', min(ts), max(ts))",
        bytes="CAST(sum(bytes) AS BIGINT)",
    ),
    sink=delta_sink("visits", output_mode="append"),
    sensor_interval="15 seconds",
    description="Visits of users who are signed in: requests with no break of 30 minutes between "
    "them. A visit is given when the watermark is 30 minutes past its last request.",
    column_descriptions={
        "window_start": "The first request.",
        "window_end": "30 minutes after the last one.",
        "user_id": "Who it was.",
        "requests": "How many.",
        "entry_page": "Of the first request, by event time.",
        "exit_page": "Of the last one.",
        "seconds": "From the first request to the last.",
        "bytes": "Sent to the visitor.",
    },
)
