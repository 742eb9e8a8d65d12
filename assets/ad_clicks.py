"""Clicks joined to the impressions they belong to: two streams, and a range of time between them.

A click counts for an impression of the last ten minutes. Both streams are remembered only as long
as a partner may still come; an impression without a click comes out with nulls when none can.
"""

from __future__ import annotations

from orchestration import delta_sink, files, pipeline, stream

__all__ = ["ad_clicks"]

impressions = stream(
    files(
        "landing/ads/impressions/",
        name="impressions",
        format="json",
        schema={
            "impression_id": "VARCHAR",
            "ad": "VARCHAR",
            "site": "VARCHAR",
            "shown_at": "TIMESTAMPTZ",
        },
    )
).with_watermark("shown_at", "5 minutes")

clicks = stream(
    files(
        "landing/ads/clicks/",
        name="clicks",
        format="json",
        schema={"click_id": "VARCHAR", "clicked_id": "VARCHAR", "clicked_at": "TIMESTAMPTZ"},
    )
).with_watermark("clicked_at", "5 minutes")

ad_clicks = pipeline(
    "ad_clicks",
    impressions.join(
        clicks,
        on="impression_id = clicked_id "
        "AND clicked_at BETWEEN shown_at AND shown_at + INTERVAL 10 MINUTES",
        how="left",
    ).select(
        "impression_id",
        "ad",
        "site",
        "shown_at",
        "click_id",
        "clicked_at",
        seconds_to_click="date_diff('second', shown_at, clicked_at)",
    ),
    sink=delta_sink("ad_clicks"),
    description="Every impression with its click, if there was one within ten minutes. A pair is "
    "given as soon as both are there; an impression without a click when none can come any more.",
    column_descriptions={
        "impression_id": "The showing of an ad.",
        "ad": "Which one.",
        "site": "Where.",
        "shown_at": "When, UTC.",
        "click_id": "Null where nobody clicked.",
        "clicked_at": "When that was.",
        "seconds_to_click": "How long it took.",
    },
)
