"""How far a Delta table goes: the look that sensors take every few seconds.

An idle table costs a look at the commit that was read last, one for the next, and one at the
name of the last checkpoint; in an object store a single listing that begins there. Only a first
look, and one where something is wrong, open the table.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestration.errors import (
    SourceUnavailable,
    TableColumnsChanged,
    TableLogGone,
    TableReplaced,
)
from orchestration.objects import Place
from orchestration.redaction import redact
from orchestration.sources.base import Backlog
from orchestration.sources.delta_log import DeltaLog
from orchestration.sources.delta_names import is_mapped
from orchestration.sources.delta_offsets import Anchor, DeltaBacklog, Position, marked
from orchestration.sources.delta_start import first_columns, where_to_start
from orchestration.sources.delta_table import OpenedTable, log_retention, open_table
from orchestration.sources.delta_walk import Known, Walk, check_file, walk

if TYPE_CHECKING:
    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry
    from orchestration.sources.base import SourceHistory
    from orchestration.sources.delta_log import LogTail
    from orchestration.sources.delta_source import DeltaSource

__all__ = ["poll"]

_UNRECORDED = 50  # commits without rows that may be looked at anew before a run notes them
_NAMED = 3
_NEAR = 0.5  # of the log's retention
_RESET = "'headwater reset' reads the table as it is now, and then what comes"


def poll(
    source: DeltaSource, history: SourceHistory, *, clock: Clock, settings: Settings
) -> Backlog:
    """See :meth:`DeltaSource.poll`."""
    look = _Look(source, settings, clock.now())
    if history.offset:
        return look.following(history.offset, history.listing)
    return look.beginning(history.listing)


class _Look:
    def __init__(self, source: DeltaSource, settings: Settings, now: datetime) -> None:
        self._source = source
        self._uri = source.table_uri(settings)
        self._place = redact(self._uri)
        self._root = Place.open(self._uri)
        self._log = DeltaLog(self._root)
        self._now = now

    # -- the first look -------------------------------------------------------------------------

    def beginning(self, listing: dict[str, Any]) -> Backlog:
        """Nothing is planned yet."""
        table = open_table(self._uri)
        if table is None:
            return Backlog({}, {}, listing=listing, exists=False)
        columns = first_columns(self._source, table, self._place)
        if (
            listing.get("columns", columns.found) != columns.found
            and self._source.data_schema is None
        ):
            raise TableColumnsChanged(
                f"{self._place} has other columns than at the first look, and nothing was read yet",
                remedy="'headwater reset' takes the columns that it has now",
            )
        start = where_to_start(self._source, table, self._log, listing)
        memory: dict[str, Any] = {
            "columns": columns.found,
            "columns_at": table.version,
            "partitions": list(table.partitions),
            "mapped": is_mapped(table.configuration),
            "retention": log_retention(table.configuration).total_seconds(),
        }
        if self._source.starting_version == "latest":
            memory["start"] = listing.get("start", table.version + 1)
        new = any(listing.get(name) != memory[name] for name in memory if name != "columns_at")
        if start.position is None:
            return Backlog({}, {}, notes=(start.note, *columns.notes), listing=memory)
        found = self._found(
            {}, start.position, table.table_id, memory, table=table, must_record=new
        )
        return replace(found, notes=found.notes + columns.notes)

    # -- the looks after it ---------------------------------------------------------------------

    def following(self, offset: dict[str, Any], listing: dict[str, Any]) -> Backlog:
        """Something is planned already."""
        if "columns" not in listing:  # a cursor store that was rebuilt
            listing = self._remembered(offset, listing)
        return self._found(offset, Position.of(offset), str(offset["table"]), listing)

    def _remembered(self, offset: dict[str, Any], listing: dict[str, Any]) -> dict[str, Any]:
        at = int(offset["version"]) - (0 if offset["file"] else 1)
        table = open_table(self._uri, max(at, 0))
        if table is None:
            raise self._no_table()
        return {
            **listing,
            "columns": first_columns(self._source, table, self._place).found,
            "columns_at": table.version,
            "partitions": list(table.partitions),
            "mapped": is_mapped(table.configuration),
            "retention": log_retention(table.configuration).total_seconds(),
        }

    def _found(
        self,
        offset: dict[str, Any],
        position: Position,
        table_id: str,
        memory: dict[str, Any],
        *,
        table: OpenedTable | None = None,
        must_record: bool = False,
    ) -> Backlog:
        """The backlog from a position on."""
        known = self._known(table_id, memory)
        files: list[FileEntry] = []
        first = Position(position.version + 1) if position.snapshot else position
        if first.file == 0 and int(memory.get("next", 0)) > first.version:
            first = Position(int(memory["next"]))
        anchor = Anchor.of(memory.get("anchor")) if table is None else None
        tail = self._tail(anchor, first, table_id, opened=table is not None)
        if anchor is not None and tail.anchor is not None:
            memory = {**memory, "anchor": [anchor.version, tail.anchor, anchor.digest]}
        if position.snapshot:
            files = self._snapshot(known, position, table)
        found = walk(known, first, dict(tail.tags), self._log.read(list(tail.tags)))
        files += found.files
        if found.stopped is not None and not files:
            raise found.stopped
        anchors = found.anchors
        if not anchors and anchor is None:
            anchors = self._first_anchor(first.version - 1)
        return self._backlog(offset, position, table_id, memory, found, files, anchors, must_record)

    def _known(self, table_id: str, memory: dict[str, Any]) -> Known:
        source = self._source
        declared = None if source.data_schema is None else tuple(source.data_schema.names)
        return Known(
            self._place,
            table_id,
            tuple(memory["partitions"]),
            dict(memory["columns"]),
            int(memory["columns_at"]),
            declared,
            source.timezone,
            source.on_change,
            source.change_feed,
            bool(memory.get("mapped")),
        )

    def _backlog(
        self,
        offset: dict[str, Any],
        position: Position,
        table_id: str,
        memory: dict[str, Any],
        found: Walk,
        files: list[FileEntry],
        anchors: list[Anchor],
        must_record: bool,
    ) -> Backlog:
        planned = int(offset.get("files", 0))
        drained = {
            **memory,
            "next": found.next,
            "columns": found.columns,
            "mapped": found.mapped,
        }
        if found.retention_seconds is not None:
            drained["retention"] = found.retention_seconds
        if anchors:
            drained["anchor"] = anchors[-1].to_json()
        notes = [*found.notes, *self._passed(found), *self._near(found, memory)]
        if found.stopped is not None:
            notes.insert(0, f"it stops there: {found.stopped.args[0]}")
        end = Position(found.next).offset(planned + len(files), table_id) if files else offset
        looked_at = found.next - max(int(memory.get("next", 0)), position.version)
        return DeltaBacklog(
            start=offset,
            end=end,
            files=tuple(files),
            bytes=sum(item.size for item in files),
            seen=planned + len(files),
            notes=tuple(notes),
            listing=memory if files else drained,
            drained_listing=drained,
            must_record=(must_record and (bool(files) or "start" in memory))
            or (bool(offset) and not files and looked_at > _UNRECORDED),
            anchors=tuple(anchors),
        )

    # -- is it still the same? ------------------------------------------------------------------

    def _tail(
        self, anchor: Anchor | None, first: Position, table_id: str, *, opened: bool
    ) -> LogTail:
        """The end of the log, which is that of the table we know and has no hole."""
        tail = self._log.tail(None if anchor is None else anchor.version, first.version)
        newest = -1 if tail.newest is None else tail.newest
        if not opened and (anchor is None or tail.anchor != anchor.tag):
            newest = max(newest, self._identify(anchor, first, table_id))
        if not tail.tags and newest >= first.version:
            # Between the two looks a commit may have come, and a checkpoint of it.
            tail = self._log.tail(None if anchor is None else anchor.version, first.version)
            if not tail.tags:
                raise self._gone(first.version)
        return tail

    def _identify(self, anchor: Anchor | None, first: Position, table_id: str) -> int:
        """Open the table, because the commit that we know is not there as it was.

        Returns:
            Its newest version.
        """
        table = open_table(self._uri)
        if table is None:
            raise self._no_table()
        if table.table_id != table_id:
            raise TableReplaced(
                f"{self._place} is another table than the one that was read: its id is "
                f"{table.table_id}, and was {table_id}",
                remedy=f"put the table back; or, where it was re-created: {_RESET}",
            )
        if table.version < first.version - 1:
            raise TableReplaced(
                f"{self._place} is at version {table.version}, and was read up to version "
                f"{first.version - 1}: an older copy of it was put in its place",
                remedy=f"put the newer one back; or {_RESET}",
            )
        commit = None if anchor is None else self._log.get(anchor.version)
        if anchor is not None and commit is not None and commit.digest != anchor.digest:
            raise TableReplaced(
                f"version {anchor.version} of {self._place} is another commit than the one that "
                "was read: a copy of the table that went another way stands there",
                remedy=f"put the table back that was read; or {_RESET}",
            )
        return table.version

    def _no_table(self) -> SourceUnavailable:
        return SourceUnavailable(
            f"there is no Delta table at {self._place} any more",
            remedy="put it back: is its disk mounted?",
        )

    def _gone(self, version: int) -> TableLogGone:
        left = [item for item in self._log.versions() if item > version]
        begins = f"begins at version {left[0]} now" if left else "holds no later commit"
        return TableLogGone(
            f"the log of {self._place} {begins}, and version {version} was next to be read: it was "
            "cleaned (delta.logRetentionDuration) before it was read",
            remedy=f"{_RESET}. Keep the log longer, or read more often",
        )

    def _first_anchor(self, version: int) -> list[Anchor]:
        if version < 0:
            return []
        tag, commit = self._log.tag(version), self._log.get(version)
        return [] if tag is None or commit is None else [Anchor(version, tag, commit.digest)]

    # -- the rows that were there ---------------------------------------------------------------

    def _snapshot(
        self, known: Known, position: Position, table: OpenedTable | None
    ) -> list[FileEntry]:
        """What is left of the table as it was at the start."""
        if table is None:
            table = open_table(self._uri, position.version)
        if table is None:
            raise self._no_table()
        files = table.files()
        for file in files:
            check_file(known, position.version, file, vectors=True)
        kind = "read" if known.change_feed else ""
        return [
            marked(
                file,
                Position(position.version, number, snapshot=True),
                mapped=is_mapped(table.configuration),
                kind=kind,
            )
            for number, file in enumerate(files)
        ][position.file :]

    # -- what people should know ----------------------------------------------------------------

    def _passed(self, found: Walk) -> list[str]:
        if not found.passed:
            return []
        named = [f"{version} ({what})" for version, what in list(found.passed.items())[:_NAMED]]
        more = len(found.passed) - len(named)
        also = f" and {more:,} more" if more else ""
        why = f"passed over because on_change={self._source.on_change!r}"
        return [f"{why}: version {', '.join(named)}{also}"]

    def _near(self, found: Walk, memory: dict[str, Any]) -> list[str]:
        """Whether the commit that is read next may soon be cleaned away."""
        retention = timedelta(seconds=float(memory.get("retention", 0)))
        if found.oldest is None or not retention:
            return []
        version, moment = found.oldest
        if self._now - moment < retention * _NEAR:
            return []
        age, kept = (self._now - moment) / timedelta(days=1), retention / timedelta(days=1)
        text = (
            f"version {version} waits to be read and is {age:.1f} days old: the table keeps its "
            f"log for {kept:.1f} days (delta.logRetentionDuration), and a cleaned commit is lost "
            "to this stream"
        )
        return [text]
