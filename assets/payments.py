"""Payments, each once, from a system that delivers some of them twice.

A key is remembered until the watermark is a day past the payment's first arrival; so the state is a
day's payments, however long the query lives. A copy that comes later than that would be a row again.
"""

from __future__ import annotations

from orchestration import delta_sink, files, pipeline, stream

__all__ = ["payments_once"]

deliveries = stream(
    files(
        "landing/payments/",
        format="json",
        schema={
            "payment_id": "VARCHAR",
            "order_id": "VARCHAR",
            "paid_at": "TIMESTAMPTZ",
            "amount": "DECIMAL(10,2)",
            "attempt": "INTEGER",
        },
    )
)

payments_once = pipeline(
    "payments_once",
    deliveries.with_watermark("paid_at", "1 day").drop_duplicates_within_watermark("payment_id"),
    sink=delta_sink("payments_once"),
    description="Every payment once, though some were delivered several times: the first delivery "
    "of each wins, and its copies of the following day are dropped.",
    column_descriptions={
        "payment_id": "Unique in this table.",
        "order_id": "What was paid.",
        "paid_at": "When, UTC.",
        "amount": "How much.",
        "attempt": "Which delivery this row is of: 1 for the first.",
    },
)
