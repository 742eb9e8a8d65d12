"""Rows of tables as Python sees them: for tests, samples and the quarantine, never for a batch."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.engine.base import QUARANTINE_SCHEMA
from orchestration.errors import UnknownQuery
from orchestration.sinks.snapshot import Snapshot, SnapshotFile, local_files, read_snapshot
from orchestration.sinks.table import Owner, SinkTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestration.runtime.session import Session

__all__ = ["Quarantined", "batch_rows", "quarantined", "table_rows"]

_NOBODY = Owner("", "", "", "sink")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What lies in a query's quarantine.

    Attributes:
        total: All records.
        reasons: Kind of reason to count, the most frequent first: what differs from record to
            record, such as the value itself, is left out.
        newest: Some of the records, of the newest batches first.
        uri: The table.
    """

    total: int
    reasons: dict[str, int]
    newest: tuple[dict[str, Any], ...]
    uri: str


def table_rows(uri: str) -> list[dict[str, Any]]:
    """Every row of a Delta table; timestamps are aware datetimes, in UTC.

    Args:
        uri: Absolute local path, or ``s3://bucket/prefix``.

    Returns:
        One dict a row, in no particular order; empty where no table is.
    """
    table = SinkTable(uri, _NOBODY, pa.schema([]))
    handle = table.open()
    if handle is None:
        return []
    arrow: Any = handle.schema().to_arrow()
    schema = pa.schema(arrow)
    snapshot = read_snapshot(table, handle.version())
    with TemporaryDirectory(prefix="headwater-rows-") as spool:
        return _rows_of(table, snapshot, schema, Path(spool)) if snapshot else []


def batch_rows(session: Session, batch_id: int) -> list[dict[str, Any]]:
    """The rows that one batch gave to the sink, by what it was sealed with.

    Of an upsert the groups that changed, and not what it carried over from files it replaced.

    Args:
        session: The opened query.
        batch_id: A batch of the generation in force.

    Raises:
        UnknownQuery: The query has no such batch, or it is not sealed yet.
    """
    generation = session.store.queries.get(session.query.name)
    record = session.store.batches.get(generation, batch_id) if generation else None
    if generation is None or record is None or record.seal is None:
        raise UnknownQuery(
            f"query {session.query.name!r} has no sealed batch {batch_id}",
            remedy=f"'headwater history {session.query.name}' lists its batches",
        )
    if not session.bound:  # a test asks for many batches of one session
        session.bind(generation.input_schema)
        session.attach(generation)
    given = record.seal.tables["sink"].given if "sink" in record.seal.tables else ()
    files = tuple(
        SnapshotFile(item.path, item.rows, item.size, item.partition_values) for item in given
    )
    return _rows_of(
        session.sink_table, Snapshot(-1, files), session.output_schema, session.settings.spool_dir
    )


def quarantined(session: Session, limit: int) -> Quarantined:
    """Count a query's quarantined records by reason, and read the newest of them.

    One file is in memory at a time; a quarantine of any size can be looked at.
    """
    generation = session.store.queries.get(session.query.name)
    if generation is not None:
        session.attach(generation)
    table = session.quarantine_table
    snapshot = read_snapshot(table)
    reasons: Counter[str] = Counter()
    newest: list[dict[str, Any]] = []
    total = 0
    # File names begin with the batch's number.
    files = sorted(snapshot.files if snapshot else (), key=lambda item: item.path, reverse=True)
    for item in files:
        with _local(table, item, session.settings.spool_dir) as path:
            total += item.rows
            for counted in pc.value_counts(pq.read_table(path, columns=["reason"])["reason"]):
                reasons[_kind(str(counted["values"]))] += counted["counts"].as_py()
            if len(newest) < limit:
                rows = _read(path, item.partition_values, QUARANTINE_SCHEMA)
                newest += rows.slice(0, limit - len(newest)).to_pylist()
    return Quarantined(total, dict(reasons.most_common()), tuple(newest), table.uri)


def _kind(reason: str) -> str:
    reason = re.sub(r",? (?:at )+character \d+$", "", reason)
    return re.sub(r": .+ is not (?=an? )", ": … is not ", reason, count=1, flags=re.DOTALL)


def _rows_of(
    table: SinkTable, snapshot: Snapshot, schema: pa.Schema, spool_dir: Path
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with local_files(table, snapshot, spool_dir) as files:
        for path, values in files:
            rows += _read(path, values, schema).to_pylist()
    return rows


@contextmanager
def _local(table: SinkTable, item: SnapshotFile, spool_dir: Path) -> Iterator[str]:
    with local_files(table, Snapshot(-1, (item,)), spool_dir) as files:
        ((path, _),) = files
        yield path


def _read(path: str, values: Mapping[str, str | None], schema: pa.Schema) -> pa.Table:
    """A file as rows of ``schema``: partition columns put back, columns added later as null."""
    found = pq.ParquetFile(path).read()
    columns: list[Any] = []
    for field in schema:
        if field.name in values:
            columns.append(_constant(values[field.name], field.type, found.num_rows))
        elif field.name in found.column_names:
            columns.append(found[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(found.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _constant(value: str | None, kind: Any, number: int) -> Any:
    if value is None:
        return pa.nulls(number, kind)
    if pa.types.is_timestamp(kind):
        moment = datetime.fromisoformat(value)
        # Delta writes no zone where it means UTC.
        moment = moment.replace(tzinfo=moment.tzinfo or UTC) if kind.tz else moment
        return pa.repeat(pa.scalar(moment, kind), number)
    one: Any = pc.cast(pa.scalar(value, pa.string()), kind)
    return pa.repeat(one, number)
