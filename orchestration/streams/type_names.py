"""DuckDB's type names and the Arrow types they stand for.

Only types that newline JSON, CSV, Parquet and Delta all keep without loss are taken. Every
other name is refused with the name to write instead, because the lossy alternative (a HUGEINT
that becomes a DOUBLE, a timestamp that changes with the machine's zone) shows itself too late.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import SchemaError
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["duckdb_type", "field_type", "is_json", "parse_field", "parse_type"]

_JSON_METADATA = {b"headwater": b"json"}

# sqlglot's name of a type -> (DuckDB's name, Arrow type)
_SIMPLE: dict[str, tuple[str, pa.DataType]] = {
    "BOOLEAN": ("BOOLEAN", pa.bool_()),
    "TINYINT": ("TINYINT", pa.int8()),
    "SMALLINT": ("SMALLINT", pa.int16()),
    "INT": ("INTEGER", pa.int32()),
    "BIGINT": ("BIGINT", pa.int64()),
    "FLOAT": ("FLOAT", pa.float32()),
    "DOUBLE": ("DOUBLE", pa.float64()),
    "TEXT": ("VARCHAR", pa.string()),
    "NVARCHAR": ("VARCHAR", pa.string()),
    "VARBINARY": ("BLOB", pa.binary()),
    "DATE": ("DATE", pa.date32()),
    "TIMESTAMPTZ": ("TIMESTAMPTZ", pa.timestamp("us", "UTC")),
    "JSON": ("JSON", pa.string()),
}
_KNOWN_NAMES = (
    *sorted({name for name, _ in _SIMPLE.values()}),
    "DECIMAL(18, 3)",
    "INTEGER[]",
    "MAP(VARCHAR, VARCHAR)",
    "STRUCT(a INTEGER)",
)
_SPELLINGS = (
    *(name for name, _ in _SIMPLE.values()),
    *("INT", "REAL", "TEXT", "STRING", "DECIMAL", "NUMERIC", "STRUCT", "MAP", "LIST", "BOOL"),
    "TIMESTAMP WITH TIME ZONE",
)

_NAIVE = (
    "a timestamp without a zone means another moment on every machine",
    'write TIMESTAMPTZ; where the data names no zone, say so once with timezone="..." on the source',
)
_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "TIMESTAMP",
            "TIMESTAMPNTZ",
            "TIMESTAMPLTZ",
            "DATETIME",
            "TIMESTAMP_S",
            "TIMESTAMP_MS",
            "TIMESTAMP_NS",
        ),
        _NAIVE,
    ),
    **dict.fromkeys(
        ("TIME", "TIMETZ", "TIME_NS"),
        ("a Delta table has no type for a time of day", "write VARCHAR, cast in select"),
    ),
    "INTERVAL": ("a Delta table has no type for it", "write BIGINT with a unit, e.g. seconds"),
    "UUID": ("a Delta table has no type for it", "write VARCHAR"),
    "INT128": ("it would be stored as DOUBLE, with digits lost", "write DECIMAL(38, 0)"),
    "UINT128": ("it would be stored as DOUBLE, with digits lost", "write DECIMAL(38, 0)"),
    "UTINYINT": ("a Delta table has no unsigned types", "write SMALLINT, the next signed one"),
    "USMALLINT": ("a Delta table has no unsigned types", "write INTEGER, the next signed one"),
    "UINT": ("a Delta table has no unsigned types", "write BIGINT, the next signed one"),
    "UBIGINT": ("a Delta table has no unsigned types", "write DECIMAL(20, 0), which holds it"),
    "ENUM": ("a Delta table has no type for it", "write VARCHAR, test the values in where"),
    "BIT": ("a Delta table has no type for it", "write VARCHAR"),
    "UNION": ("a Delta table has no type for it", "write JSON, or a STRUCT with a field each"),
    "VARIANT": ("a Delta table has no type for it", "write JSON"),
    "BIGNUM": ("a Delta table has no type for it", "write DECIMAL(38, 0) or VARCHAR"),
    "GEOMETRY": ("a Delta table has no type for it", "write BLOB (WKB) or VARCHAR (WKT)"),
    "NULL": ("it says nothing of the values", "write the type that the values will have"),
}


def parse_type(text: str) -> pa.DataType:
    """The Arrow type of a DuckDB type name.

    >>> parse_type("DECIMAL(10, 2)")
    Decimal128Type(decimal128(10, 2))
    >>> parse_type("varchar[]")
    ListType(list<item: string>)

    ``JSON`` gives text; that it is JSON is a property of the field, see :func:`parse_field`.

    Raises:
        SchemaError: The name is unknown, or of a type that cannot be kept without loss.
    """
    found: pa.DataType = parse_field("value", text).type
    return found


def parse_field(name: str, text: str) -> pa.Field[Any]:
    """A nullable Arrow field of a DuckDB type name; JSON is kept in the field's metadata.

    Raises:
        SchemaError: As :func:`parse_type`; the message names the column.
    """
    if not isinstance(text, str):
        raise SchemaError(
            f'column "{name}": a type is a text such as "BIGINT", not {text!r}',
            remedy=f"one of {', '.join(_KNOWN_NAMES)}",
        )
    node = _parse(name, text)
    return _field(name, node, f'column "{name}"')


def is_json(field: pa.Field[Any]) -> bool:
    """Whether a field's text was declared as JSON."""
    return bool(field.metadata and field.metadata.get(b"headwater") == b"json")


def duckdb_type(data_type: pa.DataType) -> str:
    """The DuckDB name of an Arrow type, inverse of :func:`parse_type`.

    >>> duckdb_type(pa.struct([("os", pa.string())]))
    'STRUCT("os" VARCHAR)'

    Raises:
        SchemaError: No Delta table can keep this type without loss.
    """
    return _name(data_type, "a column")


def field_type(field: pa.Field[Any]) -> str:
    """The DuckDB name of a field's type; ``JSON`` where it was declared so.

    Raises:
        SchemaError: As :func:`duckdb_type`; the message names the field.
    """
    return "JSON" if is_json(field) else _name(field.type, f'column "{field.name}"')


def _parse(name: str, text: str) -> exp.DataType:
    import sqlglot
    from sqlglot import exp

    # A statement around it would also take "INT) + (1": the text must be one balanced type.
    if not text.strip() or re.search(r"--|/\*|;|\0|[\ud800-\udfff]", text):
        raise _unknown(name, text)
    if re.search(r"\b(var|n?var|bp|n)?char\s*\(", text, re.IGNORECASE):
        raise SchemaError(
            f'column "{name}": the length in {text.strip()} would not be enforced',
            remedy="write VARCHAR, and test length(...) in where",
        )
    try:
        tree = sqlglot.parse_one(f"CAST(NULL AS {text})", dialect="duckdb")
    except RecursionError:
        raise SchemaError(
            f'column "{name}": its type is nested too deeply', remedy="declare that part as JSON"
        ) from None
    except Exception:  # noqa: BLE001 - a parser given any text at all may fail in any way
        raise _unknown(name, text) from None
    to = tree.args.get("to") if type(tree) is exp.Cast else None
    if not isinstance(to, exp.DataType):
        raise _unknown(name, text)
    return to


def _field(name: str, node: exp.DataType, place: str) -> pa.Field[Any]:
    metadata = _JSON_METADATA if node.this.name == "JSON" else None
    return pa.field(name, _convert(node, place), metadata=metadata)


def _convert(node: exp.DataType, place: str) -> pa.DataType:
    kind, parts = node.this.name, node.expressions
    text = node.sql(dialect="duckdb")
    if kind in _REFUSED:
        reason, remedy = _REFUSED[kind]
        raise SchemaError(f"{place}: {text} cannot be kept: {reason}", remedy=remedy)
    if kind in _SIMPLE:
        if parts:
            raise SchemaError(
                f"{place}: {text} takes no number in parentheses",
                remedy=f"write {_SIMPLE[kind][0]}"
                + (" (microseconds)" if kind == "TIMESTAMPTZ" else ""),
            )
        return _SIMPLE[kind][1]
    if kind == "DECIMAL":
        return _decimal(parts, place, text)
    if kind in {"ARRAY", "LIST"}:
        if node.args.get("values"):
            raise SchemaError(
                f"{place}: a list of fixed length ({text}) cannot be kept",
                remedy="write T[], and test len(...) in where",
            )
        element = _only_types(parts, 1, place, text, "a list has one element type: VARCHAR[]")[0]
        # Arrow's own name of the element, so that the type equals what DuckDB returns
        return pa.list_(_field("item", element, place))
    if kind == "MAP":
        key, value = _only_types(parts, 2, place, text, "write MAP(VARCHAR, T)")
        if key.this.name != "TEXT":
            raise SchemaError(
                f"{place}: the keys of {text} are not VARCHAR, as in JSON they always are",
                remedy=f"write MAP(VARCHAR, {field_type(_field('value', value, place))})",
            )
        of_value: Any = _field("value", value, place)  # a field keeps that the values are JSON
        made: pa.DataType = pa.map_(pa.string(), of_value)
        return made
    if kind == "STRUCT":
        return _struct(parts, place, text)
    raise _unknown_type(place, text)


def _decimal(parts: list[exp.Expr], place: str, text: str) -> pa.DataType:
    try:
        numbers = [int(part.name) for part in parts] or [18, 3]
        precision, scale = numbers if len(numbers) == 2 else (numbers[0], 0)
    except ValueError:
        precision, scale = 0, 0
    if not (1 <= precision <= 38 and 0 <= scale <= precision):
        raise SchemaError(
            f"{place}: {text} is not a decimal: DECIMAL(digits, digits after the point) has 1 to "
            "38 digits, and not more after the point than in all",
            remedy="write e.g. DECIMAL(18, 2)",
        )
    return pa.decimal128(precision, scale)


def _struct(parts: list[exp.Expr], place: str, text: str) -> pa.DataType:
    from sqlglot import exp

    remedy = "write STRUCT(name TYPE, ...), names with odd characters in double quotes"
    fields: list[pa.Field[Any]] = []
    seen: set[str] = set()
    for part in parts:
        kind = part.args.get("kind")
        if not isinstance(part, exp.ColumnDef) or not isinstance(kind, exp.DataType):
            raise SchemaError(f"{place}: a field of {text} lacks its type", remedy=remedy)
        if not part.name or part.name.lower() in seen:
            raise SchemaError(
                f'{place}: field "{part.name}" of {text} is nameless or there twice '
                "(capitals do not count)",
                remedy=remedy,
            )
        seen.add(part.name.lower())
        fields.append(_field(part.name, kind, f"{place}, field {part.name}"))
    if not fields:
        raise SchemaError(f"{place}: {text} has no fields", remedy=remedy)
    return pa.struct(fields)


def _only_types(
    parts: list[exp.Expr], count: int, place: str, text: str, remedy: str
) -> list[exp.DataType]:
    from sqlglot import exp

    types = [part for part in parts if isinstance(part, exp.DataType)]
    if len(parts) != count or len(types) != count:
        raise SchemaError(f"{place}: {text} is incomplete", remedy=remedy)
    return types


def _unknown(name: str, text: str) -> SchemaError:
    return _unknown_type(f'column "{name}"', text)


def _unknown_type(place: str, text: str) -> SchemaError:
    near = difflib.get_close_matches(text.strip().upper(), _SPELLINGS, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return SchemaError(
        f"{place}: {text.strip()!r} is not a type that can be kept{guess}",
        remedy=f"one of {', '.join(_KNOWN_NAMES)}",
    )


_ARROW_NAMES = {data_type: name for key, (name, data_type) in _SIMPLE.items() if key != "JSON"}
_ARROW_NAMES |= {pa.large_string(): "VARCHAR", pa.large_binary(): "BLOB"}
_ARROW_NAMES |= {pa.string_view(): "VARCHAR", pa.binary_view(): "BLOB"}
_ARROW_REFUSED: tuple[tuple[Any, str], ...] = (
    (pa.types.is_time, "CAST(... AS VARCHAR)"),
    (pa.types.is_unsigned_integer, "CAST(... AS BIGINT), or AS DECIMAL(20, 0)"),
    (pa.types.is_null, "CAST(... AS ...) to the type that the values will have"),
    (pa.types.is_interval, "epoch(...), which gives seconds"),
    (pa.types.is_duration, "epoch(...), which gives seconds"),
    (pa.types.is_dictionary, "CAST(... AS VARCHAR)"),
    (pa.types.is_fixed_size_list, "CAST(... AS T[])"),
)


def _name(data_type: pa.DataType, place: str) -> str:
    found = _ARROW_NAMES.get(data_type)
    if found is not None:
        return found
    if pa.types.is_timestamp(data_type) and data_type.tz is not None and data_type.unit == "us":
        return "TIMESTAMPTZ"  # whatever zone it is shown in, it is stored as the moment
    if pa.types.is_decimal(data_type) and data_type.precision <= 38 and data_type.scale >= 0:
        return f"DECIMAL({data_type.precision},{data_type.scale})"
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return f"{_nested(data_type.value_field, place)}[]"
    if pa.types.is_map(data_type) and data_type.key_type in {pa.string(), pa.large_string()}:
        return f"MAP(VARCHAR, {_nested(data_type.item_field, place)})"
    if pa.types.is_struct(data_type) and data_type.num_fields:
        inner = (
            f"{quote_identifier(field.name)} {_nested(field, f'{place}, field {field.name}')}"
            for field in data_type
        )
        return f"STRUCT({', '.join(inner)})"
    if pa.types.is_timestamp(data_type):
        what = "has no zone" if data_type.tz is None else f"counts in {data_type.unit}, not in us"
        raise SchemaError(
            f"{place}: a timestamp that {what} cannot be kept",
            remedy="make it a TIMESTAMPTZ: CAST(... AS TIMESTAMPTZ), or ... AT TIME ZONE 'UTC'",
        )
    remedy = next((text for test, text in _ARROW_REFUSED if test(data_type)), None)
    raise SchemaError(
        f"{place}: the type {data_type} cannot be kept in a Delta table without loss",
        remedy=f"write {remedy}" if remedy else "CAST it to one of " + ", ".join(_KNOWN_NAMES),
    )


def _nested(field: pa.Field[Any], place: str) -> str:
    return "JSON" if is_json(field) else _name(field.type, place)
