"""A source of changes read by the engine, without a query around it."""

import json
from datetime import UTC, datetime
from pathlib import Path

from orchestration.cursors.records import FileEntry
from orchestration.engine.base import InputFile
from orchestration.engine.cdc.reader import change_reader

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)


class Read:
    """What a reader made of files."""

    def __init__(self, rows, bad):
        self.rows = rows
        self.bad = bad

    @property
    def reasons(self):
        return {line: reason for _, line, reason in self.bad}

    @property
    def ops(self):
        return [row["_op"] for row in self.rows]


def read(source, *paths):
    """The rows and bad records of files, in order."""
    reader = change_reader(source.data_schema, source.format)
    rows, bad = [], []
    for path in paths:
        local = Path(path)
        given = InputFile(local, f"{source.path}/{local.name}", local.stat().st_size, MODIFIED)
        lines = 0
        for work in reader.works(given):
            piece = work()
            for record in piece.bad:
                bad.append((local.name, lines + record.line, record.reason))
            for arrays, numbers in piece.columns:
                columns = [array.to_pylist() for array in arrays]
                for number, *values in zip(numbers.tolist(), *columns, strict=True):
                    row = dict(zip([item.name for item in reader.fields], values, strict=True))
                    rows.append(row | {"line": lines + number})
            lines += piece.lines
    return Read(rows, bad)


def lines(path, *records):
    """Write records as lines; texts and bytes as they are."""
    texts = []
    for record in records:
        if isinstance(record, bytes):
            texts.append(record)
        elif isinstance(record, str):
            texts.append(record.encode())
        else:
            texts.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode())
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    return path


__all__ = ["MODIFIED", "FileEntry", "Read", "lines", "read"]
