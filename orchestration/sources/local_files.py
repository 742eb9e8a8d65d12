"""Planned files that lie on this machine: read in place, looked at before and after."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestration.errors import SourceUnavailable
from orchestration.sources.planned import GROUP_FILES, PlannedFiles, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestration.cursors.records import FileEntry
    from orchestration.sources.inputs import InputFile

__all__ = ["LocalFiles"]


class LocalFiles(PlannedFiles):
    """Files of a local directory.

    Nothing keeps others from writing to a file while it is read. So every file of a group is
    looked at again when the group was read: had one changed, what was read of it is worthless,
    and the batch fails before anything is committed.
    """

    __slots__ = ()

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """A group per thousand files: they are on the disk already."""
        for files in cut(self.files, max_files=GROUP_FILES):
            yield self._group(files)

    @contextmanager
    def _group(self, files: tuple[FileEntry, ...]) -> Iterator[Sequence[InputFile]]:
        present = [entry for entry in files if self._check(entry)]
        root = self.place.local_path
        inputs = [self.input_file(entry, root / entry.path) for entry in present]
        try:
            yield inputs
        except Exception as error:
            # A file that changed under the reader explains whatever the reader says.
            self._check_again(present, error)
            raise
        self._check_again(present, None)

    def _check(self, entry: FileEntry) -> bool:
        """Whether a file is there, as planned and readable; see :meth:`vanished` if it is not."""
        path = self.place.local_path / entry.path
        status = self._look(path, entry)
        if status is None:
            self.vanished(entry)
            return False
        self._compare(entry, status)
        return True

    def _check_again(self, files: list[FileEntry], cause: Exception | None) -> None:
        for entry in files:
            status = self._look(self.place.local_path / entry.path, entry)
            if status is None:
                raise self.changed(entry, "it was removed while it was read") from cause
            try:
                self._compare(entry, status)
            except Exception as error:
                raise error from cause

    def _look(self, path: Path, entry: FileEntry) -> os.stat_result | None:
        try:
            # Opened, not only asked for: permission is part of the answer. NONBLOCK, because
            # a pipe that took the file's name would make us wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            if not self.place.local_path.is_dir():
                raise SourceUnavailable(
                    f"the source directory {self.place.local_path} is gone",
                    remedy="bring it back: is its disk mounted?",
                ) from None
            return None
        except OSError as error:
            raise SourceUnavailable(
                f"{self.file_name(entry)} cannot be read: {error.strerror}",
                remedy="give this user permission to read it, then run again",
            ) from error
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _compare(self, entry: FileEntry, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self.changed(entry, "it is not a regular file any more")
        if (status.st_size, status.st_mtime_ns // 1000) != (entry.size, entry.modified_us):
            seconds = datetime.fromtimestamp(status.st_mtime_ns // 10**9, UTC)
            found = f"{status.st_size} bytes, modified {seconds.isoformat()}"
            raise self.changed(entry, found)
