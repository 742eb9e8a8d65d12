"""Types of columns as the server writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.sources.postgres.connection import talking

if TYPE_CHECKING:
    import psycopg

    from orchestration.sources.postgres.wire import RelationMessage

__all__ = ["TypeNames"]


class TypeNames:
    """Asks for each type once.

    Args:
        connection: To the server whose numbers they are.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._known: dict[tuple[int, int], str] = {}

    def of(self, relation: RelationMessage) -> tuple[str, ...]:
        """``bigint``, ``numeric(12,2)``, ``timestamp with time zone[]`` …, a column each."""
        pairs = [(item.type_oid, item.type_modifier) for item in relation.columns]
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        if missing:
            with talking():
                rows = self._connection.execute(
                    "SELECT format_type(o, m) FROM unnest(%s::int8[], %s::int4[]) "
                    "WITH ORDINALITY t(o, m, place) ORDER BY place",
                    ([oid for oid, _ in missing], [modifier for _, modifier in missing]),
                ).fetchall()
            self._known |= dict(zip(missing, (str(row[0]) for row in rows), strict=True))
        return tuple(self._known[pair] for pair in pairs)
