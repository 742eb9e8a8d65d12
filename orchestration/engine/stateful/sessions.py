"""Sessions as SQL: intervals of one key that touch become one (gaps and islands).

Two sessions merge when one starts at or before the other's end, the end among them, as in
Structured Streaming.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.stateful.aggregation import END, START
from orchestration.engine.stateful.keyed import EXPIRY, HASH
from orchestration.engine.stateful.partials import BATCH

if TYPE_CHECKING:
    from orchestration.engine.stateful.aggregation import AggregationSql

__all__ = ["newest", "sessions_of", "united"]

_ISLAND = "headwater_island"


def sessions_of(sql: AggregationSql, rows: str, *, closing: bool) -> str:
    """Sessions of a SELECT of expanded rows, each with the state of its aggregates."""
    found = _grouped(sql, sql.keyed(rows), sql.parts_made)
    return sql.with_expiry(found, closing=closing)


def united(sql: AggregationSql, sessions: str, *, closing: bool) -> str:
    """Sessions of a SELECT of sessions, those that touch as one."""
    bare = f"SELECT * EXCLUDE ({EXPIRY}, {HASH}) FROM ({sessions})"
    return sql.with_expiry(_grouped(sql, bare, sql.parts_merged), closing=closing)


def newest(sql: AggregationSql, sessions: str) -> str:
    """Of each key only what the newest batch wrote: it wrote all sessions of a key it touched."""
    keys = ", ".join(sql.key_columns)
    return f"SELECT * FROM ({sessions}) QUALIFY {BATCH} = max({BATCH}) OVER (PARTITION BY {keys})"


def _grouped(sql: AggregationSql, rows: str, parts: list[str]) -> str:
    keys = ", ".join(sql.key_columns)
    before = (
        f"SELECT *, max({END}) OVER (PARTITION BY {keys} ORDER BY {START} "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS headwater_before FROM ({rows})"
    )
    # By RANGE: rows that start together are one session, whichever of them is seen first.
    islands = (
        f"SELECT *, sum(CASE WHEN headwater_before >= {START} THEN 0 ELSE 1 END) "
        f"OVER (PARTITION BY {keys} ORDER BY {START} RANGE UNBOUNDED PRECEDING) AS {_ISLAND} "
        f"FROM ({before})"
    )
    bounds = [
        f"min({START}) AS headwater_first",
        f"max({END}) AS headwater_last",
        f"{sql.batch_id} AS {BATCH}",
    ]
    listed = ", ".join([keys, *bounds, *parts])
    grouped = f"SELECT {listed} FROM ({islands}) GROUP BY {keys}, {_ISLAND}"
    return (
        f"SELECT * EXCLUDE (headwater_first, headwater_last), headwater_first AS {START}, "
        f"headwater_last AS {END} FROM ({grouped})"
    )
