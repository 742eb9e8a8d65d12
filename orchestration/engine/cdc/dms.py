"""AWS DMS: its JSON records, and what the names of its files say."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from orchestration.engine.cdc.positions import padded
from orchestration.engine.cdc.record import Change, Shape, member, number, text_or_none, word
from orchestration.engine.coercions import BadValue, Number, scalar, shown
from orchestration.streams.schema import parse_type

if TYPE_CHECKING:
    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["DMS_OPS", "Dms", "file_position", "table_of_path"]

#: Letters in the column of operations.
DMS_OPS = {"I": "insert", "U": "update", "D": "delete"}

_OPS = {"load": "read", "insert": "insert", "update": "update", "delete": "delete"}
_PASSED_OVER = {"create-table", "rename-table", "change-columns", "add-column", "drop-column"}
_PASSED_OVER |= {"rename-column", "column-type-change", "refresh-table", "unload-table"}
_LOAD = re.compile(r"LOAD([0-9A-Fa-f]{3,16})")
_CHANGES = re.compile(r"(\d{8}-\d{6,12})")
_PARTS = re.compile(r"\d{1,4}")


class Dms(Shape):
    """Reads JSON records (``data`` and ``metadata``)."""

    def __init__(self, changes: ChangeFormat, columns: list[str]) -> None:
        super().__init__(changes, columns)
        self._moment = scalar(parse_type("TIMESTAMPTZ"))

    def read(self, record: Any) -> list[Change]:
        """The changes of a record; none where it is about something else.

        Its position ends where the file and line are to be put, see :func:`file_position`.

        Raises:
            BadValue: It is no record of DMS's, or not one that can be put in order.
        """
        if not isinstance(record, dict) or not isinstance(record.get("metadata"), dict):
            raise BadValue("no record of DMS's: it has no metadata")
        about = record["metadata"]
        op = word(about.get("operation"))
        schema, table = text_or_none(about, "schema-name"), text_or_none(about, "table-name")
        named = f"{schema}.{table}" if schema and table else table
        if self._changes.table is not None and named != self._changes.table:
            return []
        if about.get("record-type") == "control":
            if op in _PASSED_OVER:
                return []
            raise BadValue(
                f"{named}: {shown(about.get('operation'))} at the source is not followed here"
            )
        if op not in _OPS:
            raise BadValue(
                f"{shown(about.get('operation'))} is no operation of DMS's", "metadata.operation"
            )
        data = member(record, "data")
        if data is None or not any(name in data for name in self._columns):
            has = ", ".join(data or {})[:200]
            raise BadValue(f"data has none of the declared columns; it has {has or 'nothing'}")
        stamp = about.get("commit-timestamp") or about.get("timestamp")
        if type(stamp) is not str or isinstance(stamp, Number):
            raise BadValue("the record has no timestamp, so it has no place in an order")
        at = self._moment(stamp)
        moment = datetime.fromisoformat(at)
        place = padded(number(about, "transaction-record-id") or 0, 20)
        text = moment.strftime("%Y%m%d%H%M%S%f")
        position = f"{0 if op == 'load' else 1}/{text.zfill(20)}/{place}"
        transaction = text_or_none(about, "transaction-id")
        before = member(record, "before-image") if op == "update" else None
        keys = [k for k in self._changes.keys if before is not None and before.get(k) is not None]
        if before is not None and any(before[name] != data.get(name) for name in keys):
            old = {name: before.get(name) for name in self._changes.keys}
            return [
                Change("delete", f"{position}/0", moment, transaction, named, old),
                Change("insert", f"{position}/1", moment, transaction, named, data),
            ]
        rank = 0 if op == "delete" else 1
        return [Change(_OPS[op], f"{position}/{rank}", moment, transaction, named, data)]


def file_position(name: str) -> tuple[str, bool] | None:
    """Where a file's rows stand among those of others, and whether they are a full load's.

    >>> file_position("s3://b/shop/orders/LOAD0000000A.csv.gz")
    ('0/000000000000000A', True)
    >>> file_position("s3://b/shop/orders/20260131-120000123.parquet")
    ('1/20260131-120000123000', False)

    Returns:
        ``None`` where the name is neither.
    """
    stem = PurePosixPath(name).name.partition(".")[0]
    load = _LOAD.fullmatch(stem)
    if load is not None:
        return f"0/{load[1].upper().zfill(16)}", True
    changes = _CHANGES.fullmatch(stem)
    return None if changes is None else (f"1/{changes[1].ljust(21, '0')}", False)


def table_of_path(name: str) -> str | None:
    """``schema.table`` of the directories that DMS writes to; those of dates are passed over."""
    parts = [part for part in PurePosixPath(name).parts[:-1] if not _PARTS.fullmatch(part)]
    return ".".join(parts[-2:]) if len(parts) >= 2 else None
