"""Quarantine rows for whole files that no engine got to read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.cursors.records import DataFile
from orchestration.engine.base import QUARANTINE_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

__all__ = ["write_set_aside"]


def write_set_aside(
    directory: Path,
    name: str,
    files: Sequence[tuple[str, int | None]],
    *,
    reason: str,
    batch_id: int,
    timestamp: datetime,
) -> DataFile:
    """Write one quarantine row per file.

    Args:
        directory: Stands for the quarantine table's root.
        name: File name to write, unique in the table.
        files: Names as the user knows them, and sizes in bytes where known.
        reason: Why they were set aside.
        batch_id: The batch.
        timestamp: The batch's timestamp.
    """
    count = len(files)
    columns: dict[str, list[object]] = {
        "file": [file for file, _ in files],
        "line": [None] * count,
        "reason": [reason] * count,
        "raw": [None] * count,
        "raw_base64": [None] * count,
        "size_bytes": [size for _, size in files],
        "sha256": [None] * count,
        "batch_id": [batch_id] * count,
        "quarantined_at": [timestamp] * count,
    }
    table = pa.table(columns, schema=QUARANTINE_SCHEMA)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    pq.write_table(table, path, compression="zstd")
    status = path.stat()
    return DataFile(
        path=name,
        size=status.st_size,
        rows=count,
        modified_ms=int(status.st_mtime * 1000),
        stats=json.dumps({"numRecords": count}),
    )
