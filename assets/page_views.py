"""Page views per five minutes: windows by event time, each given once, when it is closed.

A request counts for the five minutes in which it came in, whenever its file lands. Ten minutes of
lateness are waited for; what comes later than that is in the table `page_views_5m__late`.
"""

from __future__ import annotations

from assets.web_logs import raw
from orchestration import delta_sink, pipeline, window

__all__ = ["page_views_5m"]

page_views_5m = pipeline(
    "page_views_5m",
    raw.where("method = 'GET' AND status BETWEEN 200 AND 399")
    .select("ts", "user_id", "bytes", "duration_ms", page="split_part(lower(path), '?', 1)")
    .with_watermark("ts", "10 minutes")
    .group_by(window("ts", "5 minutes"), "page")
    .agg(
        views="count(*)",
        signed_in="count(user_id)",
        bytes="CAST(sum(bytes) AS BIGINT)",
        slowest_ms="max(duration_ms)",
    ),
    sink=delta_sink("page_views_5m", output_mode="append"),
    # It shares its directory with other pipelines, and one drop need not start all of them at once.
    sensor_interval="15 seconds",
    description="Views of each page per five minutes of event time. A window is given when the "
    "watermark, ten minutes behind the newest request, has reached its end: once, and never "
    "changed after that. `waiting_for` below says which window is next.",
    column_descriptions={
        "window_start": "First moment of the five minutes, UTC.",
        "window_end": "First moment after them.",
        "page": "Path in lower case, without its query.",
        "views": "Requests that were answered.",
        "signed_in": "Of these, by visitors who were signed in.",
        "bytes": "Sent for them.",
        "slowest_ms": "The longest time one of them took.",
    },
)
