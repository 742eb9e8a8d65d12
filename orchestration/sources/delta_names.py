"""Column mapping: files whose columns have other names than the table's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Named", "is_mapped", "names_of"]

_MODE = "delta.columnMapping.mode"
_PHYSICAL = "delta.columnMapping.physicalName"


@dataclass(frozen=True, slots=True)
class Named:
    """What a column of a file is in the table.

    Attributes:
        name: Its name there.
        kind: Its type, as Delta's JSON.
    """

    name: str
    kind: Any

    def column(self, found: Any) -> Any:
        """The same values with the table's names inside; nothing is copied."""
        wanted = _renamed(found.type, self.kind)
        # Not a cast: one between structs of other names gives nulls.
        return found if wanted == found.type else found.view(wanted)

    def type_of(self, found: Any) -> Any:
        """The type of :meth:`column`."""
        return _renamed(found, self.kind)


def is_mapped(configuration: Mapping[str, str]) -> bool:
    """Whether the columns of a table have other names in its files."""
    return configuration.get(_MODE, "none") != "none"


def names_of(schema: str) -> dict[str, Named]:
    """Name in the files to the column of a schema in Delta's JSON."""
    return {_physical(item): Named(item["name"], item["type"]) for item in _fields(schema)}


def _fields(schema: str) -> list[dict[str, Any]]:
    return list(json.loads(schema)["fields"])


def _physical(field: Mapping[str, Any]) -> str:
    return str((field.get("metadata") or {}).get(_PHYSICAL, field["name"]))


def _renamed(found: Any, kind: Any) -> Any:
    """An Arrow type of a file with the names that a Delta type has."""
    if not isinstance(kind, dict):
        return found
    if pa.types.is_struct(found) and kind["type"] == "struct":
        inside = {_physical(item): item for item in kind["fields"]}
        parts: list[pa.Field[Any]] = []
        for part in found:
            field = inside.get(part.name)
            parts.append(
                part
                if field is None
                else pa.field(field["name"], _renamed(part.type, field["type"]))
            )
        return pa.struct(parts)
    if pa.types.is_map(found) and kind["type"] == "map":
        return pa.map_(
            _renamed(found.key_type, kind["keyType"]), _renamed(found.item_type, kind["valueType"])
        )
    if pa.types.is_list(found) and kind["type"] == "array":
        element = found.value_field
        return pa.list_(pa.field(element.name, _renamed(element.type, kind["elementType"])))
    return found
