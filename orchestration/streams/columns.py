"""The columns that expressions may name at one point of a stream."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Columns", "did_you_mean"]

_SHOWN = 40  # names in a message; a table with more is not read there anyway


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """``; did you mean "x"?`` with the nearest candidate, or nothing.

    >>> did_you_mean("amuont", ["page", "amount"])
    '; did you mean "amount"?'
    """
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f'; did you mean "{by_lower[near[0]]}"?' if near else ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names in order, found without regard to capitals, with a type where it is known.

    Attributes:
        items: Name and Arrow field; the field is ``None`` for the value of an expression, whose
            type only the engine knows.
    """

    items: tuple[tuple[str, pa.Field[Any] | None], ...]
    _by_lower: Mapping[str, tuple[str, pa.Field[Any] | None]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_lower", {item[0].lower(): item for item in self.items})

    @classmethod
    def from_schema(cls, schema: pa.Schema) -> Columns:
        """All columns of a schema, types known."""
        return cls(tuple((item.name, item) for item in schema))

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(name for name, _ in self.items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_lower

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def field_of(self, name: str) -> pa.Field[Any] | None:
        """The type of a column, if known."""
        return self._by_lower[name.lower()][1]

    def suggestion(self, name: str) -> str:
        """What a wrong name was perhaps meant to be; also fields of structs."""
        fields = {
            inner.name.lower(): f"{column}.{inner.name}"
            for column, item in self.items
            if item is not None and pa.types.is_struct(item.type)
            for inner in item.type
        }
        guess = did_you_mean(name, self.names)
        if not guess and name.lower() in fields:
            return f'; did you mean "{fields[name.lower()]}"?'
        return guess

    def listing(self) -> str:
        """The names, for a message."""
        names = self.names
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more
