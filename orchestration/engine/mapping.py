"""``map_batches``: a user's function between two statements, its result held to its word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.failures import Caught
    from orchestration.streams.operators import MapBatches

__all__ = ["checked_table", "mapped"]


def mapped(
    stream: pa.RecordBatchReader, operator: MapBatches, caught: Caught
) -> pa.RecordBatchReader:
    """What the function makes of every table of the stream.

    Raises:
        SchemaError: While read: it returns something else than its declared columns.
    """
    who = f"map_batches: {getattr(operator.function, '__name__', 'the function')}"

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream:
            if batch.num_rows:
                given = pa.Table.from_batches([batch])
                made = checked_table(operator.function(given), operator.schema, who)
                yield from made.to_batches()

    return pa.RecordBatchReader.from_batches(operator.schema, caught.watch(batches()))


def checked_table(result: Any, wanted: pa.Schema, who: str) -> pa.Table:
    """What a user's function returned, in its declared types where that changes no value.

    Args:
        result: A table or a record batch.
        wanted: The declared columns.
        who: The verb and the function, for messages.

    Raises:
        SchemaError: It is something else, or has other columns.
    """
    if isinstance(result, pa.RecordBatch):
        result = pa.Table.from_batches([result])
    if not isinstance(result, pa.Table):
        raise SchemaError(
            f"{who} returned {type(result).__name__}, expected a pyarrow.Table",
            remedy="return a pyarrow.Table with the declared columns",
        )
    if result.column_names != wanted.names:
        raise SchemaError(
            f"{who} returned the columns {result.column_names}, declared are {wanted.names}",
            remedy="return the declared columns in their order, or declare what it returns",
        )
    try:
        return pa.Table.from_arrays(
            [_lossless(result[item.name], item) for item in wanted], schema=wanted
        )
    except (pa.ArrowException, ValueError) as error:
        raise SchemaError(
            f"{who} returned what its declared schema cannot hold: {error}",
            remedy="cast the columns in the function, or declare the types that it returns",
        ) from None


def _lossless(column: Any, wanted: pa.Field[Any]) -> Any:
    """The column in its declared type, where that changes no value."""
    if column.type == wanted.type:
        return column
    if pa.types.is_timestamp(wanted.type) and getattr(column.type, "tz", "") is None:
        raise ValueError(f"{wanted.name}: a timestamp without a zone is no {wanted.type}")
    cast = column.cast(wanted.type, safe=True)
    if not pa.types.is_null(column.type) and not cast.cast(column.type).equals(column):
        raise ValueError(f"{wanted.name}: {column.type} to {wanted.type} would change values")
    return cast
