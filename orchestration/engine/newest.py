"""Of the rows that batches gave one after another, the last of each key.

That is what an upsert leaves in a table, computed in another way: a full reprocess that has to
follow the batches compares the table with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.engine.compare import relation_sql
from orchestration.engine.writer import discard, write
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from orchestration.cursors.records import DataFile
    from orchestration.engine.compare import TableFile

__all__ = ["Newest", "newest_rows"]

_PLACE = "headwater_place"


@dataclass(frozen=True, slots=True)
class Newest:
    """Which rows to keep, and where to.

    Attributes:
        files: Local files, each with the place of its batch in the order of batches; a batch may
            have several, and gives each key once.
        keys: Columns that name a row; none: there is one row.
        schema: Columns of the files, none of which is a partition column.
        directory: Where the rows go.
        prefix: Start of every file name.
        partition_by, target_file_size: Of the table they go to.
    """

    files: Sequence[tuple[int, str]]
    keys: tuple[str, ...]
    schema: pa.Schema
    directory: Path
    prefix: str
    partition_by: tuple[str, ...]
    target_file_size: int


def newest_rows(connection: duckdb.DuckDBPyConnection, job: Newest) -> tuple[DataFile, ...]:
    """Write the last row of each key; on any error nothing that it wrote is left behind."""
    placed: list[TableFile] = [(path, {_PLACE: str(place)}) for place, path in job.files]
    relation = relation_sql(placed, job.schema.append(pa.field(_PLACE, pa.int64())))
    names = ", ".join(map(quote_identifier, job.schema.names))
    keys = ", ".join(map(quote_identifier, job.keys))
    within = f"PARTITION BY {keys} " if keys else ""
    last = (
        f"SELECT {names} FROM ({relation}) "
        f"QUALIFY row_number() OVER ({within}ORDER BY {_PLACE} DESC) = 1"
    )
    try:
        return write(
            connection,
            last,
            job.schema,
            job.directory,
            job.prefix,
            partition_by=job.partition_by,
            target_file_size=job.target_file_size,
        )
    except BaseException:
        discard(job.directory, job.prefix, job.partition_by)
        raise
