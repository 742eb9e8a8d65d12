"""A table's files without the rows that a batch replaces.

An upsert is made of files: those that hold a key of the batch are written anew without the rows
of these keys, and the batch's own file takes their place in the same commit. Files that hold
none are left alone, and most of them are not even opened: their statistics say so.

Keys are equal as groups are: null equals null, ``NaN`` equals ``NaN``, ``-0.0`` equals ``0.0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from orchestration.engine.compare import relation_sql
from orchestration.engine.pruning import KEYS, candidates
from orchestration.engine.writer import discard, write
from orchestration.errors import SinkError
from orchestration.streams.schema import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import duckdb

    from orchestration.cursors.records import DataFile
    from orchestration.engine.compare import TableFile

__all__ = [
    "NUMBER",
    "OldFile",
    "OldFiles",
    "Rewrite",
    "Rewritten",
    "carry_over",
    "numbered_sql",
    "portions",
    "rewrite_files",
]

#: Column that says in which file a row lies.
NUMBER = "headwater_number"

#: Files that are rewritten together become one of up to this part of the target size. It bounds
#: both how many small leftovers there are and how much a later batch has to write anew for a key.
_SMALL = 8


@dataclass(frozen=True, slots=True)
class OldFile:
    """A file of the table, at hand on this machine.

    Attributes:
        number: Its number in :attr:`OldFiles.bounds`.
        path: Absolute.
        partition_values: Column to value as Delta writes it.
        rows: Rows; 0 where the table does not know.
        size: Bytes.
    """

    number: int
    path: str
    partition_values: dict[str, str | None]
    rows: int
    size: int


class OldFiles(Protocol):
    """The table's files before the batch.

    Attributes:
        bounds: What its log knows of them; see :func:`orchestration.engine.pruning.candidates`.
        at_hand: They lie on this machine: one group holds all that is asked for, for good.
        directories: Where the files of a group may be read.
    """

    @property
    def bounds(self) -> pa.Table:
        """One row per file."""

    @property
    def at_hand(self) -> bool:
        """Whether they lie on this machine."""

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where a connection must be allowed to read."""

    def rows_of(self, number: int) -> int:
        """Rows of a file; 0 where the table does not know."""

    def groups(self, numbers: Sequence[int]) -> Iterator[AbstractContextManager[Sequence[OldFile]]]:
        """These files, a bounded number of bytes at a time, there while each block runs."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What to write anew.

    Attributes:
        emitted: Local files of the batch: the changed groups, each key once.
        keys: Columns that name a group; at least one.
        gone: Local Parquet files with further keys to take out, which the batch gives no row of.
        schema: Columns of the table.
        old: Its files.
        directory: Local directory that stands for its root.
        prefix: Start of every file name.
        partition_by, target_file_size: Of the table.
    """

    emitted: Sequence[TableFile]
    keys: tuple[str, ...]
    schema: pa.Schema
    old: OldFiles
    directory: Path
    prefix: str
    partition_by: tuple[str, ...]
    target_file_size: int
    gone: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a rewrite did.

    Attributes:
        removed: Numbers of the files that held a key of the batch.
        written: What takes their place; nothing where no other row was in them.
        looked_at: Files that were opened.
        rows_replaced: Rows left out.
    """

    removed: tuple[int, ...]
    written: tuple[DataFile, ...]
    looked_at: int
    rows_replaced: int


def rewrite_files(connection: duckdb.DuckDBPyConnection, job: Rewrite) -> Rewritten:
    """Find the files that hold a key of the batch, and write each anew without it.

    Args:
        connection: Unguarded, with its memory limit and spill directory set.
        job: What to write.

    Raises:
        SinkError: The batch holds a key twice; nothing it wrote is left behind.
    """
    try:
        return _rewrite(connection, job)
    except BaseException:
        discard(job.directory, job.prefix, job.partition_by)
        raise


def _rewrite(connection: duckdb.DuckDBPyConnection, job: Rewrite) -> Rewritten:
    kinds = pa.schema([job.schema.field(name) for name in job.keys])
    _take_keys(connection, job.emitted, kinds)
    if job.gone:
        more = relation_sql([(path, {}) for path in job.gone], kinds)
        connection.execute(f"INSERT INTO {KEYS} ({more} EXCEPT SELECT * FROM {KEYS})")
    condition = _condition(connection, job.keys)
    removed: list[int] = []
    written: list[DataFile] = []
    looked_at = replaced = 0
    for group in job.old.groups(candidates(connection, job.old.bounds, kinds)):
        with group as files:
            looked_at += len(files)
            hits = _hits(connection, files, kinds, condition)
            removed += hits
            replaced += sum(hits.values())
            # Where every row goes, there is nothing to carry over.
            touched = [file for file in files if hits.get(file.number, file.rows) != file.rows]
            for part in portions(touched, job.target_file_size):
                written += carry_over(
                    connection,
                    part,
                    schema=job.schema,
                    keys=job.keys,
                    directory=job.directory,
                    prefix=job.prefix,
                    partition_by=job.partition_by,
                    target_file_size=job.target_file_size,
                )
    return Rewritten(tuple(sorted(removed)), tuple(written), looked_at, replaced)


def _take_keys(
    connection: duckdb.DuckDBPyConnection, emitted: Sequence[TableFile], kinds: pa.Schema
) -> None:
    """The batch's keys as a table, which spills where it is large."""
    relation = relation_sql(emitted, kinds)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {KEYS} AS SELECT DISTINCT * FROM ({relation})"
    )
    rows, keys = connection.execute(
        f"SELECT (SELECT count(*) FROM ({relation})), (SELECT count(*) FROM {KEYS})"
    ).fetchall()[0]
    if rows != keys:
        listed = ", ".join(kinds.names)
        raise SinkError(
            f"the batch gives {rows:,} rows for {keys:,} values of its key ({listed}), so they "
            "cannot replace what the table holds",
            remedy="nothing was written. If a key column is in partition_by, Delta keeps an "
            "empty text there as null: give it a value, as in coalesce(nullif(x, ''), '(none)'); "
            "else this is a bug of Headwater, please report it",
        )


def _condition(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> str:
    """When a row of the table has a key of the batch."""
    counted = ", ".join(f"count(*) > count({quote_identifier(name)})" for name in keys)
    nulls = connection.execute(f"SELECT {counted} FROM {KEYS}").fetchall()[0]
    parts = []
    for name, null in zip(keys, nulls, strict=True):
        column = quote_identifier(name)
        # Equality lets files be skipped within; it is enough where the batch has no null.
        equal = "IS NOT DISTINCT FROM" if null else "="
        parts.append(f"headwater_old.{column} {equal} {KEYS}.{column}")
    return " AND ".join(parts)


def _hits(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[OldFile],
    kinds: pa.Schema,
    condition: str,
) -> dict[int, int]:
    """Files that hold a key of the batch, and in how many rows. Reads the key columns only."""
    found = connection.execute(
        f"SELECT {NUMBER}, count(*) FROM ({numbered_sql(files, kinds)}) AS headwater_old "
        f"SEMI JOIN {KEYS} ON {condition} GROUP BY {NUMBER}"
    ).fetchall()
    return {int(number): int(rows) for number, rows in found}


def numbered_sql(files: Sequence[OldFile], columns: pa.Schema) -> str:
    """A SELECT of the files' rows, with :data:`NUMBER`."""
    numbered = [(file.path, {**file.partition_values, NUMBER: str(file.number)}) for file in files]
    return relation_sql(numbered, columns.append(pa.field(NUMBER, pa.int64())))


def portions(files: Sequence[OldFile], target_file_size: int) -> Iterator[Sequence[OldFile]]:
    """Files to write together: small ones, so that they become fewer, and large ones alone."""
    part: list[OldFile] = []
    size = 0
    # Names begin with the batch: neighbours hold keys of the same time, and are asked for together.
    for file in sorted(files, key=lambda item: item.path.rpartition("/")[2]):
        if part and size + file.size > target_file_size // _SMALL:
            yield part
            part, size = [], 0
        part.append(file)
        size += file.size
    if part:
        yield part


def carry_over(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[OldFile],
    *,
    schema: pa.Schema,
    keys: Sequence[str],
    directory: Path,
    prefix: str,
    partition_by: tuple[str, ...],
    target_file_size: int,
) -> tuple[DataFile, ...]:
    """Write files anew, without the rows whose keys are in the table of keys.

    Args:
        connection: Has the table of keys.
        files: At hand.
        schema: Columns of the table.
        keys: Those that name a row.
        directory, prefix, partition_by, target_file_size: As for :func:`write`.
    """
    relation = relation_sql([(file.path, file.partition_values) for file in files], schema)
    return write(
        connection,
        f"SELECT headwater_old.* FROM ({relation}) AS headwater_old "
        f"ANTI JOIN {KEYS} ON {_condition(connection, keys)}",
        schema,
        directory,
        prefix,
        partition_by=partition_by,
        target_file_size=target_file_size,
    )
