"""Records that could not be read, on their way into the quarantine table."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.cursors.records import DataFile
from orchestration.engine.base import QUARANTINE_SCHEMA
from orchestration.errors import BadRecords

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["BadRecord", "Quarantine", "bad_line"]

_FLUSH_BYTES = 8 * 1024 * 1024
_FLUSH_ROWS = 20_000
_FILE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record, or a whole file, that is set aside.

    Attributes:
        line: 1-based in its file; ``None`` for a whole file. Readers of chunks count from the
            chunk's start.
        reason: What was found and what was expected.
        raw: The bytes, or their head where the record is over the limit.
        size: All its bytes.
        sha256: Of all its bytes; ``None`` for a whole file.
    """

    line: int | None
    reason: str
    raw: bytes | None
    size: int
    sha256: str | None


def bad_line(line: int, reason: str, raw: bytes, *, keep: int | None = None) -> BadRecord:
    """A bad record of which all bytes are at hand.

    Args:
        line: Where it stands.
        reason: What is wrong.
        raw: All its bytes, without the newline.
        keep: Bytes to keep of it; default all.
    """
    return BadRecord(line, reason, raw[:keep], len(raw), hashlib.sha256(raw).hexdigest())


class Quarantine:
    """Writes bad records as Parquet, a bounded number at a time in memory.

    Args:
        directory: The quarantine table's root.
        prefix: Start of every file name.
        batch_id, timestamp: Columns of every row.
        fail: Raise at the first record instead.
    """

    def __init__(
        self, directory: Path, prefix: str, batch_id: int, timestamp: datetime, *, fail: bool
    ) -> None:
        self._directory = directory
        self._prefix = prefix
        self._batch_id = batch_id
        self._timestamp = timestamp
        self._fail = fail
        self._rows: list[dict[str, Any]] = []
        self._waiting = 0
        self._writer: Any = None
        self._written: list[_Part] = []
        self.count = 0

    def add(self, file: str, record: BadRecord) -> None:
        """Set a record aside.

        Raises:
            BadRecords: The query says that bad records fail the batch.
        """
        where = file if record.line is None else f"{file}, line {record.line}"
        if self._fail:
            raise BadRecords(
                f"{where}: {record.reason}",
                remedy='mend the file, or let on_bad_record="quarantine" set such records aside',
            )
        text, encoded = _texts(record.raw)
        self._rows.append(
            {
                "file": file,
                "line": record.line,
                "reason": record.reason,
                "raw": text,
                "raw_base64": encoded,
                "size_bytes": record.size,
                "sha256": record.sha256,
                "batch_id": self._batch_id,
                "quarantined_at": self._timestamp,
            }
        )
        self.count += 1
        self._waiting += len(record.raw or b"") + 200
        if self._waiting > _FLUSH_BYTES or len(self._rows) >= _FLUSH_ROWS:
            self._flush()

    def finish(self) -> tuple[DataFile, ...]:
        """Write what is left; the files of this batch."""
        self._flush()
        self._close()
        return tuple(part.data_file() for part in self._written)

    def discard(self) -> None:
        """Delete everything that was written."""
        self._rows.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for part in self._written:
            part.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._rows:
            return
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist(self._rows, schema=QUARANTINE_SCHEMA)
        self._rows.clear()
        self._waiting = 0
        if self._writer is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"{self._prefix}-bad-{len(self._written):04d}.parquet"
            self._written.append(_Part(path, self._batch_id))
            self._writer = pq.ParquetWriter(path, QUARANTINE_SCHEMA, compression="zstd")
        part = self._written[-1]
        self._writer.write_table(table)
        part.count(table)
        if part.path.stat().st_size > _FILE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _Part:
    """One written file and what is known of its rows."""

    def __init__(self, path: Path, batch_id: int) -> None:
        self.path = path
        self._batch_id = batch_id
        self._rows = 0
        self._nulls = dict.fromkeys(QUARANTINE_SCHEMA.names, 0)

    def count(self, table: pa.Table) -> None:
        self._rows += table.num_rows
        for name in table.column_names:
            self._nulls[name] += table[name].null_count

    def data_file(self) -> DataFile:
        found = self.path.stat()
        stats = {
            "numRecords": self._rows,
            "minValues": {"batch_id": self._batch_id},
            "maxValues": {"batch_id": self._batch_id},
            "nullCount": self._nulls,
        }
        return DataFile(
            self.path.name,
            found.st_size,
            self._rows,
            found.st_mtime_ns // 1_000_000,
            stats=json.dumps(stats),
        )


def _texts(raw: bytes | None) -> tuple[str | None, str | None]:
    """The text, and base64 of bytes that are no text."""
    if raw is None:
        return None, None
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), base64.b64encode(raw).decode("ascii")
