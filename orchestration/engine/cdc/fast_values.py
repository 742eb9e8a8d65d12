"""SQL that reads a column's values from JSON texts, and says which of them it reads exactly.

``q`` is the JSON text of one member: ``"a"``, ``1.5``, ``null``; SQL's null where there is none.
Each condition takes only what :mod:`.values` reads alike; it may refuse anything, for a line that
is refused is read one by one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.streams.schema import duckdb_type, is_json, quote_literal

if TYPE_CHECKING:
    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["LENIENT", "FastValue", "fast_value", "placeholders"]

_LEAST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 to 9999
_LEAST_MICROS, _LAST_MICROS = -62_135_596_800_000_000, 253_402_300_799_999_999
_DATE_TEXT = r'"\d{4}-\d\d-\d\d"'
_CLOCK_TEXT = r"\d{4}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
_ZONE = r"(?:Z|[-+](?:0\d|1[0-4]):?[0-5]\d)"
_LIST_DIGITS = {8: 2, 16: 4, 32: 9, 64: 18}
_MOST_SCALE = 18  # 10**18 still fits 64 bits
#: What DuckDB's parser takes and JSON does not have.
LENIENT = r"(?:^|[:,\[])\s*-?[nNiI][aAnN][nNfF]|,\s*[\]}]"


@dataclass(frozen=True, slots=True)
class FastValue:
    """SQL of a column, whose JSON text is never SQL's null: ``null`` stands for a lacking one too.

    Attributes:
        value: Of the column's type; null where the JSON is null.
        good: True where ``value`` is exact, for a JSON text other than ``null`` that fits the
            pattern; ``None`` where all of them are.
        pattern: A regular expression for the texts that are read; ``None`` for any. The texts of
            a row are held against their patterns together, which costs little more than one.
        skippable: SQL that is true where the record says that it does not carry the value.
    """

    value: str
    good: str | None
    pattern: str | None
    skippable: str | None = None


def placeholders(changes: ChangeFormat) -> str:
    """The JSON texts that stand for a value that is not carried, as a list of SQL."""
    encoded = base64.b64encode(changes.unavailable.encode()).decode()
    texts = (json.dumps(text, ensure_ascii=False) for text in (changes.unavailable, encoded))
    return ", ".join(quote_literal(text) for text in texts)


def fast_value(
    field: pa.Field[Any],
    q: str,
    how: str | None,
    changes: ChangeFormat,
    timezone: str | None,
) -> FastValue:
    """How a column is read.

    Args:
        field: The column.
        q: SQL of the JSON text.
        how: What the record's schema says of it (:mod:`.connect`).
        changes: Options.
        timezone: What times without a zone mean.
    """
    kind: Any = field.type
    name = duckdb_type(kind)
    nothing = FastValue(f"CAST(NULL AS {name})", "false", None)
    decimal = how is not None and how.startswith("decimal")
    if is_json(field) or pa.types.is_string(kind):
        if decimal or (how is not None and how.startswith("time_")):
            return nothing
        return _text(field, q, changes)
    if pa.types.is_decimal(kind):
        return _decimal(kind, q, how, changes)
    if decimal:
        return nothing
    if pa.types.is_integer(kind):
        value = f"TRY_CAST({q} AS {name})"
        return FastValue(value, f"{value} IS NOT NULL", r"-?\d{1,19}")
    if pa.types.is_floating(kind):
        return _floating(kind, q)
    if pa.types.is_boolean(kind):
        yes, no = "('true', '1', '\"1\"', '\"true\"')", "('false', '0', '\"0\"', '\"false\"')"
        value = f"CASE WHEN {q} IN {yes} THEN true WHEN {q} IN {no} THEN false END"
        return FastValue(value, None, '"?(?:true|false|0|1)"?')
    if pa.types.is_date(kind):
        days = f"TRY_CAST({q} AS INTEGER)"
        value = (
            f"CASE WHEN starts_with({q}, '\"') THEN TRY_CAST({_bare(q)} AS DATE) "
            f"WHEN {days} BETWEEN {_LEAST_DAY} AND {_LAST_DAY} THEN DATE '1970-01-01' + {days} END"
        )
        good = f"({value}) IS NOT NULL AND NOT starts_with({q}, '\"0000')"
        return FastValue(value, good, rf"-?\d{{1,7}}|{_DATE_TEXT}")
    if pa.types.is_timestamp(kind):
        return _timestamp(field.name, q, how, changes, timezone)
    if pa.types.is_binary(kind) and changes.binary == "base64" and changes.shape == "debezium":
        value = f"TRY(from_base64({_encoded(q)}))"
        good = f"({value}) IS NOT NULL AND {q} NOT IN ({placeholders(changes)})"
        return FastValue(value, good, r'"[A-Za-z0-9+/]*={0,2}"')
    if pa.types.is_list(kind):
        return _list(kind, q, changes) or nothing
    return nothing


def _list(kind: Any, q: str, changes: ChangeFormat) -> FastValue | None:
    """Lists of plain texts, or of integers that surely fit."""
    if is_json(kind.value_field):
        return None
    if pa.types.is_string(kind.value_type):
        item = r'"[^"\\]*"'
    elif pa.types.is_integer(kind.value_type):
        # Without leading zeros, which are no JSON.
        item = rf"-?(?:0|[1-9]\d{{0,{_LIST_DIGITS[kind.value_type.bit_width] - 1}}})"
    else:
        return None
    value = f"TRY_CAST(json_extract_string({q}, '$[*]') AS {duckdb_type(kind)})"
    value = f"CASE WHEN {q} <> 'null' THEN {value} END"
    marks = placeholders(changes)
    good = f"list_position([{marks}], trim({q}, '[]')) IS NULL"
    return FastValue(value, good, rf"\[(?:{item}(?:,{item})*)?\]")


def _bare(q: str) -> str:
    """A text without escapes and without its quotes, or a number."""
    return f"trim({q}, '\"')"


def _encoded(q: str) -> str:
    """A text in base64, which the word null would be, too."""
    return f"CASE WHEN starts_with({q}, '\"') THEN {_bare(q)} END"


def _text(field: pa.Field[Any], q: str, changes: ChangeFormat) -> FastValue:
    """Strings; a JSON column is taken where it comes as one."""
    # A text without backslashes has no quotes inside, so none but its own are trimmed.
    plain = f"CASE WHEN contains({q}, '\\') THEN json_extract_string({q}, '$') ELSE {_bare(q)} END"
    skipped = f"{q} IN ({placeholders(changes)})" if changes.shape == "debezium" else None
    good = f"starts_with({q}, '\"')"
    empty = f"{q} = 'null'" if skipped is None else f"{q} = 'null' OR {skipped}"
    value = f"CASE WHEN {empty} THEN NULL ELSE {plain} END"
    if is_json(field):
        if changes.shape == "maxwell":
            return FastValue("CAST(NULL AS VARCHAR)", "false", None)
        good += f" AND json_valid({value}) AND NOT regexp_matches({value}, '{LENIENT}')"
        if skipped is not None:
            good = f"{skipped} OR ({good})"
    return FastValue(value, good, None, skipped)


def _decimal(kind: Any, q: str, how: str | None, changes: ChangeFormat) -> FastValue:
    name, scale = duckdb_type(kind), kind.scale
    number = rf"-?\d+(?:\.\d{{1,{scale}}})?" if scale else r"-?\d+"
    guessed = how is None and changes.shape == "debezium"
    if how is not None and how.startswith("decimal"):
        written = how.partition(":")[2]
        return _unscaled(kind, q, int(written) if written else -1)
    if guessed and changes.decimals == "precise":
        unscaled = _unscaled(kind, q, scale)
        value = (
            f"CASE WHEN starts_with({q}, '\"') THEN {unscaled.value} "
            f"ELSE TRY_CAST({q} AS {name}) END"
        )
        return FastValue(value, f"({value}) IS NOT NULL", f"{number}|{unscaled.pattern}")
    texts = number
    if guessed and changes.decimals is None:
        texts = rf"-?\d+\.\d{{1,{scale}}}" if scale else r"-\d+"
    value = f"TRY_CAST({_bare(q)} AS {name})"
    return FastValue(value, f"{value} IS NOT NULL", f'{number}|"(?:{texts})"')


def _unscaled(kind: Any, q: str, scale: int) -> FastValue:
    """Base64 of up to seven bytes: the number without its point, big end first."""
    name = duckdb_type(kind)
    if not 0 <= scale <= _MOST_SCALE:
        return FastValue(f"CAST(NULL AS {name})", "false", None)
    raw = f"TRY(from_base64({_encoded(q)}))"
    digits = f"hex({raw})"
    whole = f"TRY_CAST('0x' || {digits} AS BIGINT)"
    # A condition's branch may be worked out for rows that are not of it: no shift may fail.
    over = f"CASE WHEN {digits} >= '8' THEN 1::BIGINT << (8 * least(octet_length({raw}), 7)) ELSE 0 END"
    signed = f"({whole} - {over})"
    part = f"CAST('1e-{scale}' AS DECIMAL({scale + 1},{scale}))"
    value = f"TRY_CAST(CAST({signed} AS DECIMAL(18,0)) * {part} AS {name})"
    good = f"({value}) IS NOT NULL"
    if scale > kind.scale:
        good += f" AND {signed} % {10 ** (scale - kind.scale)} = 0"
    return FastValue(value, good, '"[A-Za-z0-9+/]{2,10}={0,2}"')


def _floating(kind: Any, q: str) -> FastValue:
    single = pa.types.is_float32(kind)
    value = f"TRY_CAST({q} AS DOUBLE)"
    if single:
        value = f"TRY_CAST({value} AS FLOAT)"
    most = 6 if single else 15  # digits of an integer that it surely holds
    pattern = rf"-?(?:\d{{1,{most}}}|\d+\.\d+|\d+(?:\.\d+)?[eE][-+]?\d+)"
    return FastValue(value, f"isfinite({value})", pattern)


def _timestamp(
    column: str, q: str, how: str | None, changes: ChangeFormat, timezone: str | None
) -> FastValue:
    utc = timezone == "UTC"
    unit = how if how in {"ms", "us", "ns"} else changes.unit(column)
    text = f"TRY_CAST({_bare(q)} AS TIMESTAMPTZ)"
    pattern = f'"{_CLOCK_TEXT}{_ZONE}{"?" if utc else ""}"'
    good = f"{text} IS NOT NULL AND {q} >= '\"0001-01-02' AND {q} < '\"9999-12-31'"
    if unit is None or not utc:
        return FastValue(text, good, pattern)
    count = f"TRY_CAST({q} AS BIGINT)"
    micros = {"ms": f"{count} * 1000", "us": count, "ns": f"{count} // 1000"}[unit]
    within = {
        "ms": f"{count} BETWEEN {_LEAST_MICROS // 1000} AND {_LAST_MICROS // 1000}",
        "us": f"{count} BETWEEN {_LEAST_MICROS} AND {_LAST_MICROS}",
        "ns": f"{count} % 1000 = 0",
    }[unit]
    number = f"CASE WHEN {within} THEN CAST(make_timestamp({micros}) AS TIMESTAMPTZ) END"
    value = f"CASE WHEN starts_with({q}, '\"') THEN {text} ELSE {number} END"
    good = f"CASE WHEN starts_with({q}, '\"') THEN {good} ELSE ({number}) IS NOT NULL END"
    return FastValue(value, good, rf"{pattern}|-?\d{{1,19}}")
