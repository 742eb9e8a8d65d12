"""The log of a Delta table, read a commit at a time: only what is new is ever looked at."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.errors import SourceUnavailable
from orchestration.objects import PlaceError
from orchestration.redaction import redact
from orchestration.sources.delta_commit import Commit, parse_commit
from orchestration.sources.listing import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestration.objects import Place

__all__ = ["DeltaLog", "LogTail"]

_LOG = "_delta_log"
_CONNECTIONS = 8
_VERSIONED = re.compile(r"(\d{20})\.(json$|checkpoint\.)")
_CHECKPOINT_VERSION = re.compile(rb'"version"\s*:\s*(\d+)')


@dataclass(frozen=True, slots=True)
class LogTail:
    """What a look at the end of a log found.

    Attributes:
        anchor: Tag of the commit that was looked at before; ``None`` when it is gone.
        tags: Version to tag of the commits that follow one another from the wanted one on.
        newest: The newest version that anything in the log speaks of; ``None`` for nothing.
    """

    anchor: str | None
    tags: Mapping[int, str] = field(default_factory=dict)
    newest: int | None = None


class DeltaLog:
    """The commits of one table.

    Args:
        place: The table's root.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def tail(self, anchor: int | None, first: int) -> LogTail:
        """Look at a known commit, and at those from ``first`` on; reads none of them.

        One request of an object store for each thousand files that are new; on a local disk one
        look for each commit, and one more.

        Raises:
            SourceUnavailable: The place does not answer.
        """
        return self._local(anchor, first) if self._place.is_local else self._remote(anchor, first)

    def read(self, versions: Sequence[int]) -> Iterator[Commit | None]:
        """These commits, in order; ``None`` for one that is gone.

        Raises:
            SourceUnavailable: The place does not answer, or a commit is not JSON.
        """
        if self._place.is_local or len(versions) < 2:
            yield from map(self._commit, versions)
            return
        with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="headwater-log") as pool:
            yield from pool.map(self._commit, versions)

    def get(self, version: int) -> Commit | None:
        """One commit; ``None`` when it is not there."""
        return self._commit(version)

    def tag(self, version: int) -> str | None:
        """What tells the content of a commit from another one's, without reading it."""
        return self.tail(version, version).anchor

    def versions(self) -> list[int]:
        """All commits there are; for the rare cases that have to know: it lists the whole log."""
        found = set()
        for name in self._names():
            match = _VERSIONED.match(name)
            if match and match[2] == "json":
                found.add(int(match[1]))
        return sorted(found)

    # -- on a local disk ------------------------------------------------------------------------

    def _local(self, anchor: int | None, first: int) -> LogTail:
        tags: dict[int, str] = {}
        version = first
        while (found := self._stat(version)) is not None:
            tags[version] = found
            version += 1
        held = None if anchor is None else tags.get(anchor) or self._stat(anchor)
        newest = max(tags, default=None)
        checkpoint = self._checkpoint()
        if checkpoint is not None:
            newest = checkpoint if newest is None else max(newest, checkpoint)
        return LogTail(held, tags, newest)

    def _stat(self, version: int) -> str | None:
        try:
            status = os.stat(self._place.local_path / _path(version))  # noqa: PTH116 - many
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceUnavailable(
                f"the log of {redact(self._place.uri)} cannot be read: {error.strerror}",
                remedy="give this user permission to read it, then run again",
            ) from error
        return f"{status.st_size}-{status.st_mtime_ns // 1000}"

    def _checkpoint(self) -> int | None:
        """Version of the last checkpoint: there were commits up to there, whatever is left."""
        with suppress(PlaceError):
            data = self._place.get(f"{_LOG}/_last_checkpoint")
            match = _CHECKPOINT_VERSION.search(data or b"")
            return None if match is None else int(match[1])
        return None

    # -- in an object store ---------------------------------------------------------------------

    def _remote(self, anchor: int | None, first: int) -> LogTail:
        begin = first if anchor is None else min(anchor, first)
        found: dict[int, str] = {}
        newest: int | None = None
        try:
            # Sorted as text: what belongs to a version comes after its number alone.
            for info in self._place.list_after(f"{_LOG}/{begin:020d}", _LOG):
                match = _VERSIONED.match(info.path.rpartition("/")[2])
                if match is None:
                    continue
                version = int(match[1])
                newest = version if newest is None else max(newest, version)
                if match[2] == "json":
                    found[version] = info.etag or f"{info.size}-{info.modified_us}"
        except PlaceError as error:
            raise unavailable(error) from error
        tags: dict[int, str] = {}
        version = first
        while version in found:
            tags[version] = found[version]
            version += 1
        return LogTail(None if anchor is None else found.get(anchor), tags, newest)

    # -- both -----------------------------------------------------------------------------------

    def _names(self) -> Iterator[str]:
        try:
            for info in self._place.list(_LOG):
                yield info.path.rpartition("/")[2]
        except PlaceError as error:
            raise unavailable(error) from error

    def _commit(self, version: int) -> Commit | None:
        try:
            data = self._place.get(_path(version))
        except PlaceError as error:
            raise unavailable(error) from error
        if data is None:
            return None
        try:
            return parse_commit(version, data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # An object store shows whole objects only; a copy on a disk may be half done.
            raise SourceUnavailable(
                f"version {version} of {redact(self._place.uri)} is not a commit of a Delta "
                f"table: {error}",
                remedy="is the table still being copied? Otherwise its log is damaged",
            ) from error


def _path(version: int) -> str:
    return f"{_LOG}/{version:020d}.json"
