"""Places on this machine's disk: every write is atomic, and on the disk when it returns."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.objects.base import ObjectInfo, Place, PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LocalPlace", "make_directory", "sync_directory", "sync_file"]

_TEMPORARY = ".headwater-tmp-"  # in the same directory, so that link and rename are atomic
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync stops at the drive


def _sync(descriptor: int) -> None:
    if _FULL_SYNC is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, _FULL_SYNC)


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Wait until a directory's entries are on the disk: new names survive a power cut."""
    sync_file(path)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, each on the disk when this returns."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with suppress(FileExistsError):
            directory.mkdir()
        sync_directory(directory.parent)


class LocalPlace(Place):
    """A directory. It need not exist: the first write makes it."""

    is_local = True

    def __init__(self, path: str) -> None:
        super().__init__(os.path.normpath(path))
        self._root = Path(self.uri)

    @property
    def local_path(self) -> Path:
        """The directory."""
        return self._root

    def full_name(self, path: str) -> str:
        """The file's absolute path."""
        return f"{self.uri}/{path}"

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a temporary file, then link it, which fails where the name is taken."""
        target = self._locate(path)
        with _faults(target):
            temporary = self._write(target, data)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            sync_directory(target.parent)
        return True

    def put(self, path: str, data: bytes) -> None:
        """Write a temporary file, then rename it over the old one."""
        target = self._locate(path)
        with _faults(target):
            self._write(target, data).replace(target)
            sync_directory(target.parent)

    def get(self, path: str) -> bytes | None:
        """Read the file."""
        target = self._locate(path)
        with _faults(target):
            try:
                return target.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def get_tail(self, path: str, size: int) -> bytes:
        """Seek from the end."""
        target = self._locate(path)
        with _faults(target), target.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            return file.read()

    def exists(self, path: str) -> bool:
        """Ask for the file's entry."""
        target = self._locate(path)
        with _faults(target):
            return target.is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk the directory, without following links to directories."""
        pending = [self._locate(prefix) if prefix else self._root]
        while pending:
            directory = pending.pop()
            with _faults(directory):
                try:
                    entries = list(os.scandir(directory))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                        continue
                    if entry.name.startswith(_TEMPORARY):
                        continue
                    try:
                        status = entry.stat()
                    except FileNotFoundError:  # gone since it was listed
                        continue
                    relative = entry.path[len(self.uri) :].lstrip("/")
                    yield ObjectInfo(relative, status.st_size, status.st_mtime_ns // 1000)

    def list_after(self, key: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk all of it: a local directory has no order to start in the middle of."""
        after = key.encode(errors="surrogateescape")
        for info in self.list(prefix):
            if info.path.encode(errors="surrogateescape") > after:
                yield info

    def delete(self, paths: Iterable[str]) -> None:
        """Unlink each file."""
        for path in paths:
            target = self._locate(path)
            with _faults(target), suppress(FileNotFoundError, NotADirectoryError):
                target.unlink()

    def upload(self, local: Path, path: str) -> None:
        """Copy to a temporary file, then rename it."""
        target = self._locate(path)
        with _faults(target):
            make_directory(target.parent)
            temporary = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
            try:
                shutil.copyfile(local, temporary)
                sync_file(temporary)
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_directory(target.parent)

    def download(self, path: str, local: Path, etag: str | None = None) -> int:
        """Copy the file; ``etag`` means nothing on a disk and is not looked at."""
        del etag
        target = self._locate(path)
        with _faults(target):
            try:
                shutil.copyfile(target, local)
            except BaseException:
                local.unlink(missing_ok=True)
                raise
            return local.stat().st_size

    def probe_conditional_put(self) -> None:
        """Nothing to ask: ``link`` fails on a taken name on every file system that has it."""

    def _locate(self, path: str) -> Path:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise PlaceError(
                f"{path!r} leads out of {self.uri}",
                kind="denied",
                remedy="use a path below the place",
            )
        return self._root / path

    def _write(self, target: Path, data: bytes) -> Path:
        """A synced temporary file beside ``target``."""
        make_directory(target.parent)
        temporary = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                _sync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn the system's errors into :class:`PlaceError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise PlaceError(f"{path} does not exist", kind="missing") from error
    except PermissionError as error:
        raise PlaceError(
            f"{path}: {error.strerror}",
            kind="denied",
            remedy="give this user the permission, or run as one who has it",
        ) from error
    except OSError as error:
        raise PlaceError(
            f"{path}: {error.strerror or error}",
            kind="unavailable",
            remedy="check the disk: is it mounted, writable, and not full?",
        ) from error
