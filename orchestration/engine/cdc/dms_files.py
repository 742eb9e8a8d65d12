"""AWS DMS's CSV and Parquet files: rows with their operation before them.

The files are read as any others of their format; what is added is what a change has beside its
row. Where a row stands among those of its file is part of its position, so the pieces of a file
wait for the one before them to be counted.
"""

from __future__ import annotations

import csv
import json
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.engine.cdc.dms import DMS_OPS, file_position, table_of_path
from orchestration.engine.cdc.prepared import Prepared
from orchestration.engine.csv_files import CsvFiles
from orchestration.engine.feed import Piece, Reader, Work
from orchestration.engine.line_chunks import UnreadableFile, opened
from orchestration.engine.parquet_files import ParquetFiles
from orchestration.engine.quarantine import bad_line
from orchestration.engine.statements import json_source
from orchestration.sources.cdc_format import CHANGE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.engine.base import FileFormat, InputFile
    from orchestration.engine.cdc.chunk import Ints

__all__ = ["DmsFiles"]

_MOMENT = pa.timestamp("us", "UTC")
_RELATION = "headwater_records"


class DmsFiles(Reader):
    """CSV, also ``.gz`` and ``.zst``, or Parquet.

    Args:
        schema: The columns of the change, then those declared.
        format: How the files are read.
    """

    def __init__(self, schema: pa.Schema, format: FileFormat) -> None:  # noqa: A002
        changes = format.changes
        if changes is None:
            raise TypeError("not a format of changes")
        self._format = format
        self._changes = changes
        self.fields = list(schema)
        self._declared = self.fields[len(CHANGE_FIELDS) :]
        self._prepared = Prepared(_RELATION)
        self._readers: dict[bool, tuple[Reader, pa.Schema]] = {}

    def works(self, file: InputFile) -> Iterator[Work]:
        """Pieces of a file.

        Raises:
            UnreadableFile: Its name or its columns say nothing of changes.
        """
        place = file_position(file.name)
        if place is None:
            raise UnreadableFile(
                "the name is neither LOAD and a number nor a time (20260131-120000123), so its "
                "rows have no place in an order"
            )
        position, load = place
        has_op = self._has_op(file)
        if not has_op and not load:
            raise UnreadableFile(f"changes without the column {self._changes.op_column!r}")
        reader, columns = self._reader(has_op)
        before: Future[int] = Future()
        before.set_result(0)
        for work in reader.works(file):
            after: Future[int] = Future()
            yield partial(self._piece, work, columns, file.name, position, load, before, after)
            before = after

    # -- which columns --------------------------------------------------------------------------

    def _reader(self, has_op: bool) -> tuple[Reader, pa.Schema]:
        if has_op not in self._readers:
            fields: list[pa.Field[Any]] = list(self._declared)
            if has_op:
                fields.insert(0, pa.field(self._changes.op_column, pa.string()))
            if self._changes.sequence_column is not None:
                fields.append(pa.field(self._changes.sequence_column, pa.string()))
            if self._changes.time_column is not None:
                fields.append(pa.field(self._changes.time_column, _MOMENT))
            schema = pa.schema(fields)
            reads = ParquetFiles if self._format.name == "parquet" else CsvFiles
            self._readers[has_op] = (reads(schema, self._format), schema)
        return self._readers[has_op]

    def _has_op(self, file: InputFile) -> bool:
        """Whether a file has the column of operations; those of a full load may lack it."""
        name = self._changes.op_column
        if self._format.name == "parquet":
            import pyarrow.parquet as pq

            try:
                return name in pq.read_schema(file.local).names
            except (OSError, pa.ArrowException) as error:
                raise UnreadableFile(f"no readable Parquet: {error}") from None
        with opened(file.local) as stream:
            first = stream.read(min(self._format.max_line_bytes, 1024 * 1024)).partition(b"\n")[0]
        text = first.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r")
        fields = next(
            csv.reader([text], delimiter=self._format.delimiter, quotechar=self._format.quote), []
        )
        if self._format.header:
            return name in fields
        added = (self._changes.sequence_column, self._changes.time_column)
        without = len(self._declared) + sum(item is not None for item in added)
        return len(fields) != without

    # -- rows -----------------------------------------------------------------------------------

    def _piece(
        self,
        work: Work,
        columns: pa.Schema,
        name: str,
        position: str,
        load: bool,
        before: Future[int],
        after: Future[int],
    ) -> Piece:
        try:
            piece = work()
            start = before.result()
        except BaseException as error:
            after.set_exception(error)
            raise
        after.set_result(start + piece.lines)
        parts = []
        for arrays, numbers in piece.columns:
            if len(numbers):
                table = self._table(arrays, columns)
                parts.append(self._changed(table, numbers, name, position, load, start, piece))
        piece.bad.sort(key=lambda record: record.line or 0)
        return Piece(parts, piece.bad, piece.lines)

    def _table(self, arrays: list[pa.Array[Any]], columns: pa.Schema) -> pa.Table:
        if self._format.name == "parquet":
            return pa.table(arrays, schema=columns)
        from orchestration.engine.json_files import LINE

        sql = json_source(columns, (), columns.names, barrier=False, relation=_RELATION)
        found = self._prepared.run(sql, pa.table({LINE: arrays[0]}))
        if found is None:
            raise RuntimeError("records in normal form could not be read")
        return found.cast(columns)

    def _changed(
        self,
        table: pa.Table,
        numbers: Ints,
        name: str,
        position: str,
        load: bool,
        start: int,
        piece: Piece,
    ) -> tuple[list[pa.Array[Any]], Ints]:
        ops = self._operations(table, load)
        known = ops.is_valid()
        ordering = self._changes.sequence_column
        if ordering is not None and not load:
            known = pc.and_(known, table[ordering].combine_chunks().is_valid())
        if known.true_count < len(known):
            for row in np.flatnonzero(~np.asarray(known)).tolist():
                piece.bad.append(_bad_row(table, row, int(numbers[row]), self._changes.op_column))
            table, ops = table.filter(known), ops.filter(known)
            numbers = numbers[np.asarray(known)]
        rows = table.num_rows
        table_name = self._changes.table or table_of_path(name)
        about: list[Any] = [
            ops,
            self._sequence(table, numbers + start, position, load, ops),
            _moments(table, self._changes.time_column),
            pa.nulls(rows, pa.string()),
            pa.repeat(pa.scalar(table_name, pa.string()), rows),
            pa.nulls(rows, pa.list_(pa.string())),
        ]
        declared = [table[item.name].combine_chunks() for item in self._declared]
        return [*about, *declared], numbers

    def _operations(self, table: pa.Table, load: bool) -> Any:
        """The operations; null where they are none of DMS's."""
        if self._changes.op_column not in table.column_names:
            return pa.repeat(pa.scalar("read"), table.num_rows)
        letters = table[self._changes.op_column].combine_chunks()
        places = pc.index_in(letters, pa.array(list(DMS_OPS)))
        names = ["read", "update", "delete"] if load else list(DMS_OPS.values())
        return pa.array(names).take(places)

    def _sequence(self, table: pa.Table, numbers: Ints, position: str, load: bool, ops: Any) -> Any:
        ordering = self._changes.sequence_column
        if ordering is not None and not load:
            head, place = "1", pc.utf8_lpad(table[ordering].combine_chunks(), 40, "0")
        else:
            head, place = position, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 12, "0")
        rank = pc.if_else(pc.equal(ops, pa.scalar("delete")), "0", "1")
        parts: list[Any] = [head, place, rank, "/"]
        return pc.binary_join_element_wise(*parts)


def _moments(table: pa.Table, name: str | None) -> Any:
    if name is None:
        return pa.nulls(table.num_rows, _MOMENT)
    return table[name].combine_chunks()


def _bad_row(table: pa.Table, row: int, line: int, op_column: str) -> Any:
    values = table.slice(row, 1).to_pylist()[0]
    text = json.dumps(values, default=str, ensure_ascii=False).encode("utf-8", "replace")
    reason = f"{op_column}: {values.get(op_column)!r} is no operation of DMS's (I, U, D)"
    if values.get(op_column) in DMS_OPS:
        reason = "the column that orders the changes is null"
    return bad_line(line, reason, text)
