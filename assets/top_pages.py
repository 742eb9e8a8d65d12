"""The ten pages with the most views: a whole result, ordered, and replaced with every batch."""

from __future__ import annotations

from assets.web_logs import raw
from orchestration import delta_sink, pipeline

__all__ = ["top_pages"]

top_pages = pipeline(
    "top_pages",
    raw.where("method = 'GET' AND status BETWEEN 200 AND 399")
    .select("ts", page="split_part(lower(path), '?', 1)")
    .group_by("page")
    .agg(views="count(*)", first_seen="min(ts)", last_seen="max(ts)")
    .order_by("views DESC", "page")
    .limit(10),
    sink=delta_sink("top_pages", output_mode="complete"),
    sensor_interval="15 seconds",
    description="The ten pages with the most views since the beginning. Every batch replaces the "
    "table in one commit; readers see the old ten or the new ten, and nothing between.",
    column_descriptions={
        "page": "Path in lower case, without its query.",
        "views": "Requests that were answered.",
        "first_seen": "Event time of the first of them.",
        "last_seen": "Event time of the last.",
    },
)
