"""Delta actions from written files, checked before they can harm a table.

delta-rs checks nothing here: an absolute path, a missing file or a statistic of the wrong type
is committed as it comes, and then the table can never be opened again. So every action is held
against the declared schema first.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa

from orchestration.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deltalake.transaction import AddAction, RemoveAction

    from orchestration.cursors.records import DataFile

__all__ = ["add_action", "check_data_file", "log_path", "remove_action"]

_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|\+00:00)")


def add_action(
    file: DataFile, schema: pa.Schema, partition_by: tuple[str, ...], *, data_change: bool = True
) -> AddAction:
    """The action that makes ``file`` part of a table of this schema.

    Args:
        file: What was written.
        schema: Columns of the table.
        partition_by: Those it is partitioned by.
        data_change: False where its rows are in the table already, and only move.

    Raises:
        SinkError: The file does not fit the table; nothing was committed.
    """
    from deltalake.transaction import AddAction

    check_data_file(file, schema, partition_by)
    return AddAction(
        path=file.path,  # delta-rs percent-encodes it for the log
        size=file.size,
        partition_values=file.partition_values,
        modification_time=file.modified_ms,
        data_change=data_change,
        stats=file.stats,
    )


def remove_action(
    file: DataFile, removed_at: datetime, *, data_change: bool = True
) -> RemoveAction:
    """The action that takes ``file`` out of its table.

    Args:
        file: As the table's snapshot names it.
        removed_at: From when on a vacuum counts; aware.
        data_change: False where its rows stay in the table, in another file.
    """
    from deltalake.transaction import RemoveAction

    return RemoveAction(
        path=file.path,  # encoded for the log as that of an addition
        data_change=data_change,
        deletion_timestamp=int(removed_at.timestamp() * 1000),
        size=file.size,
        partition_values=file.partition_values,
    )


def log_path(path: str) -> str:
    """How delta-rs names a file in the log.

    Readers match additions and removals by this text. Other writers encode other characters, and
    a file of theirs that is removed under delta-rs's name for it would silently stay.
    """
    return quote(path, safe="!$&'()+,/:;=@")


def check_data_file(file: DataFile, schema: pa.Schema, partition_by: tuple[str, ...]) -> None:
    """Refuse a file that would break or falsify the table.

    Raises:
        SinkError: Names the file, what was found and what was expected.
    """

    def refuse(what: str) -> SinkError:
        return SinkError(
            f"file {file.path!r} cannot be committed: {what}",
            remedy="nothing was written; this is a bug of Headwater, please report it",
        )

    if file.path.startswith("/") or "://" in file.path or ".." in file.path.split("/"):
        raise refuse("its path leaves the table")
    if set(file.partition_values) != set(partition_by):
        raise refuse(f"partition values {file.partition_values}, expected {partition_by}")
    try:
        stats = json.loads(file.stats, parse_float=str)
    except ValueError as error:
        raise refuse(f"its statistics are not JSON ({error})") from error
    if not isinstance(stats, dict) or stats.get("numRecords") != file.rows:
        raise refuse(f"numRecords is not its {file.rows} rows")
    data = [item for item in schema if item.name not in partition_by]
    for key in ("minValues", "maxValues"):
        for name, problem in _wrong(stats.get(key, {}), data, _fits):
            raise refuse(f"{key}.{name} {problem}")
    for name, problem in _wrong(stats.get("nullCount", {}), data, lambda v, _: type(v) is int):
        raise refuse(f"nullCount.{name} {problem}")


def _wrong(values: Any, columns: Iterable[pa.Field[Any]], fits: Any) -> Iterable[tuple[str, str]]:
    if not isinstance(values, dict):
        yield "", "is not an object"
        return
    types = {column.name: column.type for column in columns}
    for name, value in values.items():
        if name not in types:
            yield name, "is not a column of the table"
        elif pa.types.is_struct(types[name]):
            inner = [types[name].field(i) for i in range(types[name].num_fields)]
            for path, problem in _wrong(value, inner, fits):
                yield f"{name}.{path}", problem
        elif not fits(value, types[name]):
            yield name, f"is {value!r}, which is no statistic of a {types[name]}"


def _fits(value: Any, kind: pa.DataType) -> bool:
    """Whether readers can parse ``value`` as a min or max of a column of type ``kind``."""
    if pa.types.is_integer(kind):
        return type(value) is int
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        # Digits were kept as text above, so that a float's rounding cannot pass unseen.
        return type(value) is int or (isinstance(value, str) and value.lstrip("-")[:1].isdigit())
    if not isinstance(value, str):
        return False
    try:
        if pa.types.is_date(kind):
            date.fromisoformat(value)
            return True
        if pa.types.is_timestamp(kind):
            datetime.fromisoformat(value)
            return _TIMESTAMP.fullmatch(value) is not None
    except ValueError:
        return False
    return pa.types.is_string(kind)
