"""Which files are new: a ledger is compared with a listing, and never a time with a time.

A file is new when its path is not in the ledger. So files are found however late they come, with
whatever modification time, in whatever order, several in the same second. Modification times only
say in which order new files are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from orchestration.cursors.records import FileEntry
from orchestration.errors import FileRewritten
from orchestration.sources.base import Backlog, Versioned
from orchestration.sources.existing import pack, unpack
from orchestration.sources.notes import about_files, about_skipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from orchestration.sources.base import SourceHistory
    from orchestration.sources.listing import Found, Walk

__all__ = ["Discovery", "OnRewrite", "same_version"]

OnRewrite = Literal["ignore", "reprocess", "fail"]
JsonDict = dict[str, Any]

_MICROSECOND = timedelta(microseconds=1)


def same_version(known: FileEntry, found: Found) -> bool:
    """Whether a listed file is the version that was seen before.

    Where the store names versions, etag and size decide: uploading the same bytes again changes
    nothing. On a disk, size and modification time do.
    """
    _, size, modified_us, etag = found
    if known.size != size:
        return False
    if known.etag is not None and etag is not None:
        return known.etag == etag
    return known.modified_us == modified_us


@dataclass(frozen=True, slots=True)
class Discovery:
    """How new files are looked for.

    Attributes:
        include_existing: False leaves out what is there at the first poll that is kept.
        min_age: Younger files may still be written, and wait; ``None`` takes all.
        on_rewrite: What becomes of a file that was planned before and is another one now.
        lexical: On object stores list only what sorts after the last key.
        full_every_polls: Polls that were kept, after which everything is listed again.
        full_every: Time after which everything is listed again.
    """

    include_existing: bool = True
    min_age: timedelta | None = None
    on_rewrite: OnRewrite = "ignore"
    lexical: bool = False
    full_every_polls: int = 50
    full_every: timedelta = timedelta(hours=24)

    def poll(self, walk: Walk, history: SourceHistory, now: datetime) -> Backlog:
        """Compare a listing with the ledger.

        What is kept of the listing is one JSON object::

            {"existing": "…",              include_existing=False: what was there, compressed
             "after": "2026/11/x.json",    lexical: all keys up to here are in the ledger,
             "polls": 7,                   … listed after that so many times
             "full_at": 1795440281000000}  … since the full listing of then (microseconds)

        Args:
            walk: The place, not yet listed.
            history: The ledger.
            now: The time, for ``min_age`` and for the next full listing.

        Raises:
            SourceUnavailable: The place cannot be listed.
            FileRewritten: With ``on_rewrite="fail"``.
        """
        start = {"files": int(history.offset.get("files", 0))}
        listing = history.listing
        seen = history.seen()
        if not self.include_existing:
            if "existing" not in listing:
                return self._first_look(walk, start)
            seen = {**unpack(listing["existing"]), **seen}
        after = self._start_after(walk, listing, now)
        found = walk.files() if after is None else walk.files_after(after)
        scan = _Scan(seen, now, self.min_age)
        scan.read(found)
        if self.on_rewrite == "fail" and scan.rewritten:
            raise _rewritten(scan.rewritten)
        new = scan.new + (scan.rewritten if self.on_rewrite == "reprocess" else [])
        new.sort(key=_modified_then_path)
        files = tuple(FileEntry(*item) for item in new)
        drained = self._drained(walk, listing, scan, now, full=after is None)
        return Backlog(
            start=start,
            end={"files": start["files"] + len(files)},
            files=files,
            bytes=sum(entry.size for entry in files),
            seen=len(seen) + len(scan.new),
            notes=tuple(self._notes(walk, scan, seen, full=after is None)),
            listing=_pending(listing, full=after is None) if files else drained,
            drained_listing=drained,
            exists=walk.exists,
        )

    def _first_look(self, walk: Walk, start: JsonDict) -> Backlog:
        """The first poll of a source that wants only what comes later."""
        existing = {item[0]: FileEntry(*item) for item in walk.files()}
        notes = list(about_skipped(walk.skipped))
        if existing:
            text = "there before the query and left out (include_existing=False)"
            notes.insert(0, about_files(existing, f"was {text}", f"were {text}"))
        return Backlog(
            start=start,
            end=start,
            seen=len(existing),
            notes=tuple(notes),
            listing={"existing": pack(existing.values())},
            must_record=True,
            exists=walk.exists,
        )

    def _start_after(self, walk: Walk, listing: JsonDict, now: datetime) -> str | None:
        """The key to list from; ``None`` for a full listing."""
        if not self.lexical or walk.place.is_local or not listing.get("after"):
            return None
        age_us = _epoch_us(now) - int(listing["full_at"])
        due = age_us >= self.full_every // _MICROSECOND
        if due or int(listing["polls"]) >= self.full_every_polls:
            return None
        return str(listing["after"])

    def _drained(
        self, walk: Walk, listing: JsonDict, scan: _Scan, now: datetime, *, full: bool
    ) -> JsonDict:
        """The listing to keep once everything found is planned."""
        kept = {name: listing[name] for name in ("existing",) if name in listing}
        if not self.lexical or walk.place.is_local:
            return kept
        # Files that wait are not planned: the next listing must start before them.
        first_waiting = min((item[0] for item in scan.waiting), default=None)
        reached = max(
            (path for path in scan.paths if first_waiting is None or path < first_waiting),
            default="",
        )
        before = "" if full else str(listing["after"])
        return kept | {
            "after": max(before, reached),
            "polls": 0 if full else int(listing["polls"]) + 1,
            "full_at": _epoch_us(now) if full else int(listing["full_at"]),
        }

    def _notes(
        self, walk: Walk, scan: _Scan, seen: Mapping[str, FileEntry], *, full: bool
    ) -> Iterable[str]:
        if scan.waiting:
            text = f"younger than {self.min_age} and waits, perhaps still being written"
            paths = [item[0] for item in scan.waiting]
            yield about_files(paths, f"is {text}", f"are {text}".replace("waits", "wait"))
        if scan.rewritten:
            done = "read again" if self.on_rewrite == "reprocess" else "not read again"
            text = f"rewritten since planned, {done} (on_rewrite={self.on_rewrite!r})"
            yield about_files([item[0] for item in scan.rewritten], f"was {text}", f"were {text}")
        gone = len(seen) - scan.known if full else 0
        if gone > 0 and walk.exists:
            listed = set(scan.paths)
            names = [path for path in seen if path not in listed]
            yield about_files(
                names, "is gone since it was planned", "are gone since they were planned"
            )
        yield from about_skipped(walk.skipped)


class _Scan:
    """A listing, sorted by what the ledger says of each file."""

    def __init__(
        self, seen: Mapping[str, FileEntry], now: datetime, min_age: timedelta | None
    ) -> None:
        self._seen = seen
        # A ledger has the bare versions at hand; most files are just what they were.
        self._versions = seen.versions() if isinstance(seen, Versioned) else {}
        self._now_us = _epoch_us(now)
        self._min_age_us = 0 if min_age is None else min_age // _MICROSECOND
        self.paths: list[str] = []
        self.new: list[Found] = []
        self.rewritten: list[Found] = []
        self.waiting: list[Found] = []
        self.known = 0

    def read(self, found: Iterable[Found]) -> None:
        lookup = self._seen.get
        version = self._versions.get
        listed = self.paths.append
        for item in found:
            listed(item[0])
            if version(item[0]) == item[1:]:
                self.known += 1
                continue
            known = lookup(item[0])
            if known is not None:
                self.known += 1
                if same_version(known, item):
                    continue
            # A time far in the future is not "young": such a file would wait for ever.
            if abs(self._now_us - item[2]) < self._min_age_us:
                self.waiting.append(item)
            elif known is None:
                self.new.append(item)
            else:
                self.rewritten.append(item)


def _pending(listing: JsonDict, *, full: bool) -> JsonDict:
    """The listing to keep while some of what was found is not planned yet.

    Lost, it must be found again: so nothing moves on but the count of polls.
    """
    if full or "after" not in listing:
        return dict(listing)
    return {**listing, "polls": int(listing["polls"]) + 1}


def _rewritten(files: list[Found]) -> FileRewritten:
    text = 'rewritten since planned, and the source says on_rewrite="fail"'
    return FileRewritten(
        about_files([item[0] for item in files], f"was {text}", f"were {text}"),
        remedy="put the old content back; or declare on_rewrite='ignore' (keep what was read) or "
        "'reprocess' (read the new content too); or reset the query",
    )


def _modified_then_path(item: Found) -> tuple[int, str]:
    return item[2], item[0]


def _epoch_us(moment: datetime) -> int:
    from datetime import UTC, datetime

    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
