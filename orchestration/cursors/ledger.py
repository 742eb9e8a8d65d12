"""The ledger: every version of every file that was ever planned, numbered in planning order.

It only grows, within a generation. A reader may therefore keep what it has read and ask for the
rest: a sensor or a long drain over a hundred thousand files reads each entry once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from orchestration.cursors.database import load, store
from orchestration.cursors.leases import Lease, fenced
from orchestration.cursors.models import files as table
from orchestration.cursors.models import sources
from orchestration.cursors.queries import generation_id, writable_generation_id
from orchestration.cursors.records import FileEntry, Generation, Slice
from orchestration.errors import CursorStoreError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from orchestration.cursors.database import Database

__all__ = ["Ledger", "SeenFiles", "insert_files", "read_files", "save_source"]

_COLUMNS = ("generation_id", "source", "seq", "batch_id", "path", "size", "modified_us", "etag")
_ROWS_PER_INSERT = 10_000
_ROWS_PER_FETCH = 10_000


class SeenFiles(Mapping[str, FileEntry]):
    """Path to its latest version in the ledger.

    Entries are made when they are asked for: most callers only ask whether a path is there, and
    a hundred thousand objects would cost more than reading them from the database.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: dict[str, tuple[int, int, str | None]]) -> None:
        self._rows = rows

    def rows(self) -> dict[str, tuple[int, int, str | None]]:
        """A copy of what is inside: path to size, modification time and etag."""
        return dict(self._rows)

    def versions(self) -> Mapping[str, tuple[int, int, str | None]]:
        """The same without a copy, for readers who compare a hundred thousand of them."""
        return MappingProxyType(self._rows)

    def __getitem__(self, path: str) -> FileEntry:
        return FileEntry(path, *self._rows[path])

    def __contains__(self, path: object) -> bool:
        return path in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class Ledger:
    """The file ledgers of one cursor store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[int, SeenFiles]] = {}

    def seen(self, generation: Generation, source: str) -> SeenFiles:
        """The latest version of every path that was ever planned; does not change afterwards."""
        key = (generation.app_id, source)
        with self._lock:
            following, known = self._known.get(key, (0, SeenFiles({})))
        with self._database.read() as connection:
            total = _count(connection, generation, source)
            if total == following:
                return known
            if total < following:  # another, older copy of the store stands there now
                following, known = 0, SeenFiles({})
            rows = known.rows()
            # In order of numbers, so that a later version of a path replaces an earlier one.
            for row in _rows(connection, generation, source, following, total):
                rows[row[0]] = (row[1], row[2], row[3])
        result = SeenFiles(rows)
        with self._lock:
            self._known[key] = (total, result)
        return result

    def count(self, generation: Generation, source: str) -> int:
        """How many file versions were planned."""
        with self._database.read() as connection:
            return _count(connection, generation, source)

    def files(
        self, generation: Generation, source: str, start: int, end: int
    ) -> tuple[FileEntry, ...]:
        """The entries numbered ``[start, end)``, in order."""
        with self._database.read() as connection:
            return read_files(connection, generation, source, start, end)

    def batch_of(self, generation: Generation, source: str, path: str) -> int | None:
        """The batch that read the path's latest version; ``None`` if none did."""
        with self._database.read() as connection:
            query = (
                select(table.c.batch_id)
                .where(table.c.generation_id == generation_id(generation))
                .where(table.c.source == source)
                .where(table.c.path == path)
                .order_by(table.c.seq.desc())
                .limit(1)
            )
            return connection.execute(query).scalar()

    def offset(self, generation: Generation, source: str) -> dict[str, Any]:
        """Where the source's last plan ended; ``{}`` before the first."""
        return self._source(generation, source)[0]

    def listing(self, generation: Generation, source: str) -> dict[str, Any]:
        """What the source wanted remembered of its last listing; ``{}`` before the first."""
        return self._source(generation, source)[1]

    def save_listing(
        self, lease: Lease, generation: Generation, source: str, listing: Mapping[str, Any]
    ) -> None:
        """Remember the source's listing without a batch (it found nothing new)."""
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, generation.number)
            save_source(self._database, connection, key, source, listing=listing)

    def _source(self, generation: Generation, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
        with self._database.read() as connection:
            query = (
                select(sources.c.planned_end, sources.c.listing)
                .where(sources.c.generation_id == generation_id(generation))
                .where(sources.c.source == source)
            )
            row = connection.execute(query).one_or_none()
        return ({}, {}) if row is None else (load(row.planned_end), load(row.listing))


def read_files(
    connection: Connection, generation: Generation, source: str, start: int, end: int
) -> tuple[FileEntry, ...]:
    """The entries numbered ``[start, end)``, in order, read inside a transaction."""
    return tuple(FileEntry(*row) for row in _rows(connection, generation, source, start, end))


def insert_files(
    database: Database, connection: Connection, key: int, batch_id: int, part: Slice
) -> None:
    """Enter a slice's files, numbered from where its range starts.

    Raises:
        CursorStoreError: Range and files do not fit, or a name is not text.
    """
    first = int(part.start.get("files", 0))
    if int(part.end.get("files", first)) - first != len(part.files):
        raise CursorStoreError(
            f"The plan of batch {batch_id} goes from {part.start} to {part.end} of source "
            f"{part.source!r}, and names {len(part.files)} files",
            remedy="This is a bug in the source. Nothing was written; please report it.",
        )
    if not part.files:
        return
    if first != (known := _next(connection, table.c.generation_id == key, part.source)):
        raise CursorStoreError(
            f"The plan of batch {batch_id} numbers the files of source {part.source!r} from "
            f"{first}; the ledger goes on at {known}",
            remedy="This is a bug in the source. Nothing was written; please report it.",
        )
    rows = [
        (key, part.source, first + number, batch_id, e.path, e.size, e.modified_us, e.etag)
        for number, e in enumerate(part.files)
    ]
    _refuse_undecodable(part.files)
    if database.is_sqlite:
        for begin in range(0, len(rows), _ROWS_PER_INSERT):
            _insert_sqlite(connection, rows[begin : begin + _ROWS_PER_INSERT])
    else:
        _copy_postgres(connection, rows)


def save_source(
    database: Database,
    connection: Connection,
    key: int,
    source: str,
    *,
    end: Mapping[str, Any] | None = None,
    listing: Mapping[str, Any] | None = None,
) -> None:
    """Remember a source's planned end, its listing, or both."""
    values = {"generation_id": key, "source": source}
    database.insert_if_absent(connection, sources, {**values, "planned_end": "{}", "listing": "{}"})
    changed: dict[str, str] = {}
    if end is not None:
        changed["planned_end"] = store(end)
    if listing is not None:
        changed["listing"] = store(listing)
    if changed:
        connection.execute(
            sources.update()
            .where(sources.c.generation_id == key)
            .where(sources.c.source == source)
            .values(changed)
        )


def _insert_sqlite(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(_COLUMNS))
    statement = f"INSERT INTO {table.name} ({', '.join(_COLUMNS)}) VALUES ({marks})"
    connection.exec_driver_sql(statement, list(rows))


def _copy_postgres(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    # COPY: a hundred thousand rows in a second, where single inserts take ten.
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {table.name} ({', '.join(_COLUMNS)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def _count(connection: Connection, generation: Generation, source: str) -> int:
    return _next(connection, table.c.generation_id == generation_id(generation), source)


def _next(connection: Connection, mine: ColumnElement[bool], source: str) -> int:
    # Numbers have no gaps, so the highest tells; counting would read every row.
    query = select(func.max(table.c.seq)).where(mine, table.c.source == source)
    highest = connection.execute(query).scalar()
    return 0 if highest is None else int(highest) + 1


def _rows(
    connection: Connection, generation: Generation, source: str, start: int, end: int
) -> Iterable[Any]:
    query = (
        select(table.c.path, table.c.size, table.c.modified_us, table.c.etag)
        .where(table.c.generation_id == generation_id(generation))
        .where(table.c.source == source)
        .where(table.c.seq >= start)
        .where(table.c.seq < end)
        .order_by(table.c.seq)
    )
    # Fetched many at a time: a call of the driver for each row costs more than the row.
    for part in connection.execute(query).partitions(_ROWS_PER_FETCH):
        yield from part


def _refuse_undecodable(entries: Iterable[FileEntry]) -> None:
    for entry in entries:
        try:
            entry.path.encode()
        except UnicodeEncodeError:
            raise CursorStoreError(
                f"The file name {entry.path!r} is not UTF-8, so it cannot be remembered",
                remedy="Rename the file.",
            ) from None
