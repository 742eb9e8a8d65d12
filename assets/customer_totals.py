"""Running totals per customer: the groups that a batch changed replace those in the table."""

from __future__ import annotations

from orchestration import delta_sink, files, pipeline, stream

__all__ = ["customer_totals"]

orders = stream(
    files(
        "landing/orders/",
        format="json",
        schema={
            "order_id": "VARCHAR",
            "customer_id": "VARCHAR",
            "ordered_at": "TIMESTAMPTZ",
            "amount": "DECIMAL(10,2)",
        },
    )
)

customer_totals = pipeline(
    "customer_totals",
    orders.group_by("customer_id").agg(
        orders="count(*)",
        revenue="sum(amount)",
        largest="max(amount)",
        first_order="min(ordered_at)",
        last_order="max(ordered_at)",
    ),
    sink=delta_sink("customer_totals", output_mode="update"),
    description="What each customer has ordered so far: one row a customer, always current. A "
    "batch reads only the new orders and replaces only the rows of the customers in them.",
    column_descriptions={
        "customer_id": "One row for each.",
        "orders": "How many.",
        "revenue": "Their sum, exact.",
        "largest": "The largest of them.",
        "first_order": "When the first came.",
        "last_order": "When the last came.",
    },
)
