"""``files(...)``: how a user declares files as a source, and what is refused at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from orchestration.errors import DeclarationError
from orchestration.sources.base import Limits
from orchestration.sources.discovery import Discovery, OnRewrite
from orchestration.sources.file_source import FileSource
from orchestration.sources.inputs import FileFormat
from orchestration.sources.options import (
    check_bad_fraction,
    check_count,
    check_csv_options,
    check_duration,
    check_hours,
    check_max_rows,
    check_name,
    check_one_of,
    check_partitions,
    check_path,
    check_schema,
    check_size,
    check_timezone,
)
from orchestration.sources.patterns import check_glob
from orchestration.sources.planned import OnMissing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from datetime import timedelta

__all__ = ["files"]

_Format = Literal["json", "csv", "parquet"]
_Listing = Literal["full", "lexical"]
_OnBadRecord = Literal["quarantine", "fail"]


def files(
    path: str | os.PathLike[str],
    format: _Format = "json",  # noqa: A002 - the word every user of such tools knows
    schema: Mapping[str, str] | Literal["infer"] = "infer",
    *,
    name: str = "files",
    glob: str | None = None,
    recursive: bool | None = None,
    partitions: Mapping[str, str] | None = None,
    include_existing: bool = True,
    min_age: str | timedelta | None = None,
    on_rewrite: OnRewrite = "ignore",
    on_missing: OnMissing = "fail",
    listing: _Listing = "full",
    full_listing_every_runs: int = 50,
    full_listing_every_hours: float = 24,
    max_files: int | None = 1000,
    max_bytes: int | str | None = 1024**3,
    max_rows: int | None = None,
    max_line_bytes: int | str = 16 * 1024**2,
    timezone: str | None = None,
    metadata: bool = False,
    rescue: bool = False,
    on_bad_record: _OnBadRecord = "quarantine",
    max_bad_fraction: float | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    header: bool | None = None,
    null_value: str | None = None,
) -> FileSource:
    """Files that come to a directory or a bucket prefix; each is read once.

    Nothing is listed or opened here. What is read of the place is decided by a ledger of the
    files planned before, never by times: late, older and same-second files are all found.

    Args:
        path: Directory (relative to the project's root) or ``s3://bucket/prefix``. It need not
            exist yet. Names that start with ``_`` or ``.`` are never read, at any level.
        format: ``json`` is one object a line; ``.gz`` and ``.zst`` are decompressed.
        schema: Column to DuckDB type. ``"infer"`` looks at a sample once and records the result.
        name: Unique within the query; offsets are kept under it, so keep it.
        glob: Only such files. Compared with the name; with the path below the directory where it
            has a slash. ``*``, ``?``, ``[a-z]``, ``{a,b}``, and ``**/`` for any directories.
        recursive: Read subdirectories too. Off by default, and always on with ``partitions``.
            Links to directories are not followed.
        partitions: Column to type, for directories such as ``dt=2026-01-31``. The value is
            percent-decoded; ``__HIVE_DEFAULT_PARTITION__``, or no such directory, is null.
        include_existing: False reads only files that come after the query's first run.
        min_age: Leave younger files for later: they may still be being written. E.g.
            ``"30 seconds"``.
        on_rewrite: What becomes of a file that was planned and now has another size, time or
            etag: ``ignore`` (told in the notes), ``reprocess`` (read again, whole), ``fail``.
        on_missing: What becomes of a planned file that vanished before it was read: ``fail``, or
            ``quarantine``, which keeps its name there and goes on.
        listing: ``lexical`` asks an object store only for keys after the last one, for large
            buckets whose new keys sort last; the others are found at the next full listing.
        full_listing_every_runs: With ``lexical``: list everything after so many looks …
        full_listing_every_hours: … or when so many hours have passed.
        max_files: Files a batch. A batch takes at least one file. ``None`` is no limit.
        max_bytes: Bytes a batch as stored, e.g. ``"1GiB"``. A larger file is read alone.
        max_rows: Rows a batch, Parquet only (read from the footers).
        max_line_bytes: A longer line is set aside; its place, hash and head are kept.
        timezone: What timestamps without a zone mean, e.g. ``"Europe/Berlin"``. Without it they
            are bad records.
        metadata: Add the column ``_file``: path, size, modified, row.
        rescue: Keep fields that the schema does not name, as JSON text in ``_rescued``.
        on_bad_record: ``quarantine`` sets records aside that cannot be read; ``fail`` fails the
            batch before anything is written.
        max_bad_fraction: Fail the batch where more than this part of its records is bad.
        delimiter: CSV: one character between fields; ``,`` by default.
        quote: CSV: one character around fields; ``"`` by default.
        header: CSV: the first line names the columns; true by default.
        null_value: CSV: what an unquoted field says for null; empty by default.

    Raises:
        DeclarationError: A value makes no sense.
        SchemaError: The schema or the partition columns do not.
    """
    check_one_of("format", format, _Format)
    check_one_of("on_rewrite", on_rewrite, OnRewrite)
    check_one_of("on_missing", on_missing, OnMissing)
    check_one_of("listing", listing, _Listing)
    check_one_of("on_bad_record", on_bad_record, _OnBadRecord)
    if glob is not None:
        check_glob(glob)
    from_path = check_partitions(partitions)
    if recursive is False and len(from_path):
        raise DeclarationError(
            "partitions are directories, and recursive=False does not look into directories",
            remedy="leave recursive out",
        )
    csv = {"delimiter": delimiter, "quote": quote, "header": header, "null_value": null_value}
    return FileSource(
        path=check_path(path),
        format=FileFormat(
            name=format,
            max_line_bytes=check_size("max_line_bytes", max_line_bytes),
            rescue=rescue,
            metadata=metadata,
            timezone=check_timezone(timezone),
            **check_csv_options(format, csv),
        ),
        data_schema=check_schema(schema, from_path),
        partitions=from_path,
        name=check_name(name),
        glob=glob,
        recursive=bool(recursive) or len(from_path) > 0,
        discovery=Discovery(
            include_existing=include_existing,
            min_age=check_duration("min_age", min_age),
            on_rewrite=on_rewrite,
            lexical=listing == "lexical",
            full_every_polls=check_count("full_listing_every_runs", full_listing_every_runs) or 1,
            full_every=check_hours("full_listing_every_hours", full_listing_every_hours),
        ),
        on_missing=on_missing,
        limits=Limits(
            check_count("max_files", max_files),
            None if max_bytes is None else check_size("max_bytes", max_bytes),
            check_max_rows(max_rows, format),
        ),
        on_bad_record=on_bad_record,
        max_bad_fraction=check_bad_fraction(max_bad_fraction, on_bad_record),
    )
