"""A shop's customers and orders, copied from its database by Debezium's files.

Each table twice: as it is now (SCD type 1), and as it was at any time (SCD type 2). The changes may
come late, twice and in any order; what counts is their place in the database's log.
"""

from __future__ import annotations

from orchestration import debezium, files, pipeline, scd1_sink, scd2_sink, stream

__all__ = ["shop_customers", "shop_customers_history", "shop_orders", "shop_orders_history"]

customers = stream(
    debezium(
        files("landing/cdc/customers/"),
        schema={
            "id": "BIGINT",
            "name": "VARCHAR",
            "city": "VARCHAR",
            "note": "VARCHAR",
            "seen_at": "TIMESTAMPTZ",
        },
    )
)

orders = stream(
    debezium(
        files("landing/cdc/orders/"),
        schema={
            "id": "BIGINT",
            "customer_id": "BIGINT",
            "status": "VARCHAR",
            "amount": "DECIMAL(10,2)",
            "ordered_at": "TIMESTAMPTZ",
        },
        decimals="precise",  # the connector's default: base64 of the number without its point
    )
)

_CUSTOMER = {
    "id": "The database's key.",
    "name": "Of the customer.",
    "city": "Where the customer lives.",
    "note": "Long; a change that leaves it as it is does not carry it.",
    "seen_at": "When the customer was last there, UTC.",
}
_ORDER = {
    "id": "The database's key.",
    "customer_id": "Who ordered.",
    "status": "new, paid, sent or received.",
    "amount": "Exact.",
    "ordered_at": "When, UTC.",
}
shop_customers = pipeline(
    "shop_customers",
    customers,
    sink=scd1_sink("shop_customers", keys="id"),
    description="The shop's customers as they are in its database now, from its changes.",
    column_descriptions=_CUSTOMER,
)

shop_customers_history = pipeline(
    "shop_customers_history",
    customers,
    sink=scd2_sink("shop_customers_history", keys="id", track_columns_except="seen_at"),
    description="Every state that a customer was in, from when until when. That a customer was "
    "seen again begins no new one.",
    column_descriptions=_CUSTOMER,
)

shop_orders = pipeline(
    "shop_orders",
    orders,
    sink=scd1_sink("shop_orders", keys="id"),
    description="The shop's orders as they are in its database now, from its changes.",
    column_descriptions=_ORDER,
)

shop_orders_history = pipeline(
    "shop_orders_history",
    orders,
    sink=scd2_sink("shop_orders_history", keys="id"),
    description="Every state that an order was in, from when until when.",
    column_descriptions=_ORDER,
)
