"""What there is to say about a table after a run, gathered once and without Dagster."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestration.runtime.session import Session, table_uri
from orchestration.runtime.status import CostPanel, QueryStatus, costs, status
from orchestration.runtime.waiting import Waiting, waiting
from orchestration.sinks.snapshot import Snapshot, local_files, read_snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.sinks.table import Role, SinkTable

__all__ = ["Facts", "gather", "plain"]

_PREVIEW_ROWS = 10
# A preview is not worth fetching a large object for.
_LARGEST_FETCH = 16 * 1024 * 1024
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """A table, its query and their costs.

    Attributes:
        status: Where the query stands.
        costs: What it and its twin have cost.
        uri: Of the table.
        schema: Its columns; ``None`` while they are to be inferred.
        version: Its newest version; ``None`` where there is no table yet.
        rows, files, bytes: Of that version.
        preview: Some rows of its newest file.
        held: Where its event time stands, and what waits for it; ``None`` without a watermark.
    """

    status: QueryStatus
    costs: CostPanel
    uri: str
    schema: pa.Schema | None
    version: int | None = None
    rows: int = 0
    files: int = 0
    bytes: int = 0
    preview: list[dict[str, Any]] = field(default_factory=list)
    held: Waiting | None = None


def gather(session: Session, role: Role) -> Facts:
    """Look at a table of the query and at the cursor store. Takes no lease.

    Raises:
        SinkUnavailable: The table's store does not answer.
    """
    found = Facts(
        status(session), costs(session), table_uri(session.settings, session.query.sink, role), None
    )
    generation = session.store.queries.get(session.query.name)
    if not session.bind(generation.input_schema if generation else None):
        return found
    if generation is not None:
        session.attach(generation)
    found = replace(
        found,
        schema=session.output_schema,
        held=waiting(session) if role == "sink" else None,
    )
    if generation is not None:
        session.attach(generation)
    table = session.twin_table if role == "twin" else session.sink_table
    snapshot = read_snapshot(table)
    if snapshot is None:
        return found
    return replace(
        found,
        version=snapshot.version,
        rows=snapshot.rows,
        files=len(snapshot.files),
        bytes=snapshot.size,
        preview=_preview(session, table, snapshot),
    )


def _preview(session: Session, table: SinkTable, snapshot: Snapshot) -> list[dict[str, Any]]:
    """The first rows of the newest file: file names begin with their batch's number."""
    import pyarrow.parquet as pq

    filled = [item for item in snapshot.files if item.rows]
    newest = max(filled, key=lambda item: item.path.rpartition("/")[2], default=None)
    if newest is None or (not table.place.is_local and newest.size > _LARGEST_FETCH):
        return []
    one = Snapshot(snapshot.version, (newest,))
    with local_files(table, one, session.settings.spool_dir) as found:
        path, partition_values = found[0]
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(batch_size=_PREVIEW_ROWS), None)
            rows = [] if batch is None else batch.to_pylist()
    names = session.output_schema.names
    return [{name: plain({**row, **partition_values}.get(name)) for name in names} for row in rows]


def plain(value: Any) -> str | int | float | bool | None:
    """What Dagster's table shows: scalars, the rest as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124
    if isinstance(value, dict | list | tuple):
        text = json.dumps(value, default=str, ensure_ascii=False)
    else:
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
