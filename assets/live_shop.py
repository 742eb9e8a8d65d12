"""A shop's customers and orders, copied from its PostgreSQL database while it works.

Only where there is one: ``make dev-postgres`` starts a private server with a small writer and
Dagster beside it. For a server of your own set ``SHOP_DSN``, to a URL or libpq's words.

One change log takes in what the replication slot gives, exactly once; everything else reads that.
"""

from __future__ import annotations

import os

from orchestration import (
    changes,
    delta,
    delta_sink,
    matches_source,
    pipeline,
    postgres,
    scd1_sink,
    scd2_sink,
    stream,
)

__all__: list[str] = []

_CUSTOMER = {
    "id": "BIGINT",
    "name": "VARCHAR",
    "city": "VARCHAR",
    "tags": "VARCHAR[]",
    "seen_at": "TIMESTAMPTZ",
}
_ORDER = {
    "id": "BIGINT",
    "customer_id": "BIGINT",
    "status": "VARCHAR",
    "amount": "DECIMAL(10,2)",
    "ordered_at": "TIMESTAMPTZ",
}

if os.environ.get("SHOP_DSN"):
    shop = postgres(
        "env:SHOP_DSN",
        tables=["public.customers", "public.orders"],
        slot="headwater_shop",
        publication="headwater_shop",
    )
    customers = changes(delta("live_shop_changes"), "public.customers", _CUSTOMER)
    orders = changes(delta("live_shop_changes"), "public.orders", _ORDER)

    live_shop_changes = pipeline(
        "live_shop_changes",
        stream(shop),
        sink=delta_sink("live_shop_changes"),
        group="live_shop",
        description="Every change of the shop's tables, in the order of their commits.",
    )
    live_customers = pipeline(
        "live_customers",
        customers,
        sink=scd1_sink("live_customers", keys="id"),
        group="live_shop",
        description="Customers as they are in the shop's database.",
    )
    live_customers_history = pipeline(
        "live_customers_history",
        customers,
        sink=scd2_sink("live_customers_history", keys="id", track_columns_except="seen_at"),
        group="live_shop",
        description="Every state that a customer was in, from when until when.",
    )
    live_orders = pipeline(
        "live_orders",
        orders,
        sink=scd1_sink("live_orders", keys="id"),
        group="live_shop",
        description="Orders as they are in the shop's database.",
    )
    live_customers_match = matches_source(live_customers, shop, "public.customers")
    live_orders_match = matches_source(live_orders, shop, "public.orders")

    __all__ += [
        "live_customers",
        "live_customers_history",
        "live_customers_match",
        "live_orders",
        "live_orders_match",
        "live_shop_changes",
    ]
