"""Rows that came after their window had closed: how many, how late, and the newest of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.engine.base import LATE_SCHEMA
from orchestration.sinks.snapshot import Snapshot, local_files, read_snapshot

if TYPE_CHECKING:
    from orchestration.runtime.session import Session

__all__ = ["LateOperator", "LateRows", "late_rows"]

_TIMES = ["operator", "event_time", "watermark"]
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class LateOperator:
    """What one operator had to drop.

    Attributes:
        id: The operator.
        rows: Rows in the late table; of sliding windows one for each window.
        mean_seconds, most_seconds: By how much the watermark had passed the moment that the row
            had to be before: the end of its window, or its own time.
    """

    id: str
    rows: int
    mean_seconds: float
    most_seconds: float


@dataclass(frozen=True, slots=True)
class LateRows:
    """What lies in a query's late table.

    Attributes:
        total: Rows in it.
        dropped: Rows that the batches of this generation dropped, kept or not.
        kept: Whether the query keeps them (``on_late="table"``).
        operators: Each that dropped any.
        newest: Some of the rows, of the newest batches first.
        uri: The table.
    """

    total: int
    dropped: int
    kept: bool
    operators: tuple[LateOperator, ...]
    newest: tuple[dict[str, Any], ...]
    uri: str

    @property
    def most_seconds(self) -> float:
        """By how much the latest of them came too late; 0 where there is none."""
        return max((item.most_seconds for item in self.operators), default=0.0)


def late_rows(session: Session, limit: int) -> LateRows:
    """Count a query's late rows by operator, and read the newest of them.

    One file is in memory at a time; a late table of any size can be looked at.

    Args:
        session: The opened query.
        limit: Rows to read.

    Raises:
        SinkUnavailable: The table's store does not answer.
    """
    generation = session.store.queries.get(session.query.name)
    dropped = 0
    if generation is not None:
        session.attach(generation)
        # The newest may be unfinished, and then has no sums yet.
        for record in session.store.batches.history(generation, 2):
            progress = record.progress or (record.seal.progress if record.seal else {})
            if progress:
                dropped = int(progress.get("details", {}).get("late_rows_total", 0))
                break
    table = session.late_table
    snapshot = read_snapshot(table)
    found: dict[str, LateOperator] = {}
    newest: list[dict[str, Any]] = []
    total = 0
    # File names begin with the batch's number.
    files = sorted(snapshot.files if snapshot else (), key=lambda item: item.path, reverse=True)
    for item in files:
        one = Snapshot(-1, (item,))
        with local_files(table, one, session.settings.spool_dir) as paths:
            ((path, _),) = paths
            total += item.rows
            _add(found, pq.ParquetFile(path).read(columns=_TIMES))
            if len(newest) < limit:
                rows = pq.ParquetFile(path).read().select(LATE_SCHEMA.names).cast(LATE_SCHEMA)
                newest += rows.slice(0, limit - len(newest)).to_pylist()
    operators = sorted(found.values(), key=lambda item: item.rows, reverse=True)
    kept = session.query.sink.on_late == "table"
    return LateRows(total, dropped, kept, tuple(operators), tuple(newest), table.uri)


def _add(found: dict[str, LateOperator], rows: pa.Table) -> None:
    """Take one file's rows into the sums."""
    by: Any = pc.subtract(rows["watermark"].cast(pa.int64()), rows["event_time"].cast(pa.int64()))
    times = pa.table({"operator": rows["operator"], "by": by})
    sums = times.group_by("operator").aggregate([("by", "count"), ("by", "sum"), ("by", "max")])
    for row in sums.to_pylist():
        key, count = str(row["operator"]), int(row["by_count"])
        before = found.get(key, LateOperator(key, 0, 0.0, 0.0))
        seconds = before.mean_seconds * before.rows + (row["by_sum"] or 0) / _MICROSECONDS
        number = before.rows + count
        found[key] = replace(
            before,
            rows=number,
            mean_seconds=round(seconds / number, 6) if number else 0.0,
            most_seconds=max(before.most_seconds, (row["by_max"] or 0) / _MICROSECONDS),
        )
