"""Planned files that lie in an object store: fetched in the planned version, a group at a time."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.errors import SourceUnavailable
from orchestration.objects import PlaceError
from orchestration.sources.listing import unavailable
from orchestration.sources.planned import GROUP_FILES, PlannedFiles, cut
from orchestration.sources.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestration.cursors.records import FileEntry
    from orchestration.sources.inputs import InputFile

__all__ = ["FetchedFiles"]

_CONNECTIONS = 8  # enough to hide the latency of small objects
_EXTENSIONS = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,2}$")  # they tell the compression


@dataclass(slots=True)
class FetchedFiles(PlannedFiles):
    """Objects, spooled to a local directory within a budget of bytes.

    A group takes half of the budget, so that the next one is fetched while this one is read. An
    object larger than that is a group of its own, and fetched when no other lies there.

    Attributes:
        spool_dir: Where spools are made.
        spool_bytes: Bytes that may lie there, but for one object larger than that.
    """

    spool_dir: Path = field(kw_only=True)
    spool_bytes: int = field(kw_only=True)

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """Fetch, hand out, delete, one group after the other."""
        parts = list(cut(self.files, max_files=GROUP_FILES, max_bytes=self.spool_bytes // 2))
        if not parts:
            return
        with open_spool(self.spool_dir) as directory:
            pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="headwater-fetch")
            try:
                fetches = [
                    _Fetch(self, directory / str(number), files)
                    for number, files in enumerate(parts)
                ]
                for fetch, following in zip(fetches, [*fetches[1:], None], strict=True):
                    yield self._group(pool, fetch, following)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _group(
        self, pool: ThreadPoolExecutor, fetch: _Fetch, following: _Fetch | None
    ) -> Iterator[Sequence[InputFile]]:
        try:
            fetch.start(pool)
            inputs = fetch.wait()
            if following is not None and fetch.size + following.size <= self.spool_bytes:
                following.start(pool)
            yield inputs
        finally:
            fetch.discard()


class _Fetch:
    """One group's objects on their way."""

    def __init__(
        self, planned: FetchedFiles, directory: Path, files: tuple[FileEntry, ...]
    ) -> None:
        self._planned = planned
        self._directory = directory
        self._files = files
        self._running: list[Future[Path]] = []
        self._bucket_is_there = False
        self.size = sum(entry.size for entry in files)

    def start(self, pool: ThreadPoolExecutor) -> None:
        """Begin, unless that was done ahead."""
        if self._running:
            return
        self._directory.mkdir()
        for number, entry in enumerate(self._files):
            ending = _EXTENSIONS.search(entry.path)
            local = self._directory / f"{number:05d}{ending[0] if ending else ''}"
            self._running.append(pool.submit(self._download, entry, local))

    def wait(self) -> list[InputFile]:
        """The files that came; raises what the first that did not come says."""
        inputs = []
        for entry, future in zip(self._files, self._running, strict=True):
            try:
                inputs.append(self._planned.input_file(entry, future.result()))
            except PlaceError as error:
                if error.kind == "changed":
                    raise self._planned.changed(entry, "the store holds another version") from error
                if error.kind != "missing":
                    raise unavailable(error) from error
                self._check_bucket()
                self._planned.vanished(entry)
            except OSError as error:
                raise SourceUnavailable(
                    f"{self._planned.file_name(entry)} cannot be kept in {self._directory.parent}"
                    f": {error.strerror}",
                    remedy="make room on that disk, lower HEADWATER_SPOOL_BYTES, or set "
                    "HEADWATER_SCRATCH to a larger one",
                ) from error
        return inputs

    def discard(self) -> None:
        """Stop what is still under way and delete what came."""
        for future in self._running:
            future.cancel()
        for future in self._running:
            if not future.cancelled():
                future.exception()
        # The spool's own end deletes what a file system would not let go of now.
        for path in self._directory.glob("*"):
            path.unlink(missing_ok=True)

    def _check_bucket(self) -> None:
        """Make sure that it is the object that is gone: some stores say the same of a bucket."""
        if not self._bucket_is_there:
            try:
                next(self._planned.place.list(), None)
            except PlaceError as error:
                raise unavailable(error) from error
            self._bucket_is_there = True

    def _download(self, entry: FileEntry, local: Path) -> Path:
        size = self._planned.place.download(entry.path, local, entry.etag)
        if size != entry.size:
            raise PlaceError(
                f"{entry.path}: {size} bytes came, {entry.size} were planned", kind="changed"
            )
        return local
