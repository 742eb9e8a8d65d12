"""A schema under which every record of a sample is read without loss.

Whole numbers give BIGINT, larger ones DECIMAL(38,0); numbers with a point DOUBLE; ISO timestamps
that name their zone TIMESTAMPTZ; ISO dates DATE; objects STRUCT; arrays lists; only nulls
VARCHAR. Values of several kinds in one field give JSON, which keeps each as it is. Records that
cannot be read at all are left out: they will be quarantined.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.coercions import BadValue, Number, scalar
from orchestration.engine.infer_parquet import parquet_schema
from orchestration.engine.line_chunks import Chunk, UnreadableFile, opened, read_chunks
from orchestration.errors import SchemaError
from orchestration.streams.schema import check_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestration.engine.base import FileFormat, FilesInput, InputFile

__all__ = ["infer"]

_JSON = {b"headwater": b"json"}
_TIMESTAMP = pa.timestamp("us", "UTC")
_WIDE = pa.decimal128(38, 0)


def infer(files: FilesInput, *, max_files: int, max_bytes: int) -> pa.Schema:
    """The schema of a bounded sample, without the columns of the path.

    Args:
        files: Where the sample is taken from, from its start.
        max_files: Files looked at, at most.
        max_bytes: Decompressed bytes looked at, at most.

    Raises:
        SchemaError: The sample holds no record, or names that no table can have.
    """
    schema: pa.Schema | None = None
    if files.format.name == "parquet":
        schema = parquet_schema(_some(files, max_files))
    else:
        seen = _Seen()
        left = max_bytes
        for file in _some(files, max_files):
            for record in _records(file, files.format):
                left -= seen.add(record)
                if left <= 0:
                    break
            if left <= 0:
                break
        schema = seen.schema() if seen.records else None
    if schema is None or not schema.names:
        raise SchemaError(
            f"no schema can be inferred: none of the first {max_files} files holds a record",
            remedy='declare the columns: schema={"id": "BIGINT", ...}',
        )
    path = set(files.partition_columns)
    schema = pa.schema([item for item in schema if item.name not in path])
    check_names(schema.names)
    return schema


def _some(files: FilesInput, max_files: int) -> Iterator[InputFile]:
    for group in files.groups():
        with group as members:
            for file in members:
                if max_files <= 0:
                    return
                max_files -= 1
                yield file


def _records(file: InputFile, format: FileFormat) -> Iterator[tuple[dict[str, Any], int]]:  # noqa: A002
    """Records as raw values, and their sizes."""
    try:
        if format.name == "csv":
            yield from _csv_records(file, format)
            return
        decoder = json.JSONDecoder(parse_int=Number, parse_float=Number)
        for line in _lines(file, format):
            try:
                value = decoder.decode(line.decode())
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value, len(line)
    except UnreadableFile:
        return


def _lines(file: InputFile, format: FileFormat) -> Iterator[bytes]:  # noqa: A002
    with opened(file.local) as stream:
        for part in read_chunks(stream, format.max_line_bytes, chunk_bytes=256 * 1024):
            if isinstance(part, Chunk):
                yield from part.data[: part.size].split(b"\n")


def _csv_records(
    file: InputFile,
    format: FileFormat,  # noqa: A002
) -> Iterator[tuple[dict[str, Any], int]]:
    import csv
    import io

    text = b"\n".join(_lines(file, format))[: 4 * 1024 * 1024].decode("utf-8", "replace")
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=format.delimiter, quotechar=format.quote
    )
    names: list[str] | None = None
    for row in rows:
        if names is None:
            names = row if format.header else [f"column{n}" for n in range(len(row))]
            if format.header:
                continue
        if len(row) == len(names):
            values = {
                name: None if value == format.null_value else _word(value)
                for name, value in zip(names, row, strict=True)
            }
            yield values, sum(map(len, row)) + len(row)


def _word(text: str) -> Any:
    """A CSV text as the JSON value that it would have been."""
    if text in {"true", "false"}:
        return text == "true"
    # Zeros in front are part of a code, not of a number.
    digits = text.lstrip("-")
    if digits[:1].isdigit() and not (len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()):
        try:
            scalar(pa.float64())(text)
        except BadValue:
            return text
        return Number(text)
    return text


class _Seen:
    """Every kind of value that the fields of some records had."""

    def __init__(self) -> None:
        self.records = 0
        self.fields: dict[str, _Kinds] = {}

    def add(self, record: tuple[dict[str, Any], int]) -> int:
        self.records += 1
        self.merge(record[0])
        return record[1]

    def merge(self, value: dict[str, Any]) -> None:
        for name, item in value.items():
            self.fields.setdefault(name, _Kinds()).add(item)

    def schema(self) -> pa.Schema:
        return pa.schema([kinds.field(name) for name, kinds in self.fields.items()])


class _Kinds:
    """Kinds of value that one field had."""

    def __init__(self) -> None:
        self.types: set[Any] = set()
        self.beyond_doubles = False  # whole numbers that no double holds
        self.object: _Seen | None = None
        self.items: _Kinds | None = None

    def add(self, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, dict):
            self.object = self.object or _Seen()
            self.object.merge(value)
        elif isinstance(value, list):
            self.items = self.items or _Kinds()
            for item in value:
                self.items.add(item)
        else:
            kind = _type(value)
            self.types.add(kind)
            if kind in {pa.int64(), _WIDE}:
                self.beyond_doubles |= abs(int(value)) > 2**53

    def field(self, name: str) -> pa.Field[Any]:
        kinds = len({_family(kind) for kind in self.types})
        kinds += (self.object is not None) + (self.items is not None)
        if kinds > 1 or (self.object is not None and not _usable(self.object)):
            return pa.field(name, pa.string(), metadata=_JSON)
        if self.object is not None:
            inner = [part.field(key) for key, part in self.object.fields.items()]
            return pa.field(name, pa.struct(inner))
        if self.items is not None:
            return pa.field(name, pa.list_(self.items.field("item")))
        if self.types == {pa.int64(), pa.float64()} and not self.beyond_doubles:
            return pa.field(name, pa.float64())
        return _merged(name, self.types)


def _usable(seen: _Seen) -> bool:
    names = [name.lower() for name in seen.fields]
    return bool(names) and all(names) and len(set(names)) == len(names)


def _type(value: Any) -> Any:
    """The narrowest type that holds a value; ``None`` for a number that only text holds."""
    if isinstance(value, bool):
        return pa.bool_()
    if not isinstance(value, Number):
        return _first(value, (pa.date32(), _TIMESTAMP)) or pa.string()
    if value.lstrip("-").isdigit():
        return _first(value, (pa.int64(), _WIDE))
    if _first(value, (pa.float64(),)) and Decimal(repr(float(value))) == Decimal(value):
        return pa.float64()
    return None


def _first(value: Any, kinds: Iterable[Any]) -> Any:
    for kind in kinds:
        try:
            scalar(kind)(value)
        except BadValue:
            continue
        return kind
    return None


def _family(kind: Any) -> str:
    if kind is None or kind in {pa.int64(), _WIDE, pa.float64()}:
        return "number"
    return "text" if kind in {pa.date32(), _TIMESTAMP, pa.string()} else str(kind)


def _merged(name: str, types: set[Any]) -> pa.Field[Any]:
    if not types:
        return pa.field(name, pa.string())
    if len(types) == 1:
        (only,) = types
        if only is not None:
            return pa.field(name, only)
    elif types == {pa.int64(), _WIDE}:
        return pa.field(name, _WIDE)
    elif types <= {pa.date32(), _TIMESTAMP, pa.string()}:
        return pa.field(name, pa.string())
    return pa.field(name, pa.string(), metadata=_JSON)
