"""One version of a table as the Parquet files it is made of."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.sinks.table import SinkTable

__all__ = ["Snapshot", "SnapshotFile", "is_complete", "local_files", "read_snapshot"]


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """An active file: its path in the table, rows, bytes and partition values."""

    path: str
    rows: int
    size: int
    partition_values: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The active files of one table version."""

    version: int
    files: tuple[SnapshotFile, ...]

    @property
    def rows(self) -> int:
        """Rows of the table at this version."""
        return sum(item.rows for item in self.files)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(item.size for item in self.files)


def read_snapshot(table: SinkTable, version: int | None = None) -> Snapshot | None:
    """The table's files at a version (the newest by default); ``None`` where no table is."""
    handle = table.open(version)
    if handle is None:
        return None
    actions = pa.table(handle.get_add_actions(flatten=False))
    files = []
    # One row per file, never per row: the count of active files bounds this loop.
    for action in actions.to_pylist():
        values = action.get("partition") or {}
        files.append(
            SnapshotFile(
                unquote(action["path"]),
                int(action["num_records"] or 0),
                int(action["size_bytes"]),
                {name: None if value is None else str(value) for name, value in values.items()},
            )
        )
    return Snapshot(handle.version(), tuple(files))


def is_complete(table: SinkTable, snapshot: Snapshot) -> bool:
    """Whether all files of a snapshot are still there; a vacuum deletes those of old versions."""
    if table.place.is_local:
        root = table.place.local_path
        return all((root / item.path).is_file() for item in snapshot.files)
    there = {item.path for item in table.place.list()}
    return all(item.path in there for item in snapshot.files)


@contextmanager
def local_files(
    table: SinkTable, snapshot: Snapshot, spool_dir: Path
) -> Iterator[list[tuple[str, dict[str, str | None]]]]:
    """The snapshot's files as local paths with their partition values, while the block runs.

    Files of an object store are fetched under ``spool_dir`` and deleted afterwards.
    """
    if table.place.is_local:
        root = table.place.local_path
        yield [(str(root / item.path), item.partition_values) for item in snapshot.files]
        return
    spool_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="snapshot-", dir=spool_dir) as directory:
        fetched = []
        for number, item in enumerate(snapshot.files):
            local = Path(directory) / f"{number:06d}.parquet"
            table.place.download(item.path, local)
            fetched.append((str(local), item.partition_values))
        yield fetched
