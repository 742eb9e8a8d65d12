"""What a record's own schema (Kafka Connect's JSON converter) says of how values are written."""

from __future__ import annotations

from typing import Any

from orchestration.engine.coercions import BadValue

__all__ = ["PLAIN", "row_encodings"]

#: As the value's type in JSON says, and no other way.
PLAIN = "plain"

_NAMES = {
    "io.debezium.time.Timestamp": "ms",
    "io.debezium.time.MicroTimestamp": "us",
    "io.debezium.time.NanoTimestamp": "ns",
    "org.apache.kafka.connect.data.Timestamp": "ms",
    "io.debezium.time.Time": "time_ms",
    "io.debezium.time.MicroTime": "time_us",
    "io.debezium.time.NanoTime": "time_ns",
    "org.apache.kafka.connect.data.Time": "time_ms",
    "io.debezium.data.VariableScaleDecimal": "decimal",
}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


def row_encodings(schema: Any, *, unwrapped: bool) -> dict[str, str]:
    """Column to encoding, of the row that a record holds.

    ``ms``, ``us``, ``ns``: a count since the epoch; ``time_…``: since midnight; ``decimal:2``:
    base64 of the unscaled number; ``decimal``: with its own scale; else :data:`PLAIN`.

    Args:
        schema: The record's ``schema``.
        unwrapped: It is that of the row itself, not of an envelope.

    Raises:
        BadValue: It is no schema of Kafka Connect's.
    """
    fields = _fields(schema)
    if not unwrapped:
        inner: list[Any] = []
        for item in fields:
            if item.get("field") == "after" or (item.get("field") == "before" and not inner):
                inner = _fields(item)
        fields = inner
    return {str(item.get("field")): _encoding(item) for item in fields}


def _fields(schema: Any) -> list[dict[str, Any]]:
    found = schema.get("fields") if isinstance(schema, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadValue("the record's schema is not one of Kafka Connect's")
    return found


def _encoding(field: dict[str, Any]) -> str:
    name = field.get("name")
    if name == _DECIMAL:
        parameters = field.get("parameters")
        scale = parameters.get("scale") if isinstance(parameters, dict) else None
        text = str(scale)
        if not text.lstrip("-").isdigit() or len(text) > 5:
            raise BadValue(f"the record's schema gives a decimal the scale {text}")
        return f"decimal:{text}"
    return _NAMES.get(name, PLAIN) if isinstance(name, str) else PLAIN
