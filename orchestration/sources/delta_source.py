"""A Delta table as a source: its appended rows, or its changes, as they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import FileMissing
from orchestration.objects import Place, PlaceError
from orchestration.redaction import redact
from orchestration.sources.delta_offsets import take_delta
from orchestration.sources.listing import unavailable
from orchestration.sources.notes import about_files

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry, Slice
    from orchestration.sources.base import Backlog, Limits, SourceHistory
    from orchestration.sources.delta_walk import OnChange
    from orchestration.sources.inputs import FilesInput

__all__ = ["DeltaSource"]


@dataclass(frozen=True, slots=True)
class DeltaSource:
    """A Delta table that is followed; made by :func:`orchestration.sources.delta_declared.delta`.

    Attributes:
        table: As declared: a name under the tables' root, a path, or ``s3://``.
        name: Unique within the query.
        data_schema: Columns to read; ``None`` for those of the table.
        starting_version: First version to read; ``"latest"`` for what comes after the first look;
            ``None`` for the table as it is, and then what comes.
        starting_timestamp: Instead: the first version that was committed then or later.
        on_change: What becomes of commits that take rows away.
        change_feed: Whether the changes are read instead of the rows.
        preimages: What becomes of rows as they were before an update.
        timezone: What timestamps without a zone mean.
        limits: How much a batch reads.
    """

    table: str
    name: str
    data_schema: pa.Schema | None
    starting_version: int | Literal["latest"] | None
    starting_timestamp: datetime | None
    on_change: OnChange
    change_feed: bool
    preimages: Literal["drop", "delete"]
    timezone: str | None
    limits: Limits
    on_bad_record: Literal["quarantine", "fail"] = "fail"
    max_bad_fraction: float | None = None

    @property
    def schema(self) -> pa.Schema | None:
        """Columns a stream starts with; ``None`` while they are to be looked up."""
        return None if self.data_schema is None else self.complete_schema(self.data_schema)

    @property
    def description(self) -> str:
        """What is read and where, without secrets."""
        what = "changes of the Delta table" if self.change_feed else "the Delta table"
        return f"{what} {redact(self.table)}"

    def describe(self) -> dict[str, Any]:
        """What is read and how, as JSON; ``kind``, ``path`` and ``format`` say which data."""
        from orchestration.streams.schema import schema_to_json

        start = self.starting_timestamp
        return {
            "kind": "delta",
            "name": self.name,
            "path": redact(self.table),
            "format": "delta changes" if self.change_feed else "delta",
            "schema": None if self.schema is None else schema_to_json(self.schema),
            "starting_version": self.starting_version,
            "starting_timestamp": None if start is None else start.isoformat(),
            "on_change": self.on_change,
            "timezone": self.timezone,
            **({"preimages": self.preimages} if self.change_feed else {}),
        }

    def table_uri(self, settings: Settings) -> str:
        """Where the table lies: an absolute path or an ``s3://`` URI."""
        if "/" in self.table:
            return settings.resolve_input(self.table).rstrip("/")
        return settings.tables_uri(self.table)

    def complete_schema(self, data: pa.Schema) -> pa.Schema:
        """The table's columns; of a change stream after those that say what happened."""
        if not self.change_feed:
            return data
        from orchestration.sources.delta_feed import FEED_SCHEMA

        ours = {name.lower() for name in FEED_SCHEMA.names}
        return pa.schema([*FEED_SCHEMA, *(item for item in data if item.name.lower() not in ours)])

    def found_schema(self, backlog: Backlog) -> pa.Schema | None:
        """The table's columns as :meth:`poll` saw them; ``None`` where there is no table yet."""
        from orchestration.streams.schema import parse_schema

        columns = backlog.listing.get("columns")
        return parse_schema(columns) if columns else None

    def poll(self, history: SourceHistory, *, clock: Clock, settings: Settings) -> Backlog:
        """Look how far the table goes: at the one commit that would be next, where it is idle.

        Raises:
            SourceUnavailable: The table does not answer, or is gone.
            TableRewritten, TableReplaced, TableColumnsChanged, TableLogGone, TableUnsupported:
                The stream cannot go on, and nothing that it can read comes before that.
        """
        from orchestration.sources.delta_poll import poll

        return poll(self, history, clock=clock, settings=settings)

    def take(
        self, backlog: Backlog, limits: Limits, *, settings: Settings
    ) -> tuple[Slice, Backlog]:
        """Cut the next batch from the front."""
        place = Place.open(self.table_uri(settings))

        def rows(entry: FileEntry) -> int:
            from orchestration.sources.parquet_rows import count_parquet_rows

            return count_parquet_rows(place, entry.path)

        return take_delta(self.name, backlog, limits, rows)

    def open(self, part: Slice, *, schema: pa.Schema | None, settings: Settings) -> FilesInput:
        """The slice's files, with the columns that stand in the log."""
        if schema is None:
            raise ValueError("the columns of a Delta table are found by found_schema()")
        from orchestration.sources.delta_reading import open_files

        return open_files(self, part.files, schema, settings)

    def whole(
        self, wanted: tuple[FileEntry, ...], *, clock: Clock, settings: Settings
    ) -> tuple[tuple[FileEntry, ...], tuple[str, ...]]:
        """Those of the wanted files that are still there, and notes on the rest."""
        del clock
        if not wanted:
            return (), ()
        place = Place.open(self.table_uri(settings))
        if place.is_local:
            there = {item.path for item in wanted if (place.local_path / item.path).is_file()}
        else:
            try:
                there = {info.path for info in place.list()}
            except PlaceError as error:
                raise unavailable(error) from error
        from orchestration.sources.delta_offsets import Marks
        from orchestration.sources.delta_reading import vectors_of

        try:
            vectors_of(place.uri, wanted)
        except FileMissing:
            there -= {item.path for item in wanted if Marks.of(item).vector}
        present = tuple(item for item in wanted if item.path in there)
        gone = sorted({item.path for item in wanted if item.path not in there})
        notes = []
        if gone:
            notes.append(
                about_files(gone, "was taken by a vacuum since", "were taken by a vacuum since")
            )
        return present, tuple(notes)

    def lasting(self, listing: dict[str, Any]) -> dict[str, Any]:
        """Where a stream of ``"latest"`` began: a reset begins there again."""
        return {"start": listing["start"]} if "start" in listing else {}

    def file_name(self, entry: FileEntry) -> str:
        """The file's path in the table."""
        return f"{redact(self.table)}/{entry.path}"

    def acknowledge(self, part: Slice) -> None:
        """Nothing to do: the table is another's."""

    def everything(self, *, clock: Clock, settings: Settings) -> tuple[Place, Backlog]:
        """Where its files lie, and what a first run would read; all there is for "latest"."""
        start = None if self.starting_version == "latest" else self.starting_version
        whole = replace(self, starting_version=start)
        backlog = whole.poll(_NoHistory(), clock=clock, settings=settings)
        return Place.open(self.table_uri(settings)), backlog

    def complete_copy(
        self, directory: Path, files: tuple[FileEntry, ...], *, settings: Settings
    ) -> None:
        """Write the log of a table that consists of these files."""
        from orchestration.sources.delta_copy import write_log

        write_log(self.table_uri(settings), directory, files)

    def moved(self, directory: Path) -> DeltaSource:
        """The same over a copy, from its first version on."""
        return replace(self, table=str(directory), starting_version=0, starting_timestamp=None)


class _NoHistory:
    """A source's past before its first run."""

    offset: dict[str, Any] = {}  # noqa: RUF012 - never written to
    listing: dict[str, Any] = {}  # noqa: RUF012

    def seen(self) -> dict[str, FileEntry]:
        return {}
