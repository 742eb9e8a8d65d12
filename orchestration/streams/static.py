"""``static(...)``: a table that is read whole, not as it grows."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from orchestration.errors import DeclarationError
from orchestration.streams.schema import parse_schema, schema_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.streams.builder import Stream

__all__ = ["StaticFormat", "StaticTable", "static"]

StaticFormat = Literal["delta", "parquet", "csv"]


@dataclass(frozen=True, slots=True)
class StaticTable:
    """A table that every batch reads whole, at a version that stands in its plan.

    Attributes:
        name: Unique within the query, among sources too.
        location: A directory or file (relative to the project's root) or ``s3://bucket/prefix``.
        format: What is there.
        schema: Its columns; ``None`` as long as nobody has looked.
        delimiter, header: How CSV is written.
    """

    name: str
    location: str
    format: StaticFormat
    schema: pa.Schema | None = None
    delimiter: str = ","
    header: bool = True

    def describe(self) -> dict[str, Any]:
        """What it reads and how, as JSON; the location may name a bucket, never a secret."""
        found: dict[str, Any] = {
            "kind": "static",
            "path": self.location,
            "format": self.format,
            "schema": None if self.schema is None else schema_to_json(self.schema),
        }
        if self.format == "csv":
            found |= {"delimiter": self.delimiter, "header": self.header}
        return found

    def bound(self, schema: pa.Schema) -> StaticTable:
        """The same table with columns that are known now."""
        return replace(self, schema=schema)

    def __repr__(self) -> str:
        return f"static({self.location!r}, format={self.format!r}, name={self.name!r})"


def static(
    location: str | os.PathLike[str],
    format: StaticFormat = "delta",  # noqa: A002 - the word every user of such tools knows
    schema: Mapping[str, str] | pa.Schema | None = None,
    *,
    name: str | None = None,
    delimiter: str = ",",
    header: bool = True,
) -> Stream:
    """A table that is read whole: to join a stream with, or to run the same verbs on at once.

    Example::

        pages = static("tables/pages", schema={"page": "VARCHAR", "owner": "VARCHAR"})
        clicks.join(pages, on="page", how="left")

    Nothing is read here. In a stream every batch reads it anew, at the version that was there
    when the batch was planned.

    Args:
        location: A Delta table, or files: a directory, a file, or ``s3://bucket/prefix``.
        format: ``delta``, ``parquet`` or ``csv``.
        schema: Column to DuckDB type. Without it the columns are those that the table has when
            the query starts, and what depends on them is checked then.
        name: Unique within the query; by default the last part of the location.
        delimiter: CSV: one character between fields.
        header: CSV: the first line names the columns.

    Raises:
        DeclarationError: A value makes no sense.
        SchemaError: The schema does not.
    """
    from orchestration.streams.body import Body
    from orchestration.streams.builder import Stream
    from orchestration.streams.roots import StaticInput

    given: object = location
    if not isinstance(given, str | os.PathLike) or not os.fspath(given).strip():
        raise DeclarationError(
            f"static({given!r}): this is not a place",
            remedy='write a directory or URI, e.g. static("tables/pages")',
        )
    place = os.fspath(location)
    if re.match(r"[a-z][a-z0-9+.-]*://[^/]*@", place, re.IGNORECASE):
        raise DeclarationError(
            "static(...): the location holds credentials, and would be shown with the query",
            remedy="remove them; they are found the way boto3 finds them",
        )
    if format not in get_args(StaticFormat):
        raise DeclarationError(
            f"static(..., format={format!r}): there is no such format",
            remedy=f"one of {', '.join(get_args(StaticFormat))}",
        )
    if len(delimiter) != 1:
        raise DeclarationError(
            f"static(..., delimiter={delimiter!r}): one character stands between fields",
            remedy='write e.g. delimiter=";"',
        )
    if format == "csv" and schema is None:
        raise DeclarationError(
            "static(..., format='csv'): a CSV file does not say what its columns are",
            remedy='declare them: schema={"page": "VARCHAR"}',
        )
    known = None
    if schema is not None:
        known = _checked(schema)
    table = StaticTable(_name(place, name), place, format, known, delimiter, header)
    return Stream(Body.made(StaticInput(table)))


def _checked(schema: Mapping[str, str] | pa.Schema) -> pa.Schema:
    from orchestration.streams.steps import as_schema

    return as_schema(schema) if isinstance(schema, pa.Schema) else parse_schema(schema)


def _name(location: str, name: str | None) -> str:
    if name is None:
        name = re.split(r"[/\\]", location.rstrip("/\\"))[-1].split(".")[0] or "static"
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise DeclarationError(
            f"static(..., name={name!r}): this is not a name",
            remedy="use letters, digits, _, . and -, and start with a letter or digit",
        )
    return name
