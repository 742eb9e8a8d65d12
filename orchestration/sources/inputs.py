"""What a source hands to an engine: files on a local disk, or rows in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa

    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["FileFormat", "FilesInput", "InputFile", "TableInput"]


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that lies on a local disk, ready to read.

    Attributes:
        local: Where the bytes are.
        name: What the user calls it (its path, or its ``s3://`` URI): for ``_file`` columns,
            quarantine rows and messages.
        size: Bytes.
        modified: Modification time at the source, aware UTC.
        partitions: Values of hive-style directories on its path, by column; ``None`` is null.
    """

    local: Path
    name: str
    size: int
    modified: datetime
    partitions: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the bytes of the input files are read.

    Attributes:
        name: ``json`` is newline-delimited JSON; compression is told by ``.gz`` / ``.zst``.
        max_line_bytes: A longer line is set aside with its place, hash and head.
        rescue: Keep fields the schema does not name as JSON text in ``_rescued``.
        metadata: Add the column ``_file``: STRUCT(path VARCHAR, size BIGINT, modified
            TIMESTAMPTZ, row BIGINT); ``row`` is the 1-based line (JSON, CSV) or row number.
        timezone: Meaning of timestamps without a zone; ``None`` refuses them as bad records.
        delimiter, quote, header, null_value: CSV only.
        changes: The records are changes of a table's rows, and become those of the one format
            (:mod:`.cdc_format`).
    """

    name: Literal["json", "csv", "parquet"]
    max_line_bytes: int = 16 * 1024 * 1024
    rescue: bool = False
    metadata: bool = False
    timezone: str | None = None
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    null_value: str = ""
    changes: ChangeFormat | None = None


class FilesInput(Protocol):
    """Files of one batch, fetched a group at a time so that local disk use is bounded."""

    @property
    def format(self) -> FileFormat:
        """How to read them."""

    @property
    def schema(self) -> pa.Schema:
        """Columns to read, in order, partition columns among them; without ``_rescued``/``_file``."""

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """Columns of ``schema`` that come from the path."""

    @property
    def missing(self) -> Sequence[str]:
        """Names of planned files that had vanished, with ``on_missing="quarantine"``.

        Complete once :meth:`groups` is exhausted; none of them was in a group.
        """

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """Groups of files in planned order; a group's files are gone after its ``with``.

        Read each group before asking for the next: at the iterator's end everything is gone.

        Raises:
            FileChanged, FileMissing: A file is not the version that was planned.
            SourceUnavailable: The place does not answer.
        """


@dataclass(frozen=True, slots=True)
class TableInput:
    """Rows that are in memory already (``MemoryStream``)."""

    table: pa.Table
