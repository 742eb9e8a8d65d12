"""Delta statistics of written Parquet files, such that data skipping never hides a row.

They come from the file's own footer, where values have types. Kept are the least and the
greatest value of integers, decimals, dates, strings and timestamps. Of floats only the number of
nulls: the writer leaves NaN out, and a reader would then skip rows that compare greater than
everything. Booleans, bytes, lists and maps have none either: readers cannot parse them.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["delta_statistics"]

#: Characters of a text in the log. A longer greatest value is cut and the last character there
#: is put behind it, so that it stays greater.
_TEXT = 32
_GREATEST = "\U0010ffff"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - in UTC, as everything here


def delta_statistics(metadata: pq.FileMetaData, schema: pa.Schema) -> str:
    """The statistics of one file as Delta's log has them.

    Args:
        metadata: The file's footer.
        schema: Columns of the file, as the table declares them.
    """
    columns = _columns(metadata)
    nulls: dict[str, Any] = {}
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    for item in schema:
        _collect((item.name,), item.type, metadata, columns, (nulls, least, greatest))
    found = {
        "numRecords": metadata.num_rows,
        "minValues": least,
        "maxValues": greatest,
        "nullCount": nulls,
    }
    return _dump(found)


def _columns(metadata: pq.FileMetaData) -> dict[tuple[str, ...], int]:
    """Leaf columns by path. Taken from the schema: names may have dots in them."""
    leaves: dict[tuple[str, ...], int] = {}

    def walk(path: tuple[str, ...], kind: Any, at: int) -> int:
        if pa.types.is_struct(kind):
            for part in kind:
                at = walk((*path, part.name), part.type, at)
            return at
        if pa.types.is_map(kind):
            return walk((*path, ""), kind.item_type, walk((*path, ""), kind.key_type, at))
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return walk((*path, ""), kind.value_type, at)
        leaves[path] = at
        return at + 1

    at = 0
    for item in metadata.schema.to_arrow_schema():
        at = walk((item.name,), item.type, at)
    if at != metadata.num_columns:
        raise ValueError(f"{at} leaves in the schema, {metadata.num_columns} in the file")
    return leaves


def _collect(
    path: tuple[str, ...],
    kind: Any,
    metadata: pq.FileMetaData,
    columns: dict[tuple[str, ...], int],
    into: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
) -> None:
    name = path[-1]
    if pa.types.is_struct(kind):
        inner: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
        for part in kind:
            _collect((*path, part.name), part.type, metadata, columns, inner)
        for target, found in zip(into, inner, strict=True):
            if found:
                target[name] = found
        return
    at = columns.get(path)
    if at is None:  # a list or a map
        return
    parts = [metadata.row_group(number).column(at) for number in range(metadata.num_row_groups)]
    known: list[Any] = [part.statistics for part in parts if part.statistics is not None]
    if len(known) != len(parts) or not all(one.has_null_count for one in known):
        return
    into[0][name] = sum(one.null_count for one in known)
    filled = [
        one for one, part in zip(known, parts, strict=True) if one.null_count < part.num_values
    ]
    if not filled or not all(one.has_min_max for one in filled):
        return
    least, greatest = _bound(filled, kind, greatest=False), _bound(filled, kind, greatest=True)
    if least is not None and greatest is not None:
        into[1][name], into[2][name] = least, greatest


def _bound(parts: list[Any], kind: Any, *, greatest: bool) -> Any:
    """The least or greatest value as Delta writes it; ``None`` where none may be given."""
    pick = max if greatest else min
    if pa.types.is_decimal(kind):
        return pick(part.max if greatest else part.min for part in parts)
    raw = pick(part.max_raw if greatest else part.min_raw for part in parts)
    if pa.types.is_integer(kind):
        return int(raw)
    if pa.types.is_string(kind):
        return _text_bound(bytes(raw), cut=greatest)
    try:
        if pa.types.is_date(kind):
            return (_EPOCH + timedelta(days=raw)).date().isoformat()
        if pa.types.is_timestamp(kind):
            moment = _EPOCH + timedelta(microseconds=raw)
            return moment.isoformat(timespec="microseconds") + "Z"
    except OverflowError:  # outside of the years 1 to 9999, or infinity
        return None
    return None


def _text_bound(raw: bytes, *, cut: bool) -> str | None:
    text = raw.decode("utf-8", "ignore")  # the writer may have cut within a character
    if cut and _GREATEST in text[: _TEXT + 1]:
        return None  # readers take a last character at the end for the mark of a cut
    if len(text) <= _TEXT and text.encode() == raw:
        return text
    return text[:_TEXT] + (_GREATEST if cut else "")


def _dump(value: Any) -> str:
    """JSON in which a decimal is a number, digit for digit."""
    if isinstance(value, dict):
        members = (f"{json.dumps(key)}:{_dump(item)}" for key, item in value.items())
        return "{" + ",".join(members) + "}"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)
