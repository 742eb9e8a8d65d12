"""Web logs: newline JSON as a server writes it, kept as it came, and cleaned.

Both pipelines read the same directory, each with offsets of its own; neither waits for the other.
`headwater demo` writes such files; any that fit the schema will do.
"""

from __future__ import annotations

from orchestration import delta_sink, files, pipeline, stream

__all__ = ["bronze", "clean"]

LANDING = "landing/web_logs/"

raw = stream(
    files(
        LANDING,
        format="json",
        recursive=True,
        rescue=True,  # fields that the schema does not name are kept, not dropped
        schema={
            "request_id": "VARCHAR",
            "ts": "TIMESTAMPTZ",
            "method": "VARCHAR",
            "path": "VARCHAR",
            "status": "INTEGER",
            "bytes": "BIGINT",
            "duration_ms": "DOUBLE",
            "user_id": "VARCHAR",
            "country": "VARCHAR",
            "device": "STRUCT(os VARCHAR, version VARCHAR)",
            "referrer": "VARCHAR",
        },
    )
)

COLUMNS = {
    "request_id": "Unique for each request.",
    "ts": "When the request came in, UTC.",
    "path": "Of the page, without host and query.",
    "status": "HTTP status.",
    "bytes": "Size of the answer.",
    "duration_ms": "Time until the answer was sent.",
    "user_id": "Null for visitors who are not signed in.",
    "country": "ISO 3166 code.",
}

bronze = pipeline(
    "web_logs_bronze",
    raw,
    sink=delta_sink("web_logs_bronze"),
    description="Web requests exactly as they were logged: every readable record once, every "
    "other one in the quarantine table beside it.",
    column_descriptions={
        **COLUMNS,
        "device": "Operating system and version, as the browser told.",
        "_rescued": "Fields that the schema does not name, as JSON.",
    },
)

clean = pipeline(
    "web_logs_clean",
    raw.where("status BETWEEN 100 AND 599 AND ts IS NOT NULL").select(
        "request_id",
        "ts",
        day="CAST(ts AS DATE)",
        method="upper(method)",
        path="lower(path)",
        section="coalesce(nullif(split_part(lower(path), '/', 2), ''), 'home')",
        status="status",
        is_error="status >= 500",
        bytes="bytes",
        duration_ms="duration_ms",
        user_id="user_id",
        country="upper(country)",
        os="lower(device.os)",
    ),
    sink=delta_sink("web_logs_clean", partition_by="day"),
    description="Web requests ready to be asked about: valid ones only, one column a fact, a "
    "directory a day.",
    column_descriptions={
        **COLUMNS,
        "day": "Day of the request, UTC; the table is partitioned by it.",
        "section": "First part of the path.",
        "is_error": "The server's fault: status 500 and above.",
        "os": "Operating system of the device.",
    },
)
