"""Parquet files as pieces of rows, converted only where that changes no value.

Integers, decimals and floats widen; narrower ones are taken value by value where they fit.
Timestamps of any unit become microseconds where no digit is lost, and those without a zone need
the source's ``timezone``. A row with a value that does not fit is a bad record; a column of
another kind (text for a number) sets the file aside whole, and so does a damaged page: files are
decoded once before their first row is used.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.engine.coercions import shown
from orchestration.engine.feed import Piece, Reader, Work
from orchestration.engine.line_chunks import UnreadableFile
from orchestration.engine.quarantine import BadRecord, bad_line
from orchestration.sources.arrow_values import Impossible, converted
from orchestration.streams.schema import duckdb_type, is_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.base import FileFormat, InputFile

__all__ = ["ParquetFiles"]

_ROWS = 65_536
_SMALL = 64 * 1024 * 1024  # bytes of decoded data that are kept instead of decoded twice


class ParquetFiles(Reader):
    """Columns by name; those that a file lacks are null in it.

    Args:
        schema: Columns that stand in the data.
        format: How to read it.
    """

    def __init__(self, schema: pa.Schema, format: FileFormat) -> None:  # noqa: A002
        self._schema = schema
        self._format = format
        self.fields = list(schema)
        if format.rescue:
            self.fields.append(pa.field("_rescued", pa.string()))

    def works(self, file: InputFile) -> Iterator[Work]:
        """Batches of rows of a file."""
        with file.local.open("rb") as opened_at_all:
            if not opened_at_all.read(1):
                return
        try:
            opened = pq.ParquetFile(file.local)
            self._check(opened.schema_arrow)
            names = None if self._format.rescue else self._present(opened.schema_arrow)
            groups = range(opened.metadata.num_row_groups)
            small = sum(opened.metadata.row_group(n).total_byte_size for n in groups) < _SMALL
            batches = opened.iter_batches(_ROWS, columns=names)
            kept = list(batches) if small else None
            if kept is None:
                for _ in batches:
                    pass
                kept_or_again: Any = opened.iter_batches(_ROWS, columns=names)
            else:
                kept_or_again = kept
        except (OSError, pa.ArrowException) as error:
            raise UnreadableFile(f"no readable Parquet: {error}") from None
        for batch in kept_or_again:
            yield partial(self._piece, batch)

    def _present(self, found: pa.Schema) -> list[str]:
        return [item.name for item in self._schema if item.name in set(found.names)]

    def _check(self, found: pa.Schema) -> None:
        for item in self._schema:
            at = found.get_all_field_indices(item.name)
            if len(at) > 1:
                raise UnreadableFile(f"{item.name}: the file has this column {len(at)} times")
            if at:
                try:
                    converted(pa.array([], found.field(at[0]).type), item.type, self._zone)
                except Impossible as error:
                    raise UnreadableFile(f"{item.name}: {error}") from None

    @property
    def _zone(self) -> str | None:
        return self._format.timezone

    def _piece(self, batch: pa.RecordBatch) -> Piece:
        rows = batch.num_rows
        good = np.ones(rows, dtype=bool)
        reasons: dict[int, str] = {}
        columns: list[Any] = []
        for item in self._schema:
            if item.name not in batch.schema.names:
                columns.append(pa.nulls(rows, item.type))
                continue
            column, failed = self._column(batch.column(item.name), item)
            for number, reason in failed.items():
                reasons.setdefault(number, f"{item.name}: {reason}")
            columns.append(column)
        if self._format.rescue:
            columns.append(self._rescued(batch))
        good[list(reasons)] = False
        bad = [
            _bad(number, reason, batch, self._format.max_line_bytes)
            for number, reason in sorted(reasons.items())
        ]
        numbers = np.flatnonzero(good)
        if len(numbers) < rows:
            columns = [column.take(pa.array(numbers)) for column in columns]
        return Piece([(columns, numbers + 1)], bad, rows)

    def _column(self, column: Any, field: pa.Field[Any]) -> tuple[Any, dict[int, str]]:
        """The column in its declared type, and the rows where it does not fit."""
        try:
            return converted(column, field.type, self._zone), {}
        except (pa.ArrowException, ValueError):
            pass
        pieces, failed = [], {}
        for number in range(len(column)):
            try:
                pieces.append(converted(column.slice(number, 1), field.type, self._zone))
            except (pa.ArrowException, ValueError):
                pieces.append(pa.nulls(1, field.type))
                name = "JSON" if is_json(field) else duckdb_type(field.type)
                failed[number] = (
                    f"{shown(_python(column, number))} does not fit {name} without loss"
                )
        return pa.concat_arrays(pieces), failed

    def _rescued(self, batch: pa.RecordBatch) -> Any:
        known = set(self._schema.names)
        names = [name for name in batch.schema.names if name not in known]
        if not names:
            return pa.nulls(batch.num_rows, pa.string())
        texts = []
        for row in batch.select(names).to_pylist():
            held = {name: value for name, value in row.items() if value is not None}
            texts.append(json.dumps(held, default=str) if held else None)
        return pa.array(texts, pa.string())


def _bad(number: int, reason: str, batch: pa.RecordBatch, limit: int) -> BadRecord:
    row = {name: _python(batch.column(name), number) for name in batch.schema.names}
    text = json.dumps(row, default=str, ensure_ascii=False).encode("utf-8", "replace")
    return bad_line(number + 1, reason, text, keep=limit)


def _python(column: Any, number: int) -> Any:
    """A value for people; dates and nanoseconds beyond Python's own are texts."""
    one = column.slice(number, 1)
    for as_text in (False, True):
        try:
            return (one.cast(pa.string()) if as_text else one)[0].as_py()
        except (pa.ArrowException, ValueError, OverflowError):
            continue
    return "a value that cannot be shown"
