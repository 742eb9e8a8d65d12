"""Which columns a table's readers may skip files by.

The statistics leave out what they cannot bound: NaN is in no minimum, a boolean's bounds mean
different things to different writers. Readers that turn a missing bound into a condition (the
Arrow dataset of delta-rs does) would then hide every row of the file. The table property
``delta.dataSkippingStatsColumns`` tells all of them which columns have bounds at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["skipping_properties"]

# The property is a list of dotted paths; a name with anything else in it is left out of it.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def skipping_properties(schema: pa.Schema, partition_by: tuple[str, ...]) -> dict[str, str]:
    """Table properties that limit data skipping to columns whose bounds are always known.

    Args:
        schema: The table's columns.
        partition_by: Columns that are in no file, and so in no statistics.
    """
    paths = [
        path
        for item in schema
        if item.name not in partition_by
        for path in _bounded(item.name, item.type)
    ]
    if paths:
        return {"delta.dataSkippingStatsColumns": ",".join(paths)}
    return {"delta.dataSkippingNumIndexedCols": "0"}


def _bounded(path: str, kind: Any) -> Iterator[str]:
    if not _PLAIN.fullmatch(path.rpartition(".")[2]):
        return
    if pa.types.is_struct(kind):
        for part in kind:
            yield from _bounded(f"{path}.{part.name}", part.type)
    elif (
        pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_string(kind)
    ):
        yield path
