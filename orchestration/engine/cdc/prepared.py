"""Statements over chunks, prepared once for each thread: planning one takes longer than most run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["Prepared"]

_MEMORY = "512MB"


class Prepared:
    """Runs statements on a database of its own; may be used from several threads.

    Args:
        relation: The name under which a statement finds its input.
    """

    def __init__(self, relation: str) -> None:
        self._relation = relation
        self._lock = threading.Lock()
        self._own = threading.local()
        self._database: duckdb.DuckDBPyConnection | None = None

    def run(self, sql: str, given: pa.Table) -> pa.Table | None:
        """The rows of a statement, in the order that it gives them.

        ``None`` where a value makes it fail: the caller reads these lines otherwise.
        """
        mine: _Thread | None = getattr(self._own, "thread", None)
        if mine is None:
            mine = self._own.thread = _Thread(self._cursor(), self._relation)
        return mine.run(sql, given)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        with self._lock:
            if self._database is None:
                self._database = duckdb.connect(":memory:")
                for setting in (
                    "threads = 1",  # the chunks are what is worked on side by side
                    f"memory_limit = '{_MEMORY}'",
                    "enable_external_access = false",
                    "python_enable_replacements = false",
                ):
                    self._database.execute(f"SET {setting}")
            cursor = self._database.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor


class _Input:
    """A relation whose rows are those of the chunk in hand."""

    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        table: Any = self.table
        return table.__arrow_c_stream__(requested_schema)


class _Thread:
    def __init__(self, cursor: duckdb.DuckDBPyConnection, relation: str) -> None:
        self._cursor = cursor
        self._relation = relation
        self._input = _Input()
        self._names: dict[str, str] = {}

    def run(self, sql: str, given: pa.Table) -> pa.Table | None:
        import duckdb

        self._input.table = given
        name = self._names.get(sql)
        if name is None:
            if not self._names:
                self._cursor.register(self._relation, self._input)
            name = f"headwater_{len(self._names)}"
            self._cursor.execute(f"PREPARE {name} AS {sql}")
            self._names[sql] = name
        try:
            found: pa.Table = self._cursor.sql(f"EXECUTE {name}").to_arrow_table()
        except (duckdb.DataError, duckdb.InvalidInputException):
            return None
        else:
            return found
        finally:
            del self._input.table
