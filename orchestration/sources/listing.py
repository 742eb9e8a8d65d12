"""What lies in a directory or bucket prefix right now.

Local directories are walked with as little as possible for each file: an idle poll looks at
every file there is, and there may be a hundred thousand.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.errors import DeclarationError, SourceUnavailable
from orchestration.objects import PlaceError
from orchestration.sources.patterns import compile_glob, is_hidden, is_hidden_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestration.objects import Place

__all__ = ["Found", "Walk", "unavailable"]

#: Path, size, modification time (microseconds), etag: a plain tuple, for there are many.
Found = tuple[str, int, int, str | None]


@dataclass(slots=True)
class Walk:
    """One listing of a source's place.

    Args:
        place: Where.
        glob: Only such files: compared with the name or, where it has a slash, with the path.
        recursive: Look into directories too.

    Attributes:
        exists: False when the directory does not exist.
        skipped: What was passed over and why, for people: path and reason.
    """

    place: Place
    glob: str | None = None
    recursive: bool = False
    exists: bool = True
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def files(self) -> Iterator[Found]:
        """Every file that is input, in no order.

        Raises:
            SourceUnavailable: The place, or a directory in it, cannot be listed.
        """
        return self._local() if self.place.is_local else self._remote(None)

    def files_after(self, key: str) -> Iterator[Found]:
        """The files that sort after ``key`` (as UTF-8); cheap on object stores only."""
        return self._remote(key)

    def _remote(self, after: str | None) -> Iterator[Found]:
        matches = _matcher(self.glob)
        place = self.place
        try:
            infos = place.list() if after is None else place.list_after(after)
            for info in infos:
                path = info.path
                if not path or (not self.recursive and "/" in path):
                    continue
                if info.size == 0 and "." not in path:
                    continue  # a "folder" that some console made: its key ends with a slash
                if not is_hidden_path(path) and matches(path):
                    yield path, info.size, info.modified_us, info.etag
        except PlaceError as error:
            raise unavailable(error) from error

    def _local(self) -> Iterator[Found]:
        root = str(self.place.local_path)
        matches = _matcher(self.glob)
        pending = [""]
        while pending:
            prefix = pending.pop()
            try:
                directory = os.open(f"{root}/{prefix}", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                self.exists = self.exists and prefix != ""
                continue
            except NotADirectoryError:
                if prefix:
                    continue
                raise DeclarationError(
                    f"{root} is a file; expected a directory",
                    remedy="name the directory, and pick the file with glob=",
                ) from None
            except OSError as error:
                raise _unreadable(f"{root}/{prefix}", error) from error
            try:
                yield from self._directory(directory, prefix, matches, pending)
            except OSError as error:
                raise _unreadable(f"{root}/{prefix}", error) from error
            finally:
                os.close(directory)

    def _directory(
        self, directory: int, prefix: str, matches: Callable[[str], object], pending: list[str]
    ) -> Iterator[Found]:
        # Stat by descriptor and name: no path to resolve, a third faster than DirEntry.stat().
        look, is_regular = os.stat, stat.S_ISREG
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                path = prefix + name
                if entry.is_dir(follow_symlinks=False):
                    if self.recursive and not is_hidden(name, directory=True):
                        if _is_text(name):
                            pending.append(f"{path}/")
                        else:
                            self.skipped.append((repr(path), "the name is not UTF-8"))
                    continue
                if name[0] in "._" or not matches(path):
                    continue
                try:
                    status = look(name, dir_fd=directory)
                except FileNotFoundError:  # gone since it was listed, or a dangling link
                    if entry.is_symlink():
                        self.skipped.append((path, "links to nothing"))
                    continue
                if not is_regular(status.st_mode):
                    self._skip(path, status.st_mode)
                elif not _is_text(name):
                    self.skipped.append((repr(path), "the name is not UTF-8"))
                else:
                    yield path, status.st_size, status.st_mtime_ns // 1000, None

    def _skip(self, path: str, mode: int) -> None:
        if not stat.S_ISDIR(mode):
            self.skipped.append((path, "is not a regular file"))
        elif self.recursive:
            # Followed, it could lead in a circle, or to the same file under two names.
            self.skipped.append((path, "is a link to a directory, which is not followed"))


def _matcher(glob: str | None) -> Callable[[str], object]:
    """Tells truthily whether a relative path is wanted."""
    if glob is None:
        return bool
    pattern = compile_glob(glob)
    if "/" in glob:
        return pattern.fullmatch
    return lambda path: pattern.fullmatch(path, path.rfind("/") + 1)


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(path: str, error: OSError) -> SourceUnavailable:
    return SourceUnavailable(
        f"the source directory {path.rstrip('/')} cannot be listed: {error.strerror}",
        remedy="give this user permission to read it, or check that its disk is mounted",
    )


def unavailable(error: PlaceError) -> SourceUnavailable:
    """A place's error as a source's."""
    return SourceUnavailable(str(error.args[0]), remedy=error.remedy)
