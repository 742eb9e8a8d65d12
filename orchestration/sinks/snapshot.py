"""One version of a table as the Parquet files it is made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.errors import SinkSchemaChanged
from orchestration.redaction import redact
from orchestration.sinks.actions import log_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deltalake import DeltaTable

    from orchestration.sinks.table import SinkTable

__all__ = [
    "Snapshot",
    "SnapshotFile",
    "is_complete",
    "local_files",
    "read_snapshot",
    "snapshot_of",
    "upsert_snapshot",
]

_DOWNLOADS = 4  # at once


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """An active file: its path in the table, rows, bytes and partition values.

    Attributes:
        removable: Whether delta-rs can take it out; see :func:`orchestration.sinks.actions.log_path`.
    """

    path: str
    rows: int
    size: int
    partition_values: dict[str, str | None]
    removable: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The active files of one table version.

    Attributes:
        version: The version.
        files: Its files.
        bounds: What the log knows of the values in them, where that was asked for; see
            :func:`snapshot_of`.
    """

    version: int
    files: tuple[SnapshotFile, ...]
    bounds: pa.Table | None = None

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
    return None if handle is None else snapshot_of(handle)


def snapshot_of(handle: DeltaTable, columns: Sequence[str] | None = None) -> Snapshot:
    """The files of an open table.

    Args:
        handle: The table.
        columns: Columns whose bounds to give, nested ones excepted: one row per file, with its
            ``number`` among the files, its ``rows``, and for the column at each place
            ``least_<i>``, ``greatest_<i>`` and ``nulls_<i>``, null where unknown. Columns that
            no order bounds (floating point, booleans, bytes) are left out, unless the table is
            partitioned by them.
    """
    actions = pa.table(handle.get_add_actions(flatten=False))
    files = []
    # One row per file, never per row: the count of active files bounds this loop.
    for action in actions.to_pylist():
        values = action.get("partition") or {}
        path = unquote(action["path"])
        files.append(
            SnapshotFile(
                path,
                int(action["num_records"] or 0),
                int(action["size_bytes"]),
                {name: _partition_text(value) for name, value in values.items()},
                removable=log_path(path) == action["path"],
            )
        )
    if columns is None:
        return Snapshot(handle.version(), tuple(files))
    declared: Any = handle.schema().to_arrow()
    bounds = _bounds(actions, pa.schema(declared), columns)
    return Snapshot(handle.version(), tuple(files), bounds)


def upsert_snapshot(table: SinkTable, keys: Sequence[str]) -> Snapshot:
    """The table's files and what is known of the keys in them, to compute an upsert against.

    Raises:
        SinkReplaced: The table is gone.
        SinkSchemaChanged: Its rows cannot be written anew.
    """
    handle = table.open_existing()
    table.check_changeable(handle)
    columns: Any = handle.schema().to_arrow()
    others = set(pa.schema(columns).names) - set(table.schema.names)
    if others:
        query = table.owner.query_id
        raise SinkSchemaChanged(
            f"{redact(table.uri)} has columns that query {query!r} does not give: "
            f"{sorted(others)}; rows that it writes anew would lose them",
            remedy=f"keep them in another table; 'headwater reset {query}' rewrites this one with "
            "the declared columns",
        )
    return snapshot_of(handle, tuple(keys))


def _bounds(actions: pa.Table, kinds: Any, columns: Sequence[str]) -> pa.Table:
    rows: Any = actions["num_records"]
    found: dict[str, Any] = {
        "number": pa.array(range(actions.num_rows), pa.int64()),
        "rows": rows,
    }
    for place, name in enumerate(columns):
        value = _member(actions, "partition", name)
        if value is not None:
            found[f"least_{place}"] = found[f"greatest_{place}"] = value
            # One value for the whole file: it has nulls, and then nothing else, or none.
            found[f"nulls_{place}"] = pc.if_else(pc.is_null(value), pc.fill_null(rows, 1), 0)
        elif _ordered(kinds.field(name).type):
            kind = kinds.field(name).type
            for title, group, type_ in (
                ("least", "min", kind),
                ("greatest", "max", kind),
                ("nulls", "null_count", pa.int64()),
            ):
                known = _member(actions, group, name)
                found[f"{title}_{place}"] = (
                    pa.nulls(actions.num_rows, type_) if known is None else known
                )
    return pa.table(found)


def _member(actions: pa.Table, group: str, name: str) -> Any:
    if group not in actions.column_names:
        return None
    kind: Any = actions.schema.field(group).type
    if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
        return None
    return pc.struct_field(actions[group], [kind.get_field_index(name)])


def _ordered(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_string(kind)
    )


def _partition_text(value: Any) -> str | None:
    """A partition value as Delta writes it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):  # in UTC, and without saying so
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return str(value)


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
        names = [Path(directory) / f"{number:06d}.parquet" for number in range(len(snapshot.files))]
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            paths = [item.path for item in snapshot.files]
            list(pool.map(table.place.download, paths, names))
        yield [
            (str(local), item.partition_values)
            for local, item in zip(names, snapshot.files, strict=True)
        ]
