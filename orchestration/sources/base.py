"""What the runner asks of a source, and what it tells it of the past.

Planning is separate from reading: :meth:`Source.poll` lists, :meth:`Source.take` cuts, and only
:meth:`Source.open` reads, exactly what was planned, as often as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from orchestration.sources.inputs import FileFormat, FilesInput, InputFile, TableInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry, Slice
    from orchestration.objects import Place

__all__ = [
    "UNLIMITED",
    "Backlog",
    "CopiesItself",
    "FileFormat",
    "FilesInput",
    "FollowsTable",
    "InputFile",
    "KnowsColumns",
    "LimitOverrides",
    "Limits",
    "ReadsOnce",
    "Source",
    "SourceHistory",
    "TableInput",
    "Versioned",
    "Warns",
]

JsonDict = dict[str, Any]


class LimitOverrides(Protocol):
    """Anything that says how much a batch may read: a trigger, or :class:`Limits`."""

    @property
    def max_files(self) -> int | None:
        """Files a batch; ``None`` says nothing."""

    @property
    def max_bytes(self) -> int | None:
        """Bytes a batch, as stored; ``None`` says nothing."""

    @property
    def max_rows(self) -> int | None:
        """Rows a batch; ``None`` says nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one micro-batch may read; ``None`` is no limit.

    A batch always takes at least one file, so a file larger than the limits is read alone.

    Attributes:
        max_files: Files.
        max_bytes: Bytes as stored (compressed).
        max_rows: Rows, where the source knows them without reading (Parquet).
    """

    max_files: int | None = None
    max_bytes: int | None = None
    max_rows: int | None = None

    def tightened(self, other: LimitOverrides) -> Limits:
        """These limits, each replaced where ``other`` has one."""
        return Limits(
            self.max_files if other.max_files is None else other.max_files,
            self.max_bytes if other.max_bytes is None else other.max_bytes,
            self.max_rows if other.max_rows is None else other.max_rows,
        )


UNLIMITED = Limits()


@runtime_checkable
class Versioned(Protocol):
    """A mapping of files that can show their versions without making an object of each."""

    def versions(self) -> Mapping[str, tuple[int, int, str | None]]:
        """Path to size, modification time in microseconds, and etag."""


class SourceHistory(Protocol):
    """What was planned before, as the cursor store has it."""

    @property
    def offset(self) -> JsonDict:
        """End of the last plan; ``{}`` at the start."""

    def seen(self) -> Mapping[str, FileEntry]:
        """The latest planned version of each file, by path."""

    @property
    def listing(self) -> JsonDict:
        """The last :attr:`Backlog.listing` that was kept; ``{}`` at the start."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a source has that no plan covers yet.

    Attributes:
        start: Offset it begins at.
        end: Offset when all of it is taken.
        files: Files in the order they will be read.
        bytes: Sum of their sizes.
        rows: Rows, for sources without files; else 0.
        seen: Files known in all: planned before, and these.
        notes: Oddities worth telling: rewritten, vanished, still being written, not followed.
        listing: What the source wants back as :attr:`SourceHistory.listing`. Keep it with the
            plan that takes from this backlog; with nothing to plan, when :attr:`must_record`.
        drained_listing: What :attr:`listing` becomes when all of this is taken.
        must_record: True when :attr:`listing` has to be kept though there is nothing to plan.
        exists: False when the directory does not exist yet.
        waiting_since: When the oldest row came to be, for sources without files.
    """

    start: JsonDict
    end: JsonDict
    files: tuple[FileEntry, ...] = ()
    bytes: int = 0
    rows: int = 0
    seen: int = 0
    notes: tuple[str, ...] = ()
    listing: JsonDict = field(default_factory=dict)
    drained_listing: JsonDict | None = None
    must_record: bool = False
    exists: bool = True
    waiting_since: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to plan."""
        return self.start == self.end

    @property
    def oldest(self) -> datetime | None:
        """When the file that waits longest was last modified, or the oldest row came to be."""
        return min((entry.modified for entry in self.files), default=self.waiting_since)


class Source(Protocol):
    """Replayable rows: the same slice always gives the same rows, or a typed error."""

    @property
    def name(self) -> str:
        """Unique within a query; offsets are kept under it."""

    @property
    def schema(self) -> pa.Schema | None:
        """Columns a stream starts with; ``None`` while they are to be inferred."""

    @property
    def description(self) -> str:
        """A line for people, without secrets."""

    @property
    def limits(self) -> Limits:
        """How much a batch reads unless the trigger says otherwise."""

    @property
    def on_bad_record(self) -> Literal["quarantine", "fail"]:
        """What becomes of records that cannot be read."""

    @property
    def max_bad_fraction(self) -> float | None:
        """The part of bad records above which a batch fails."""

    def describe(self) -> JsonDict:
        """What of the declaration a query's fingerprint may need; JSON, without secrets."""

    def complete_schema(self, data: pa.Schema) -> pa.Schema:
        """An inferred schema with the columns that do not come from the data itself."""

    def poll(self, history: SourceHistory, *, clock: Clock, settings: Settings) -> Backlog:
        """Look how far the source goes, without reading data.

        Raises:
            SourceUnavailable: It does not answer, or does not let us in.
            FileRewritten: A file read before is another now, with ``on_rewrite="fail"``.
        """

    def take(
        self, backlog: Backlog, limits: Limits, *, settings: Settings
    ) -> tuple[Slice, Backlog]:
        """The next batch's slice and what is left; the same answer for the same backlog.

        Raises:
            SourceUnavailable: Row counts are needed, and the source does not answer.
        """

    def open(
        self, part: Slice, *, schema: pa.Schema | None, settings: Settings
    ) -> FilesInput | TableInput:
        """What an engine reads for a slice.

        Args:
            part: The slice.
            schema: Columns, partition columns among them; ``None`` to infer them.
            settings: Where fetched files may lie.
        """

    def whole(
        self, wanted: tuple[FileEntry, ...], *, clock: Clock, settings: Settings
    ) -> tuple[tuple[FileEntry, ...], tuple[str, ...]]:
        """Those of ``wanted`` that are still what was planned, and notes on the others."""

    def lasting(self, listing: JsonDict) -> JsonDict:
        """What of a listing no reset and no rebuild may forget; ``{}`` for nothing."""

    def file_name(self, entry: FileEntry) -> str:
        """What the user calls a file."""

    def acknowledge(self, part: Slice) -> None:
        """A slice's rows are committed and will never be asked for again; idempotent."""


@runtime_checkable
class KnowsColumns(Protocol):
    """A source that says which columns its data has, so that no sample of it is read."""

    def found_schema(self, backlog: Backlog) -> pa.Schema | None:
        """Columns of the data as :meth:`Source.poll` saw them; ``None`` where it saw none."""


@runtime_checkable
class FollowsTable(Protocol):
    """A source that reads a Delta table, so that its writer can be told in the lineage."""

    def table_uri(self, settings: Settings) -> str:
        """Where the table lies: an absolute path or an ``s3://`` URI."""


@runtime_checkable
class CopiesItself(Protocol):
    """A source of files that knows what a copy needs beside them, so that it can be proved."""

    def everything(self, *, clock: Clock, settings: Settings) -> tuple[Place, Backlog]:
        """Where its files lie, and what a first run would read."""

    def complete_copy(
        self, directory: Path, files: tuple[FileEntry, ...], *, settings: Settings
    ) -> None:
        """Write beside these files, copied below ``directory`` by their paths, what they need.

        Raises:
            DeclarationError: They cannot be read from a copy.
        """

    def moved(self, directory: Path) -> Source:
        """The same source over such a copy."""


@runtime_checkable
class ReadsOnce(Protocol):
    """A source that lets go of what was acknowledged: its change log is what can be read again."""

    @property
    def reads_once(self) -> bool:
        """True."""


@runtime_checkable
class Warns(Protocol):
    """A source that may have something to say to people while nothing is wrong with it."""

    def warnings(self) -> tuple[str, ...]:
        """A sentence each.

        Raises:
            SourceUnavailable: It does not answer.
        """
