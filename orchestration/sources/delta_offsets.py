"""Where a stream of a Delta table stands, and how its backlog is cut.

Offsets are ``{"files": n, "version": v, "file": i, "table": id}``: the next thing to read is the
``i``-th file that version ``v`` adds; ``n`` files were planned before. While the rows that were
there at the start are still being read it is the ``i``-th file of the table as of version ``v``,
and ``"snapshot": true``. The ledger keeps the files themselves, so that a range of offsets is
always the same files, whatever becomes of the log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from orchestration.cursors.records import FileEntry, Slice
from orchestration.sources.base import Backlog
from orchestration.sources.limits import fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestration.sources.base import Limits
    from orchestration.sources.delta_commit import LoggedFile

__all__ = ["Anchor", "DeltaBacklog", "Marks", "Position", "marked", "take_delta"]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the stream.

    Attributes:
        version: Of the table.
        file: How many of its files are planned.
        snapshot: Whether these are the files of the whole table as of the version.
    """

    version: int
    file: int = 0
    snapshot: bool = False

    @classmethod
    def of(cls, offset: Mapping[str, Any]) -> Self:
        """Where an offset stands."""
        return cls(int(offset["version"]), int(offset["file"]), bool(offset.get("snapshot")))

    def offset(self, files: int, table: str) -> dict[str, Any]:
        """As an offset."""
        value: dict[str, Any] = {
            "files": files,
            "version": self.version,
            "file": self.file,
            "table": table,
        }
        return {**value, "snapshot": True} if self.snapshot else value


@dataclass(frozen=True, slots=True)
class Anchor:
    """A commit that was read: as long as it is there unchanged, it is the same table.

    Attributes:
        version: Its number.
        tag: Size and time, or etag.
        digest: Of its content.
    """

    version: int
    tag: str
    digest: str

    def to_json(self) -> list[Any]:
        """As a short list."""
        return [self.version, self.tag, self.digest]

    @classmethod
    def of(cls, value: Any) -> Self | None:
        """Inverse of :meth:`to_json`."""
        return cls(int(value[0]), str(value[1]), str(value[2])) if value else None


@dataclass(frozen=True, slots=True)
class Marks:
    """What the ledger keeps of a file beside path, size and time; in its column for etags.

    Attributes:
        position: Of the file itself.
        rows: Where the log says how many.
        partitions: Column to text.
        kind: Of the change data feed: ``insert``, ``delete``, ``changes``; empty for rows.
        time_us: Of the commit, for the change data feed.
        vector: Whether some of its rows are marked as deleted.
        mapped: Whether its columns have other names than the table's.
    """

    position: Position
    rows: int | None = None
    partitions: dict[str, str | None] = field(default_factory=dict)
    kind: str = ""
    time_us: int = 0
    vector: bool = False
    mapped: bool = False

    def text(self) -> str:
        """As JSON; what is not there is left out."""
        value: dict[str, Any] = {"v": self.position.version, "i": self.position.file}
        if self.position.snapshot:
            value["s"] = 1
        if self.rows is not None:
            value["n"] = self.rows
        if self.partitions:
            value["p"] = self.partitions
        if self.kind:
            value |= {"k": self.kind, "t": self.time_us}
        if self.vector:
            value["d"] = 1
        if self.mapped:
            value["m"] = 1
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def of(cls, entry: FileEntry) -> Self:
        """Inverse of :meth:`text`."""
        value = json.loads(entry.etag or "{}")
        return cls(
            Position(value["v"], value["i"], bool(value.get("s"))),
            value.get("n"),
            value.get("p", {}),
            value.get("k", ""),
            value.get("t", 0),
            bool(value.get("d")),
            bool(value.get("m")),
        )


def marked(
    file: LoggedFile,
    position: Position,
    *,
    mapped: bool,
    kind: str = "",
    time_us: int = 0,
) -> FileEntry:
    """A file of the log as the ledger keeps it; see :class:`Marks`."""
    marks = Marks(position, file.rows, file.partitions, kind, time_us, file.vector, mapped)
    return FileEntry(file.path, file.size, file.modified_us or time_us, marks.text())


@dataclass(frozen=True, slots=True)
class DeltaBacklog(Backlog):
    """A backlog with the commits that it is made of.

    Attributes:
        anchors: The commits that were read, in order.
    """

    anchors: tuple[Anchor, ...] = ()


def take_delta(
    source: str,
    backlog: Backlog,
    limits: Limits,
    count_rows: Callable[[FileEntry], int],
) -> tuple[Slice, Backlog]:
    """The longest run of files from the front that stays within the limits; at least one.

    Args:
        source: The source's name.
        backlog: Not empty.
        limits: Of one batch. A file larger than they are is taken alone.
        count_rows: Rows of a file of which the log does not say it.
    """

    def rows_of(entry: FileEntry) -> int:
        known = Marks.of(entry).rows
        return count_rows(entry) if known is None else known

    count, size = fitting(backlog.files, limits, rows_of)
    rest = backlog.files[count:]
    end = backlog.end
    if rest:
        files = int(backlog.start.get("files", 0)) + count
        end = Marks.of(rest[0]).position.offset(files, backlog.end["table"])
    left = backlog.bytes - size
    latest = {**backlog.end, "bytes_outstanding": left}
    part = Slice(source, backlog.start, end, backlog.files[:count], size, latest)
    return part, replace(
        backlog, start=end, files=rest, bytes=left, listing=_listing(backlog, end, rest)
    )


def _listing(backlog: Backlog, end: dict[str, Any], rest: tuple[FileEntry, ...]) -> dict[str, Any]:
    """What to remember when everything before ``end`` is planned."""
    if not rest and backlog.drained_listing is not None:
        return backlog.drained_listing
    listing = backlog.listing
    for anchor in backlog.anchors if isinstance(backlog, DeltaBacklog) else ():
        if anchor.version <= int(end["version"]):
            listing = {**listing, "anchor": anchor.to_json()}
    return listing
