"""The late table, for a full reprocess and its verification."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from orchestration.sinks.snapshot import local_files, read_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.runtime.session import Session

__all__ = ["late_files", "late_rows_through"]


@contextmanager
def late_files(session: Session) -> Iterator[list[str]]:
    """Its files as local paths, while the block runs; none where there is no table."""
    snapshot = read_snapshot(session.late_table)
    if snapshot is None:
        yield []
        return
    with local_files(session.late_table, snapshot, session.settings.spool_dir) as found:
        yield [path for path, _ in found]


def late_rows_through(session: Session, batch_id: int) -> int:
    """How many rows it holds of the batches up to and with ``batch_id``."""
    rows = 0
    with late_files(session) as paths:
        for path in paths:
            numbers = pq.ParquetFile(path).read(columns=["batch_id"])["batch_id"]
            rows += int((numbers.to_numpy() <= batch_id).sum())
    return rows
