"""Which files of a table may hold a key, by the statistics in its log.

A file is left out only where that is certain. Other writers' statistics are less exact than
ours: delta-rs and Spark cut timestamps to milliseconds, and delta-rs passes decimals through
floating point, so the bounds of both are widened. Texts need nothing: a cut greatest value is
always rounded up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.streams.schema import quote_identifier

if TYPE_CHECKING:
    import duckdb

__all__ = ["KEYS", "candidates"]

#: Table of the batch's keys, each once.
KEYS = "headwater_keys"

_BOUNDS = "headwater_bounds"


def candidates(
    connection: duckdb.DuckDBPyConnection,
    bounds: pa.Table,
    kinds: pa.Schema,
    *,
    rough: bool = False,
) -> tuple[int, ...]:
    """Numbers of the files that may hold one of the keys in :data:`KEYS`.

    Each key column is looked at on its own: a file stays when for every column some value of the
    batch lies within its bounds.

    Args:
        connection: Has the table of keys.
        bounds: One row per file: ``number``, ``rows`` (null where unknown) and, for each key
            column that has bounds, ``least_<i>``, ``greatest_<i>`` and ``nulls_<i>`` with the
            column's place in ``kinds``; each null where unknown. For a partition column both
            bounds are its value. Columns without bounds rule nothing out.
        kinds: The key columns.
        rough: Only the least and the greatest value of the batch count: much quicker with many
            keys, between which few files would be left out.
    """
    numbers: Any = bounds["number"].to_pylist()
    found: set[int] = set(numbers)
    connection.register(_BOUNDS, bounds)
    try:
        for place, item in enumerate(kinds):
            if found and f"least_{place}" in bounds.column_names:
                sql = _possible(place, item, rough=rough)
                found &= {number for (number,) in connection.execute(sql).fetchall()}
    finally:
        connection.unregister(_BOUNDS)
    return tuple(sorted(found))


def _possible(place: int, item: pa.Field[pa.DataType], *, rough: bool) -> str:
    """Files whose bounds of one column hold a value of the batch: files times log(keys) steps.

    Roughly: whose bounds meet those of the batch.
    """
    column = quote_identifier(item.name)
    value, least, greatest = column, f"least_{place}", f"greatest_{place}"
    if pa.types.is_timestamp(item.type):
        least, greatest = (
            f"{least} - INTERVAL 1 MILLISECOND",
            f"{greatest} + INTERVAL 1 MILLISECOND",
        )
    elif pa.types.is_decimal(item.type):
        value = f"CAST({column} AS DOUBLE)"
        lower, upper = f"CAST({least} AS DOUBLE)", f"CAST({greatest} AS DOUBLE)"
        step = f"1e-{item.type.scale}"
        least = f"{lower} - abs({lower}) * 1e-12 - {step}"
        greatest = f"{upper} + abs({upper}) * 1e-12 + {step}"
    if rough:
        given = f"SELECT min({value}) AS lowest, max({value}) AS value FROM {KEYS}"
        within = "SELECT number FROM files, given WHERE least <= value AND greatest >= lowest"
    else:
        given = f"SELECT DISTINCT {value} AS value FROM {KEYS} WHERE {column} IS NOT NULL"
        within = """
            SELECT number FROM (
                SELECT number, greatest, value
                FROM files ASOF JOIN given ON files.least <= given.value
            ) WHERE value <= greatest
        """
    return f"""
        WITH given AS MATERIALIZED ({given}), files AS MATERIALIZED (
            SELECT number, rows, nulls_{place} AS nulls, {least} AS least, {greatest} AS greatest
            FROM {_BOUNDS}
        )
        SELECT number FROM files
        WHERE coalesce(nulls > 0, true) AND EXISTS (SELECT 1 FROM {KEYS} WHERE {column} IS NULL)
        UNION
        SELECT number FROM files
        WHERE (least IS NULL OR greatest IS NULL) AND coalesce(nulls < rows, true)
            AND EXISTS (SELECT 1 FROM given WHERE value IS NOT NULL)
        UNION
        {within}
    """
