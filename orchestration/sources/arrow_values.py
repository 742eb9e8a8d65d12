"""Arrow columns brought into declared types where that changes no value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.streams.schema import duckdb_type

__all__ = ["Impossible", "converted"]

_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999, microseconds


class Impossible(Exception):
    """No value of one type is one of the other."""


def converted(column: Any, wanted: Any, zone: str | None) -> Any:
    """The column in another type.

    Raises:
        Impossible: The types have nothing in common.
        pyarrow.ArrowException, ValueError: A value does not fit.
    """
    found = column.type
    if pa.types.is_dictionary(found):
        return converted(column.dictionary_decode(), wanted, zone)
    if pa.types.is_null(found):
        return pa.nulls(len(column), wanted)
    if pa.types.is_struct(wanted) and pa.types.is_struct(found):
        return _struct(column, wanted, zone)
    if pa.types.is_map(wanted) and pa.types.is_map(found):
        return _map(column, wanted, zone)
    if _is_list(wanted) and _is_list(found):
        return _list(column, wanted, zone)
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(found):
        return _timestamp(column, wanted, zone)
    if not _related(found, wanted):
        raise Impossible(f"the file has {found}, declared is {duckdb_type(wanted)}")
    if found == wanted:
        if pa.types.is_string(wanted):
            column.validate(full=True)
        return column
    if pa.types.is_integer(found) and pa.types.is_decimal(wanted):
        column = column.cast(pa.decimal128(38, wanted.scale))  # narrower ones Arrow refuses
    cast = column.cast(wanted, safe=True)
    if pa.types.is_floating(wanted) or pa.types.is_floating(found):
        _check_floats(column, cast)
    return cast


def _related(found: Any, wanted: Any) -> bool:
    """Whether some values of one type are values of the other."""
    tests: tuple[Any, ...] = (_is_text, _is_bytes, pa.types.is_boolean, pa.types.is_date)
    return _numeric(found, wanted) or any(test(found) and test(wanted) for test in tests)


def _is_text(kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_view(kind, "string")


def _is_bytes(kind: Any) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or _is_view(kind, "binary")
    )


def _is_view(kind: Any, name: str) -> bool:
    return str(kind) == f"{name}_view"


def _is_list(kind: Any) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _numeric(found: Any, wanted: Any) -> bool:
    def number(kind: Any) -> bool:
        return bool(
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        )

    pair = (pa.types.is_decimal(found), pa.types.is_decimal(wanted))
    floats = pa.types.is_floating(found) or pa.types.is_floating(wanted)
    return number(found) and number(wanted) and not (any(pair) and floats)


def _check_floats(column: Any, cast: Any) -> None:
    """A float that changed on the way does not fit; safe casts let that pass."""
    back = cast.cast(column.type, safe=False)
    same = pc.equal(back, column)
    if pa.types.is_floating(column.type):
        same = pc.or_(same, pc.is_nan(column))
    if pc.any(pc.invert(same)).as_py():
        raise ValueError("a value would change")


def _timestamp(column: Any, wanted: Any, zone: str | None) -> Any:
    if column.type.tz is None:
        if zone is None:
            raise Impossible(
                "its timestamps name no time zone; say which with timezone= on the source"
            )
        column = pc.assume_timezone(column, zone, ambiguous="raise", nonexistent="raise")
    cast = column.cast(wanted, safe=True)
    bounds: Any = pc.min_max(cast.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not (bounds["min"] >= _FIRST and bounds["max"] <= _LAST):
        raise ValueError("outside of the years 1 to 9999")
    return cast


def _struct(column: Any, wanted: Any, zone: str | None) -> Any:
    present = {column.type.field(n).name: n for n in range(column.type.num_fields)}
    parts = [
        converted(pc.struct_field(column, present[item.name]), item.type, zone)
        if item.name in present
        else pa.nulls(len(column), item.type)
        for item in wanted
    ]
    return pa.StructArray.from_arrays(parts, fields=list(wanted), mask=column.is_null())


def _list(column: Any, wanted: Any, zone: str | None) -> Any:
    plain = column.cast(pa.list_(column.type.value_type))
    values = converted(plain.flatten(), wanted.value_type, zone)
    lengths = pc.fill_null(pc.list_value_length(plain), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    make: Any = pa.ListArray.from_arrays
    return make(pa.array(offsets), values, mask=plain.is_null()).cast(wanted)


def _map(column: Any, wanted: Any, zone: str | None) -> Any:
    pairs = pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])
    of = pa.struct([("key", wanted.key_type), ("value", wanted.item_type)])
    entries = _list(column.cast(pa.list_(pairs)), pa.list_(of), zone)
    values = entries.flatten()
    lengths = pc.fill_null(pc.list_value_length(entries), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    make: Any = pa.MapArray.from_arrays
    mask = entries.is_null()
    return make(offsets, values.field("key"), values.field("value"), mask=mask).cast(wanted)
