"""Offsets: where a query stands in a server's log, and in the first copy of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from orchestration.sources.postgres.rows import lsn_number, lsn_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SETUP", "Chunk", "Position"]

#: The offset of a query whose slot is made, and which has read nothing yet.
SETUP = "setup"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a table in its first copy.

    Attributes:
        table: ``schema.name``.
        after: Key of the last row of the part before, as texts; ``None`` from the start.
        upto: Key of the last row; ``None`` to the end.
    """

    table: str
    after: tuple[str, ...] | None
    upto: tuple[str, ...] | None

    def to_json(self) -> dict[str, Any]:
        """The part as JSON."""
        return {
            "table": self.table,
            "after": None if self.after is None else list(self.after),
            "upto": None if self.upto is None else list(self.upto),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        after, upto = value["after"], value["upto"]
        return cls(
            value["table"],
            None if after is None else tuple(after),
            None if upto is None else tuple(upto),
        )


@dataclass(frozen=True, slots=True)
class Position:
    """Everything that is read, and what it was read of.

    Attributes:
        lsn: Changes of transactions that end here or before are read.
        system: The server's identity.
        publication: Number of the publication.
        tables: Tables that are copied, and what they were known as.
        relations: Table number to the digest of its shape at this place of the log.
        chunk: The part of a table that ends here, while tables are copied.
    """

    lsn: int
    system: str
    publication: str
    tables: Mapping[str, str] = field(default_factory=dict)
    relations: Mapping[str, str] = field(default_factory=dict)
    chunk: Chunk | None = None

    def to_json(self) -> dict[str, Any]:
        """The position as an offset."""
        value: dict[str, Any] = {
            "lsn": lsn_text(self.lsn),
            "system": self.system,
            "publication": self.publication,
            "tables": dict(self.tables),
            "relations": dict(self.relations),
        }
        if self.chunk is not None:
            value["chunk"] = self.chunk.to_json()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        chunk = value.get("chunk")
        return cls(
            lsn_number(value["lsn"]),
            value["system"],
            value["publication"],
            value["tables"],
            value["relations"],
            None if chunk is None else Chunk.from_json(chunk),
        )
