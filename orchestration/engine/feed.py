"""The input of a batch as one Arrow stream, read while the engine computes.

A few chunks are worked on at once; they come out in the order of the files, so that bad records
do too. Nothing here grows with the number or the size of the files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.engine.coercions import BadValue, scalar
from orchestration.engine.line_chunks import UnreadableFile
from orchestration.engine.quarantine import BadRecord, Quarantine
from orchestration.errors import FileMissing, SourceUnavailable

if TYPE_CHECKING:
    from orchestration.engine.base import FilesInput, InputFile
    from orchestration.engine.failures import Caught
    from orchestration.engine.json_lines import Numbers

__all__ = ["FILE_TYPE", "Counts", "Feed", "Piece", "Reader"]

#: Type of the ``_file`` column.
FILE_TYPE = pa.struct(
    [
        pa.field("path", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("modified", pa.timestamp("us", "UTC")),
        pa.field("row", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file, read.

    Attributes:
        columns: Arrays of equal length, and the line or row number of each row, counted from the
            piece's first line as 1.
        bad: Records to set aside, numbered in the same way.
        lines: By how much the next piece's numbers go on.
    """

    columns: list[tuple[list[pa.Array[Any]], Numbers]]
    bad: list[BadRecord]
    lines: int


#: Work that gives a piece; it runs on another thread.
Work = Callable[[], Piece]


class Reader(ABC):
    """How files of one format become pieces.

    Attributes:
        fields: Columns of a piece's arrays.
    """

    fields: list[pa.Field[Any]]

    @abstractmethod
    def works(self, file: InputFile) -> Iterator[Work]:
        """Read a file, giving out the work on its parts in order.

        Raises:
            UnreadableFile: It is set aside whole; raised before the first part is given out.
        """


@dataclass(slots=True)
class Counts:
    """What a feed has read so far."""

    files: int = 0
    bytes: int = 0
    good: int = 0
    bad: int = 0


class Feed:
    """Reads the files of a batch.

    Args:
        given: The files.
        reader: Of their format.
        quarantine: Where bad records go.
        threads: Chunks worked on at once.
        caught: Keeps what goes wrong.
    """

    def __init__(
        self,
        given: FilesInput,
        reader: Reader,
        quarantine: Quarantine,
        threads: int,
        caught: Caught,
    ) -> None:
        self._given = given
        self._reader = reader
        self._quarantine = quarantine
        self._threads = threads
        self._partitions = [given.schema.field(name) for name in given.partition_columns]
        self._caught = caught
        self.counts = Counts()

    @property
    def schema(self) -> pa.Schema:
        """The reader's columns, then those of the path, then ``_file`` where it is wanted."""
        fields = [*self._reader.fields, *self._partitions]
        if self._given.format.metadata:
            fields.append(pa.field("_file", FILE_TYPE))
        return pa.schema(fields)

    @contextmanager
    def opened(self) -> Iterator[pa.RecordBatchReader]:
        """The stream; read it once, inside the ``with``."""
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="headwater-read")
        batches: Any = self._caught.watch(self._batches(pool))
        try:
            yield pa.RecordBatchReader.from_batches(self.schema, batches)
        finally:
            batches.close()
            pool.shutdown(wait=True, cancel_futures=True)

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
        for group in self._given.groups():
            with group as files:
                running: deque[tuple[_Place, Future[Piece]]] = deque()
                for place, work in self._works(files):
                    running.append((place, pool.submit(work)))
                    if len(running) > self._threads + 1:
                        yield from self._finished(*running.popleft())
                while running:
                    yield from self._finished(*running.popleft())

    def _works(self, files: Iterable[InputFile]) -> Iterator[tuple[_Place, Work]]:
        for file in files:
            self.counts.files += 1
            self.counts.bytes += file.size
            place = _Place(file)
            try:
                place.constants = [_partition(file, item) for item in self._partitions]
                for work in self._reader.works(file):
                    yield place, work
            except FileNotFoundError as error:
                raise FileMissing(
                    f"{file.name} vanished while it was read",
                    remedy='put it back, or let on_missing="quarantine" set such files aside',
                ) from error
            except OSError as error:
                raise SourceUnavailable(
                    f"{file.name} cannot be read: {error.strerror or error}",
                    remedy="check the file and its permissions; the next run reads it again",
                ) from error
            except UnreadableFile as error:
                reason = str(error)
                yield (
                    place,
                    lambda reason=reason, size=file.size: Piece(  # type: ignore[misc]
                        [], [BadRecord(None, reason, None, size, None)], 0
                    ),
                )

    def _finished(self, place: _Place, future: Future[Piece]) -> Iterator[pa.RecordBatch]:
        piece = future.result()
        for record in piece.bad:
            line = None if record.line is None else place.lines + record.line
            self._quarantine.add(
                place.file.name,
                BadRecord(line, record.reason, record.raw, record.size, record.sha256),
            )
        self.counts.bad += len(piece.bad)
        for arrays, numbers in piece.columns:
            rows = len(numbers)
            if not rows:
                continue
            self.counts.good += rows
            columns = [*arrays, *(_repeated(value, rows) for value in place.constants)]
            if self._given.format.metadata:
                columns.append(_file_column(place.file, numbers + place.lines))
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
        place.lines += piece.lines


class _Place:
    """Where in the input a piece is from."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self.lines = 0
        self.constants: list[Any] = []


def _partition(file: InputFile, field: pa.Field[Any]) -> Any:
    """The value that a directory of the path gives to every row."""
    text = file.partitions.get(field.name)
    if text is None:
        return pa.scalar(None, field.type)
    try:
        normal = scalar(field.type, text=True)(text)
        return pa.array([str(normal) if isinstance(normal, str) else normal]).cast(field.type)[0]
    except (BadValue, pa.ArrowException) as error:
        raise UnreadableFile(f"{field.name} in the path: {error}") from None


def _repeated(value: Any, rows: int) -> Any:
    return pa.repeat(value, rows)


def _file_column(file: InputFile, numbers: Numbers) -> Any:
    rows = len(numbers)
    return pa.StructArray.from_arrays(
        [
            pa.repeat(pa.scalar(file.name, pa.string()), rows),
            pa.repeat(pa.scalar(file.size, pa.int64()), rows),
            pa.repeat(pa.scalar(file.modified, pa.timestamp("us", "UTC")), rows),
            pa.array(np.asarray(numbers), pa.int64()),
        ],
        fields=list(FILE_TYPE),
    )
