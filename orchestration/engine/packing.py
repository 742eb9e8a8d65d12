"""Small files of a table written as few, row for row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration.engine.compare import relation_sql
from orchestration.engine.writer import discard, write
from orchestration.errors import SinkError, SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from orchestration.cursors.records import DataFile

__all__ = ["Packing", "pack_files"]


@dataclass(frozen=True, slots=True)
class Packing:
    """Files of one partition to write as few.

    Attributes:
        files: Local paths.
        schema: Columns of the table that lie in its files: not those it is partitioned by.
        root: Local directory that stands for the table's root.
        directory: Where below it the partition lies; empty for the root itself.
        partition_values: What the files have in common.
        prefix: Start of every file name.
        target_file_size: Bytes at which a new file is begun.
    """

    files: Sequence[str]
    schema: pa.Schema
    root: Path
    directory: str
    partition_values: dict[str, str | None]
    prefix: str
    target_file_size: int


def pack_files(connection: duckdb.DuckDBPyConnection, job: Packing) -> tuple[DataFile, ...]:
    """Write the rows of files anew, all of them, with statistics that hide none.

    A partition's values are not read and written again: the new files lie where the old ones do,
    so an empty text or an odd character cannot change on the way.

    Args:
        connection: Unguarded, with its memory limit and spill directory set.
        job: What to write.

    Raises:
        SinkError: Other rows were written than were read; nothing is left behind.
        SinkUnavailable: A file is gone or broken, or there is no room for another.
    """
    import duckdb

    relation = relation_sql([(path, {}) for path in job.files], job.schema)
    at = job.root / job.directory if job.directory else job.root
    try:
        written = write(
            connection,
            relation,
            job.schema,
            at,
            job.prefix,
            partition_by=(),
            target_file_size=job.target_file_size,
        )
        before = connection.execute(f"SELECT count(*) FROM ({relation})").fetchall()[0][0]
        after = sum(item.rows for item in written)
        if before != after:
            raise SinkError(
                f"{len(job.files)} files with {before:,} rows were written as {after:,} rows",
                remedy="nothing was committed; this is a bug of Headwater, please report it",
            )
    except BaseException as error:
        discard(at, job.prefix, ())
        if isinstance(error, duckdb.Error):
            raise SinkUnavailable(
                f"{len(job.files)} files in {at} cannot be packed: {error}",
                remedy="nothing was committed; bring back the file that is named, or make room",
            ) from error
        raise
    lead = f"{job.directory}/" if job.directory else ""
    return tuple(
        replace(item, path=lead + item.path, partition_values=dict(job.partition_values))
        for item in written
    )
