"""CSV files as pieces of lines, each record in the normal form of :mod:`.json_records`.

Columns are found by the header's names. Quoting is strict: a quote opens a field only as its
first character, ends it only as its last, and stands twice for itself; a quoted field may hold
delimiters and line ends. Values follow :mod:`.coercions`; an unquoted field that equals
``null_value`` is null, a quoted one never is.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.engine.coercions import BadValue, scalar
from orchestration.engine.feed import Piece, Reader, Work
from orchestration.engine.json_files import LINE, long_line
from orchestration.engine.line_chunks import (
    HEAD_BYTES,
    LongLine,
    UnreadableFile,
    opened,
    read_chunks,
)
from orchestration.engine.quarantine import BadRecord, bad_line
from orchestration.errors import SchemaError
from orchestration.streams.schema import field_type, is_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestration.engine.base import FileFormat, InputFile

__all__ = ["CsvFiles"]

_RECORDS = 20_000
_SPAN_AFTER_FAULT = 64 * 1024  # bytes that a quoted field may span once a quote was left open

#: A record's bytes, and how many lines it spans; or what is left of an over-long line.
_Raw = tuple[bytes, int] | LongLine


class CsvFiles(Reader):
    """CSV, also ``.gz`` and ``.zst``.

    Args:
        schema: Columns that stand in the data.
        format: How to read it.

    Raises:
        SchemaError: A column's type cannot be written in CSV.
    """

    def __init__(self, schema: pa.Schema, format: FileFormat) -> None:  # noqa: A002
        self._schema = schema
        self._format = format
        self.fields: list[pa.Field[Any]] = [pa.field(LINE, pa.string())]
        self._columns = {item.name: _column(item, format.timezone) for item in schema}
        quote, delimiter = re.escape(format.quote), re.escape(format.delimiter)
        self._field = re.compile(
            f"{quote}((?:[^{quote}]|{quote}{quote})*){quote}(?={delimiter}|$)"
            f"|([^{quote}{delimiter}][^{delimiter}]*|)(?={delimiter}|$)",
            re.DOTALL,
        )
        self._quote = format.quote.encode()

    def works(self, file: InputFile) -> Iterator[Work]:
        """Records of a file, some thousands at a time."""
        with opened(file.local) as stream:
            records = self._records(stream)
            names: list[str] | None = None
            skipped = 0
            if self._format.header:
                first = next(records, None)
                if first is None:
                    return
                names, skipped = self._header(first)
            batch: list[_Raw] = []
            for record in records:
                batch.append(record)
                if len(batch) >= _RECORDS:
                    yield partial(self._piece, batch, names, skipped)
                    batch, skipped = [], 0
            if batch:
                yield partial(self._piece, batch, names, skipped)

    # -- records ----------------------------------------------------------------------------------

    def _lines(self, stream: Any) -> Iterator[bytes | LongLine]:
        for part in read_chunks(stream, self._format.max_line_bytes):
            if isinstance(part, LongLine):
                yield part
            else:
                yield from (
                    part.data[: part.size].splitlines(keepends=True)
                    if (b"\r" not in part.data)
                    else _split(part.data[: part.size])
                )

    def _records(self, stream: Any) -> Iterator[_Raw]:
        """Lines joined where a quoted field spans them."""
        limit = self._format.max_line_bytes
        waiting: list[bytes] = []
        size = quotes = 0
        lines = self._lines(stream)
        again: list[bytes] = []
        while True:
            line = again.pop() if again else next(lines, None)
            if waiting and (line is None or isinstance(line, LongLine) or size > limit):
                # The quote is never closed: only the first line is bad, the others stand alone.
                yield waiting[0], 1
                limit = min(limit, _SPAN_AFTER_FAULT)
                if isinstance(line, bytes):
                    again.append(line)
                again.extend(reversed(waiting[1:]))
                held = line if isinstance(line, LongLine) else None
                waiting, size, quotes = [], 0, 0
                if held is not None:
                    # What was joined before an over-long line is handed out before it.
                    while again:
                        yield again.pop(), 1
                    yield held
                continue
            if line is None:
                return
            if isinstance(line, LongLine):
                yield line
                continue
            count = line.count(self._quote)
            if not waiting and count % 2 == 0:
                yield line, 1
                continue
            waiting.append(line)
            size += len(line)
            quotes += count
            if quotes % 2 == 0:
                yield b"".join(waiting), len(waiting)
                waiting, size, quotes = [], 0, 0

    def _header(self, record: _Raw) -> tuple[list[str], int]:
        if isinstance(record, LongLine):
            raise UnreadableFile("the header is longer than max_line_bytes")
        raw, lines = record
        try:
            names = [text for text, _ in self._fields(_ended(raw).decode())]
        except UnicodeDecodeError:
            raise UnreadableFile("the header is not valid UTF-8") from None
        except BadValue as error:
            raise UnreadableFile(f"the header cannot be read: {error}") from None
        lacking = [name for name in self._columns if name not in names]
        if lacking:
            raise UnreadableFile(
                f"the header has no column {', '.join(lacking)}; it has {', '.join(names)[:200]}"
            )
        twice = sorted({name for name in names if names.count(name) > 1 and name in self._columns})
        if twice:
            raise UnreadableFile(f"the header names {', '.join(twice)} twice")
        return names, lines

    def _fields(self, text: str) -> list[tuple[str, bool]]:
        """Texts of a record's fields, and whether each was quoted."""
        quote, delimiter = self._format.quote, self._format.delimiter
        if quote not in text:
            return [(part, False) for part in text.split(delimiter)]
        found: list[tuple[str, bool]] = []
        at = 0
        while True:
            match = self._field.match(text, at)
            if match is None:
                raise BadValue(f"field {len(found) + 1}: a quote is not closed, or stands alone")
            if match[1] is not None:
                found.append((match[1].replace(quote * 2, quote), True))
            else:
                if quote in match[2]:
                    raise BadValue(f"field {len(found) + 1}: a quote inside an unquoted field")
                found.append((match[2], False))
            at = match.end()
            if at == len(text):
                return found
            at += len(delimiter)

    # -- values -----------------------------------------------------------------------------------

    def _piece(self, records: list[_Raw], names: list[str] | None, skipped: int) -> Piece:
        good: list[str] = []
        numbers: list[int] = []
        bad: list[BadRecord] = []
        limit = self._format.max_line_bytes
        line = skipped
        for record in records:
            if isinstance(record, LongLine):
                (long,) = long_line(record, limit).bad
                bad.append(BadRecord(line + 1, long.reason, long.raw, long.size, long.sha256))
                line += 1
                continue
            raw, spanned = record
            raw = _ended(raw)
            if raw.strip():
                try:
                    if len(raw) > limit:
                        raise BadValue(
                            f"a record of {len(raw):,} bytes; at most {limit:,} are read"
                        )
                    good.append(self._normal(raw.decode(), names))
                    numbers.append(line + 1)
                except UnicodeDecodeError:
                    bad.append(bad_line(line + 1, "the bytes are not valid UTF-8", raw))
                except BadValue as error:
                    keep = HEAD_BYTES if len(raw) > limit else None
                    bad.append(bad_line(line + 1, str(error), raw, keep=keep))
            line += spanned
        lines = pa.array(good, pa.string())
        return Piece([([lines], np.array(numbers, dtype=np.int64))], bad, line)

    def _normal(self, text: str, names: list[str] | None) -> str:
        fields = self._fields(text)
        names = names if names is not None else self._schema.names
        if len(fields) != len(names):
            raise BadValue(f"{len(fields)} fields, expected {len(names)}")
        record: dict[str, Any] = {}
        rescued: dict[str, str] = {}
        null = self._format.null_value
        for name, (value, quoted) in zip(names, fields, strict=True):
            if value == null and not quoted:
                continue
            convert = self._columns.get(name)
            if convert is None:
                rescued[name] = value
                continue
            try:
                record[name] = convert(value)
            except BadValue as error:
                raise error.under(name) from None
        if rescued and self._format.rescue:
            record["_rescued"] = json.dumps(rescued, ensure_ascii=False)
        return json.dumps(record, ensure_ascii=False, allow_nan=False)


def _column(field: pa.Field[Any], timezone: str | None) -> Callable[[Any], Any]:
    kind: Any = field.type
    if is_json(field):
        return _json
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise SchemaError(
            f'column "{field.name}": a field of a CSV file cannot be a {field_type(field)}',
            remedy="declare it VARCHAR, or JSON, and take it apart in select",
        )
    return scalar(kind, timezone=timezone, text=True)


def _json(text: str) -> str:
    try:
        json.loads(text, parse_constant=_no_constant, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise BadValue("not valid JSON") from None
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _split(data: bytes) -> list[bytes]:
    """Lines that end with a newline; a lone carriage return ends none."""
    return [part for part in re.findall(rb"[^\n]*\n|[^\n]+", data) if part]


def _ended(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r")
