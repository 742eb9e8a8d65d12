"""``delta(...)``: how a user declares a Delta table as a stream, and what is refused at once."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import DeclarationError
from orchestration.sources.base import Limits
from orchestration.sources.delta_source import DeltaSource
from orchestration.sources.options import (
    check_count,
    check_name,
    check_one_of,
    check_size,
    check_timezone,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["delta"]

_OnChange = Literal["fail", "skip", "ignore_deletes"]
_Preimages = Literal["drop", "delete"]


def delta(
    table: str | os.PathLike[str],
    schema: Mapping[str, str] | pa.Schema | None = None,
    *,
    starting_version: int | Literal["latest"] | None = None,
    starting_timestamp: str | datetime | None = None,
    on_change: _OnChange = "fail",
    change_feed: bool = False,
    preimages: _Preimages = "drop",
    timezone: str | None = None,
    max_files: int | None = 1000,
    max_bytes: int | str | None = 1024**3,
    max_rows: int | None = None,
    name: str | None = None,
) -> DeltaSource:
    """A Delta table, ours or another's, as a stream: each row that is appended comes once.

    Example::

        clicks = stream(delta("clicks"))             # the table of the pipeline "clicks"
        orders = stream(delta("s3://lake/orders", starting_version="latest"))

    Nothing is opened here. The first batches read the table as it is, and those after them what
    was added, by version and file. A commit that only arranges rows anew (OPTIMIZE) gives none.

    Args:
        table: The name of a table under the tables' root, as in :func:`delta_sink`; or, with a
            slash in it, a directory (relative to the project's root) or ``s3://bucket/prefix``.
        schema: Column to DuckDB type: read these columns. Without it they are the table's at the
            first look, and a change of them stops the stream. A column that files lack is null.
        starting_version: Begin with what this version added, and leave out what was there before;
            ``"latest"``: with what comes after the query's first run.
        starting_timestamp: Begin with the first version committed then or later: ISO 8601 with a
            zone, or an aware datetime.
        on_change: What becomes of a commit that takes rows away. ``fail`` stops with
            :class:`~orchestration.errors.TableRewritten`, which names it. ``ignore_deletes`` goes
            on after commits that only delete, and fails on others. ``skip`` leaves out every such
            commit, with the rows that it adds.
        change_feed: Read the table's change data feed instead: rows of ``_op``, ``_sequence``,
            ``_source_time``, ``_transaction``, ``_table``, ``_unchanged``, ``_commit_version``,
            ``_commit_time``, and the table's columns.
        preimages: Of a change feed, what becomes of rows as they were before an update: left out,
            or given as deletes that come before what the same commit writes. Needed where an
            update may change a key.
        timezone: What timestamps without a zone mean, e.g. ``"UTC"``.
        max_files: Files a batch. A batch takes at least one file. ``None`` is no limit.
        max_bytes: Bytes a batch as stored, e.g. ``"1GiB"``. A larger file is read alone.
        max_rows: Rows a batch, by what the log says of its files.
        name: Unique within the query; offsets are kept under it. By default the last part of the
            table's place.

    Raises:
        DeclarationError: A value makes no sense.
        SchemaError: The schema does not.
    """
    check_one_of("on_change", on_change, _OnChange)
    check_one_of("preimages", preimages, _Preimages)
    place = _place(table)
    if starting_version is not None and starting_timestamp is not None:
        raise DeclarationError(
            "starting_version and starting_timestamp both say where to begin",
            remedy="leave one of them out",
        )
    if change_feed and on_change != "fail":
        raise DeclarationError(
            f"on_change={on_change!r} is for appended rows: a change feed gives every change",
            remedy="leave it out",
        )
    if preimages != "drop" and not change_feed:
        raise DeclarationError(
            f"preimages={preimages!r} is for a change feed", remedy="add change_feed=True"
        )
    return DeltaSource(
        table=place,
        name=check_name(_last_part(place) if name is None else name),
        data_schema=_schema(schema),
        starting_version=_version(starting_version),
        starting_timestamp=_moment(starting_timestamp),
        on_change=on_change,
        change_feed=bool(change_feed),
        preimages=preimages,
        timezone=check_timezone(timezone),
        limits=Limits(
            check_count("max_files", max_files),
            None if max_bytes is None else check_size("max_bytes", max_bytes),
            check_count("max_rows", max_rows),
        ),
    )


def _place(table: object) -> str:
    if not isinstance(table, str | os.PathLike) or not os.fspath(table):
        raise DeclarationError(
            f"delta({table!r}): expected a table's name, a directory, or s3://bucket/prefix",
            remedy="write for instance delta('clicks') or delta('s3://lake/clicks')",
        )
    text = str(os.fspath(table))
    scheme = text.partition("://")[0] if "://" in text else ""
    if scheme not in {"", "s3", "file"} or text.rstrip("/") == "s3:":
        raise DeclarationError(
            f"delta({scheme}://…): expected a table's name, a directory, or s3://bucket/prefix",
            remedy="for any S3-compatible store write s3:// and set AWS_ENDPOINT_URL",
        )
    if re.match(r"[a-z0-9]+://[^/]*@", text):
        raise DeclarationError(
            "delta(...): the place holds credentials, and would be shown with the query",
            remedy="remove them; they are found the way boto3 finds them",
        )
    path = text.removeprefix("file://").rstrip("/") or "/"
    return path if "/" in path or "/" not in text else f"./{path}"


def _last_part(place: str) -> str:
    part = re.sub(r"[^A-Za-z0-9_.-]+", "_", place.rpartition("/")[2])
    return part if re.match(r"[A-Za-z_]", part) else f"delta_{part}"


def _schema(schema: Any) -> pa.Schema | None:
    from orchestration.streams.schema import parse_schema

    if schema is None or isinstance(schema, pa.Schema):
        return schema
    return parse_schema(schema)


def _version(value: Any) -> int | Literal["latest"] | None:
    if value is None or value == "latest":
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DeclarationError(
            f"starting_version={value!r}: expected a version number or 'latest'",
            remedy="leave it out to begin with the table as it is",
        )
    return value


def _moment(value: str | datetime | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise DeclarationError(
            f"starting_timestamp={value!r}: expected a time with its zone",
            remedy='write for instance "2026-01-31T00:00:00Z"',
        )
    return moment.astimezone(UTC)
