"""Checks of what ``files(...)`` was given: each says what was found, expected, and what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, get_args

import pyarrow as pa

from orchestration.errors import DeclarationError, SchemaError
from orchestration.redaction import redact

__all__ = [
    "check_bad_fraction",
    "check_count",
    "check_csv_options",
    "check_duration",
    "check_hours",
    "check_max_rows",
    "check_name",
    "check_one_of",
    "check_partitions",
    "check_path",
    "check_schema",
    "check_size",
    "check_timezone",
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def check_one_of(option: str, value: object, choices: object) -> None:
    """One of the values of a ``Literal``."""
    allowed = get_args(choices)
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise DeclarationError(
            f"{option}={value!r} is not known{guess}",
            remedy=f"use one of {', '.join(repr(item) for item in allowed)}",
        )


def check_path(path: object) -> str:
    """A directory or ``s3://`` prefix as text, without a slash at the end."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise DeclarationError(
            f"files({path!r}): expected a directory or s3://bucket/prefix",
            remedy="write for instance files('landing/clicks/', …)",
        )
    text = os.fspath(path)
    if not isinstance(text, str):
        raise DeclarationError(f"files({path!r}): expected text, found bytes", remedy="decode it")
    scheme = text.partition("://")[0] if "://" in text else ""
    if scheme not in {"", "s3", "file"} or text.rstrip("/") == "s3:":
        raise DeclarationError(
            f"files({redact(text)!r}): expected a directory or s3://bucket/prefix",
            remedy="for any S3-compatible store write s3:// and set AWS_ENDPOINT_URL",
        )
    if "*" in text:
        directory, _, pattern = text.rpartition("/")
        raise DeclarationError(
            f"files({text!r}): a path is taken literally, and this one holds a pattern",
            remedy=f"write files({directory or '.'!r}, …, glob={pattern!r})",
        )
    if scheme == "file":
        text = text.removeprefix("file://")
    return text.rstrip("/") or "/"


def check_name(name: object) -> str:
    """A source's name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DeclarationError(
            f"name={name!r} cannot name a source: expected letters, digits, '_', '-' and '.'",
            remedy="offsets are kept under this name; choose one that will stay",
        )
    return name


def check_schema(schema: Any, partitions: pa.Schema) -> pa.Schema | None:
    """The columns inside the files; ``None`` where they are to be inferred."""
    from orchestration.streams.schema import parse_schema

    if isinstance(schema, str):
        if schema != "infer":
            raise SchemaError(
                f"schema={schema!r} is not a schema: expected columns and types, or 'infer'",
                remedy='write for instance schema={"id": "BIGINT", "at": "TIMESTAMPTZ"}',
            )
        return None
    data = parse_schema(schema)
    from_path = {name.lower() for name in partitions.names}
    twice = [name for name in data.names if name.lower() in from_path]
    if twice:
        raise SchemaError(
            f"{', '.join(twice)}: in the schema and in partitions, so it would come from two places",
            remedy="leave it out of the schema: the path tells it",
        )
    return data


def check_partitions(partitions: Mapping[str, str] | None) -> pa.Schema:
    """The columns that come from the path."""
    from orchestration.streams.schema import parse_schema

    if partitions is None:
        return pa.schema([])
    if not isinstance(partitions, Mapping):
        raise SchemaError(
            f"partitions={partitions!r}: expected columns and types",
            remedy='write for instance partitions={"dt": "DATE"}',
        )
    return parse_schema(partitions) if partitions else pa.schema([])


def check_csv_options(format_name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Those CSV options that were given."""
    options = {name: value for name, value in given.items() if value is not None}
    if options and format_name != "csv":
        raise DeclarationError(
            f"{', '.join(options)} say how CSV is written, and format={format_name!r}",
            remedy="leave them out, or declare format='csv'",
        )
    for name in ("delimiter", "quote"):
        value = options.get(name)
        if value is not None and (len(value) != 1 or value in "\r\n" or not value.isascii()):
            raise DeclarationError(
                f"{name}={value!r}: expected one ASCII character that does not end a line",
                remedy="write for instance delimiter=';' or delimiter='\\t'",
            )
    if options.get("delimiter", ",") == options.get("quote", '"'):
        raise DeclarationError(
            f"delimiter and quote are both {options.get('delimiter', ',')!r}",
            remedy="choose two different characters",
        )
    return options


def check_timezone(name: str | None) -> str | None:
    """A time zone that is known here."""
    from zoneinfo import ZoneInfo

    if name is None:
        return None
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise DeclarationError(
            f"timezone={name!r} is not a time zone",
            remedy="write for instance 'UTC', 'Europe/Berlin' or 'America/New_York'",
        ) from None


def check_duration(option: str, value: str | timedelta | None) -> timedelta | None:
    """A length of time above zero."""
    from orchestration.streams.durations import parse_duration

    if value is None:
        return None
    span = value if isinstance(value, timedelta) else parse_duration(value)
    if span <= timedelta(0):
        raise DeclarationError(
            f"{option}={value!r} is not above zero", remedy=f"leave {option} out, or wait longer"
        )
    return span


def check_hours(option: str, value: Any) -> timedelta:
    """A number of hours above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**6:
        raise DeclarationError(
            f"{option}={value!r}: expected hours, above zero", remedy="write 24 for once a day"
        )
    return timedelta(hours=value)


def check_count(option: str, value: Any) -> int | None:
    """A whole number above zero."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DeclarationError(
            f"{option}={value!r}: expected a whole number above zero",
            remedy="write None for no limit",
        )
    return value


def check_size(option: str, value: Any) -> int:
    """A number of bytes above zero."""
    if isinstance(value, str):
        from orchestration.config import parse_bytes

        try:
            return parse_bytes(value)
        except ValueError as error:
            raise DeclarationError(
                f"{option}: {error}", remedy="write for instance '1GiB'"
            ) from None
    return check_count(option, value) or 1


def check_max_rows(value: int | None, format_name: str) -> int | None:
    """A limit of rows, where the format knows them."""
    if value is not None and format_name != "parquet":
        raise DeclarationError(
            f"max_rows={value}: {format_name} files do not say how many rows they have",
            remedy="limit max_bytes or max_files instead",
        )
    return check_count("max_rows", value)


def check_bad_fraction(value: Any, on_bad_record: str) -> float | None:
    """A part between 0 and 1."""
    if value is None:
        return None
    if on_bad_record == "fail":
        raise DeclarationError(
            "max_bad_fraction has no meaning with on_bad_record='fail': one bad record fails",
            remedy="leave one of the two out",
        )
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise DeclarationError(
            f"max_bad_fraction={value!r}: expected a part between 0 and 1",
            remedy="write 0.01 for one bad record in a hundred",
        )
    return float(value)
