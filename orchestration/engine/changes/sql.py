"""Pieces of SQL that all kinds of tables of changes are made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import duckdb

__all__ = ["Step", "content", "differs", "drop", "listed", "same"]


def listed(names: Iterable[str], relation: str = "") -> str:
    """Columns, of a relation if one is named."""
    start = f"{relation}." if relation else ""
    return ", ".join(start + quote_identifier(name) for name in names)


def same(names: Sequence[str], left: str, right: str) -> str:
    """That two relations agree in columns without nulls."""
    return " AND ".join(
        f"{left}.{column} = {right}.{column}" for column in map(quote_identifier, names)
    )


def differs(names: Sequence[str], left: str, right: str) -> str:
    """That two relations do not agree in one of these columns; null agrees with null."""
    return (
        " OR ".join(
            f"{left}.{column} IS DISTINCT FROM {right}.{column}"
            for column in map(quote_identifier, names)
        )
        or "false"
    )


def content(names: Sequence[str], relation: str) -> str:
    """A value that orders rows column by column, null lowest."""
    parts = ["a := 0"]
    for number, name in enumerate(names):
        column = f"{relation}.{quote_identifier(name)}"
        parts += [f"n{number} := {column} IS NOT NULL", f"v{number} := {column}"]
    return f"struct_pack({', '.join(parts)})"


class Step:
    """Makes temporary relations under one prefix, and knows which.

    Args:
        connection: Where.
        prefix: Start of the names.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, prefix: str) -> None:
        self.connection = connection
        self.prefix = prefix
        self.tables: list[str] = []
        self.views: list[str] = []

    def table(self, name: str, query: str) -> str:
        """A temp table of a query's rows; its name."""
        full = f"{self.prefix}_{name}"
        self.connection.execute(f"CREATE TEMP TABLE {full} AS {query}")
        self.tables.append(full)
        return full

    def view(self, name: str, query: str) -> str:
        """A temp view; its name."""
        full = f"{self.prefix}_{name}"
        self.connection.execute(f"CREATE TEMP VIEW {full} AS {query}")
        self.views.append(full)
        return full

    def drop(self, name: str) -> None:
        """Let go of a table that nothing needs any more."""
        self.connection.execute(f"DROP TABLE {name}")
        self.tables.remove(name)

    def row(self, query: str) -> tuple[Any, ...]:
        """The only row of a query; for counts, never for data."""
        return tuple(self.connection.execute(query).fetchall()[0])

    def value(self, query: str) -> Any:
        """The only value of a query; for counts, never for data."""
        return self.row(query)[0]

    def undo(self, keep: Collection[str] = ()) -> None:
        """Drop what was made, but for some of it."""
        drop(self.connection, self.views, self.tables, keep)
        self.views = [name for name in self.views if name in keep]
        self.tables = [name for name in self.tables if name in keep]


def drop(
    connection: duckdb.DuckDBPyConnection,
    views: Iterable[str],
    tables: Iterable[str],
    keep: Collection[str] = (),
) -> None:
    """Drop views and tables that are there, but for some."""
    for kind, names in (("VIEW", views), ("TABLE", tables)):
        for name in names:
            if name not in keep:
                connection.execute(f"DROP {kind} IF EXISTS {name}")
