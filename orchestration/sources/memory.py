"""Rows that a test puts in by hand: replayable like any source, gone with the process."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.cursors.records import Slice
from orchestration.errors import SchemaError, SourceUnavailable
from orchestration.sources.base import UNLIMITED, Backlog, Limits
from orchestration.sources.fileless import Fileless
from orchestration.sources.inputs import TableInput
from orchestration.sources.rows import rows_to_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.sources.base import SourceHistory

__all__ = ["MemorySource"]


class MemorySource(Fileless):
    """A list of rows that only grows.

    Offsets are ``{"rows": n}``: how many rows are planned. Safe to add to from any thread.

    Args:
        schema: Column to DuckDB type, or an Arrow schema.
        name: Unique within the query.
        limits: How much a batch reads; only ``max_rows`` means anything.
    """

    on_bad_record: Literal["quarantine", "fail"] = "fail"
    max_bad_fraction: float | None = None

    def __init__(
        self,
        schema: Mapping[str, str] | pa.Schema,
        *,
        name: str = "memory",
        limits: Limits = UNLIMITED,
    ) -> None:
        from orchestration.streams.schema import parse_schema

        self.name = name
        self.limits = limits
        self.schema: pa.Schema = schema if isinstance(schema, pa.Schema) else parse_schema(schema)
        self._table = self.schema.empty_table()
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """What it is."""
        return f"rows in memory ({self.name})"

    def describe(self) -> dict[str, Any]:
        """What is read, as JSON."""
        from orchestration.streams.schema import schema_to_json

        return {
            "kind": "memory",
            "name": self.name,
            "path": self.name,
            "format": "rows",
            "schema": schema_to_json(self.schema),
        }

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; a column that a row does not have is null in it.

        Args:
            rows: Column to value. Timestamps are ISO strings, aware datetimes, or seconds since
                the epoch.

        Raises:
            SchemaError: A row has a column that is not in the schema, or a value its type
                cannot hold without loss. Nothing is added then.
        """
        more = rows_to_table(rows, self.schema)
        with self._lock:
            self._table = pa.concat_tables([self._table, more])

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self._table.num_rows)

    def complete_schema(self, data: pa.Schema) -> pa.Schema:
        """The schema as it is: nothing is added to it."""
        return data

    def poll(self, history: SourceHistory, *, clock: Clock, settings: Settings) -> Backlog:
        """Count the rows."""
        del clock, settings
        start, end = int(history.offset.get("rows", 0)), self.rows
        if start > end:
            raise SourceUnavailable(
                f"{start} rows of {self.name!r} were planned and only {end} are in memory",
                remedy="add them again: a source in memory ends with its process",
            )
        return Backlog(start={"rows": start}, end={"rows": end}, rows=end - start, seen=end)

    def take(
        self, backlog: Backlog, limits: Limits, *, settings: Settings
    ) -> tuple[Slice, Backlog]:
        """The next rows, ``max_rows`` at most."""
        del settings
        start, last = int(backlog.start["rows"]), int(backlog.end["rows"])
        end = last if limits.max_rows is None else min(last, start + limits.max_rows)
        part = Slice(self.name, backlog.start, {"rows": end}, latest=backlog.end)
        return part, replace(backlog, start=part.end, rows=last - end)

    def open(self, part: Slice, *, schema: pa.Schema | None, settings: Settings) -> TableInput:
        """The slice's rows.

        Raises:
            SourceUnavailable: They were added in a process that ended.
        """
        del settings
        start, end = int(part.start.get("rows", 0)), int(part.end.get("rows", 0))
        table = self._table
        if end > table.num_rows:
            raise SourceUnavailable(
                f"rows {start} to {end} of {self.name!r} were planned and only "
                f"{table.num_rows} are in memory",
                remedy="add them again: a source in memory ends with its process",
            )
        rows = table.slice(start, end - start)
        if schema is not None and schema.names != rows.column_names:
            raise SchemaError(f"expected the columns {rows.column_names}, found {schema.names}")
        return TableInput(rows)

    def acknowledge(self, part: Slice) -> None:
        """Nothing to do: rows stay, so that a restart can replay them."""
