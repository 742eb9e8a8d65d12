"""The scratch tables of one batch in one DuckDB connection."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["Tables"]

_hash_names: dict[str, str] = {}


class Tables:
    """Makes tables, registers Arrow data, and tidies up after the batch.

    Tables are DuckDB's own, so they spill to its temporary directory like everything else.

    Args:
        connection: Used by this batch alone meanwhile.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._number = 0
        self._tables: list[str] = []
        self._registered: list[str] = []

    @property
    def hash_name(self) -> str:
        """Tells one hash function from another: releases of DuckDB may change theirs."""
        import duckdb

        version = duckdb.__version__
        if version not in _hash_names:
            found = self.value(
                "SELECT hash('headwater', 42::BIGINT, TIMESTAMPTZ '2000-01-01 00:00:00Z')::VARCHAR"
            )
            _hash_names[version] = str(found)
        return _hash_names[version]

    def create(self, query: str) -> str:
        """A new table with a query's rows; its name."""
        name = self.reserve()
        self.connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        self._tables.append(name)
        return name

    def reserve(self) -> str:
        """A name that nothing has yet."""
        self._number += 1
        return f"headwater_t{self._number}"

    def register(self, data: pa.Table | pa.RecordBatchReader, name: str | None = None) -> str:
        """Arrow data under a name, a new one by default. A reader can be read once."""
        name = name or self.reserve()
        self.connection.register(name, data)
        self._registered.append(name)
        return name

    def drop(self, name: str) -> None:
        """Let go of a table before the batch ends."""
        self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        with suppress(ValueError):
            self._tables.remove(name)

    def value(self, query: str) -> Any:
        """The only value of a query."""
        return self.row(query)[0]

    def row(self, query: str) -> tuple[Any, ...]:
        """The only row of a query; for counts and bounds, never for data."""
        found = self.connection.execute(query).fetchall()
        return tuple(found[0])

    def close(self) -> None:
        """Drop everything."""
        for name in self._registered:
            self.connection.unregister(name)
        for name in list(self._tables):
            self.drop(name)
        self._registered.clear()
