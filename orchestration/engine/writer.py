"""Results written as Parquet files of a Delta table, with what its log must know of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.cursors.records import DataFile
from orchestration.engine.statements import cast_to
from orchestration.engine.statistics import delta_statistics
from orchestration.errors import SinkError
from orchestration.streams.schema import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

__all__ = ["discard", "write"]

#: Rows that a writing thread collects before it compresses them. With DuckDB's 122,880 a batch of a
#: few hundred thousand rows is compressed only when all of it was read, and half of the cores
#: idle until then. Readers do not mind groups of a few hundred KiB.
_GROUP_ROWS = 20_480


def write(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    schema: pa.Schema,
    directory: Path,
    prefix: str,
    *,
    partition_by: tuple[str, ...],
    target_file_size: int,
) -> tuple[DataFile, ...]:
    """Write a SELECT's rows.

    Args:
        connection: Allowed to write to ``directory``.
        source: Has the columns of ``schema``, in any order and of any types that cast to them.
        schema: Columns of the table.
        directory: Its root.
        prefix: Start of every file's name.
        partition_by: Columns that become directories.
        target_file_size: Bytes at which a new file is begun.

    Raises:
        SinkError: A written file is not of the schema; nothing should be committed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    query = cast_to(source, schema, texts=partition_by)
    names = quote_literal(f"{prefix}-{{uuid}}")
    options = ["FORMAT parquet", "APPEND true", f"FILENAME_PATTERN {names}", "RETURN_STATS true"]
    options.append(f"ROW_GROUP_SIZE {_GROUP_ROWS}")
    options += _encoding(any(_has_floats(item.type) for item in schema))
    if partition_by:
        listed = ", ".join(quote_identifier(name) for name in partition_by)
        options.append(f"PARTITION_BY ({listed})")
    else:
        options.append(f"FILE_SIZE_BYTES {int(target_file_size)}")
    written = connection.sql(
        f"COPY ({query}) TO {quote_literal(str(directory))} ({', '.join(options)})"
    ).fetchall()
    columns = pa.schema([item for item in schema if item.name not in partition_by])
    found = []
    for row in written:
        values = dict(row[5] or {})
        partitions = {name: values.get(name) for name in partition_by}
        file = _data_file(Path(row[0]), directory, columns, partitions)
        if file is not None:
            found.append(file)
    return tuple(found)


def _encoding(floats: bool) -> list[str]:
    """How values are stored, so that each comes back as it is and no reader skips it."""
    import duckdb

    # Not PARQUET_VERSION v2, a quarter smaller: DataFusion, and with it delta-rs, fails to skip rows
    # within its integers ("cannot skip miniblock of size 256"), so to look a single key up.
    if not floats:
        return []
    # Bloom filters hold the bits of -0.0, where readers look for those of 0.0.
    options = ["WRITE_BLOOM_FILTER false"]
    if duckdb.__version__.startswith("1."):
        # Its dictionaries take 0.0 and -0.0 for one value, and only all of them can be turned off.
        options.append("DICTIONARY_SIZE_LIMIT 0")
    return options


def _data_file(
    path: Path, directory: Path, columns: pa.Schema, partitions: dict[str, str | None]
) -> DataFile | None:
    metadata = pq.read_metadata(path)
    if metadata.num_rows == 0:
        path.unlink()
        return None
    _check(path, metadata.schema.to_arrow_schema(), columns)
    status = path.stat()
    return DataFile(
        path.relative_to(directory).as_posix(),
        status.st_size,
        metadata.num_rows,
        status.st_mtime_ns // 1_000_000,
        partitions,
        delta_statistics(metadata, columns),
    )


def _check(path: Path, found: pa.Schema, wanted: pa.Schema) -> None:
    """Hold a file's schema against the declared one; the writer stores some types as others."""
    given = {item.name: _plain(item.type) for item in found}
    expected = {item.name: _plain(item.type) for item in wanted}
    if given != expected:
        raise SinkError(
            f"{path.name} was written as {given}, expected {expected}",
            remedy="nothing was committed; this is a bug of Headwater, please report it",
        )


def _has_floats(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_floats(part.type) for part in kind)
    if pa.types.is_map(kind):
        return _has_floats(kind.item_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _has_floats(kind.value_type)
    return bool(pa.types.is_floating(kind))


def _plain(kind: Any) -> Any:
    """A type without the names and nullability that formats differ in."""
    if pa.types.is_struct(kind):
        return ("struct", *((part.name, _plain(part.type)) for part in kind))
    if pa.types.is_map(kind):
        return ("map", _plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return ("list", _plain(kind.value_type))
    return str(kind).removeprefix("large_")


def discard(directory: Path, prefix: str, partition_by: Iterable[str]) -> None:
    """Delete the files of an attempt that failed, and the directories that it leaves empty."""
    depth = len(tuple(partition_by))
    start = f"{prefix}-"

    def clean(place: Path, level: int) -> None:
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if level < depth and "=" in entry.name:
                    clean(Path(entry.path), level + 1)
                    _remove_empty(Path(entry.path))
            elif level == depth and entry.name.startswith(start):
                Path(entry.path).unlink(missing_ok=True)

    clean(directory, 0)


def _remove_empty(place: Path) -> None:
    try:
        place.rmdir()
    except OSError:
        return
