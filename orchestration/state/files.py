"""Where state lies: immutable files beside the query, on a local disk or in an object store."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestration.errors import CursorStoreError, CursorStoreUnavailable
from orchestration.objects import PlaceError
from orchestration.objects.local import make_directory, sync_directory, sync_file
from orchestration.state.manifest import StateVersion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from orchestration.objects import Place

__all__ = ["StateFiles"]

_TRANSFERS = 4  # at once, as for tables


class StateFiles:
    """The state files of one generation of a query.

    Files are written to :attr:`directory` first, under names that no other attempt uses, and
    count from the moment that a persisted manifest names them.

    Args:
        place: The query's directory of state.
        directory: The generation's directory in it.
        cache_dir: Local directory for files of a place that is not local; content never changes
            under a name, so what lies there stays right.
    """

    def __init__(self, place: Place, directory: str, cache_dir: Path) -> None:
        self._place = place
        self._base = directory.strip("/")
        self._cache = cache_dir
        self._made = False

    @property
    def directory(self) -> Path:
        """Local directory that new files are written to; it exists."""
        path = self._root / "state"
        if not self._made:
            if self._place.is_local:
                make_directory(path)
            else:
                path.mkdir(parents=True, exist_ok=True)
            self._made = True
        return path

    @property
    def _root(self) -> Path:
        if self._place.is_local:
            return self._place.local_path / self._base
        return self._cache / self._base

    def name_of(self, path: Path) -> str:
        """How a manifest calls a file of :attr:`directory`."""
        return path.relative_to(self._root).as_posix()

    def local(self, name: str) -> Path:
        """A file as a local path, fetched where it is not there yet.

        Raises:
            CursorStoreError: It is gone: the state is incomplete.
            CursorStoreUnavailable: The store does not answer.
        """
        path = self._root / name
        if path.exists():
            return path
        problem = f"the state file {self._place.full_name(self._full(name))} is gone"
        remedy = "bring the state directory back from a backup, or reset the query"
        if self._place.is_local:
            raise CursorStoreError(problem, remedy=remedy)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            self._place.download(self._full(name), partial)
        except PlaceError as error:
            if error.kind == "missing":
                raise CursorStoreError(problem, remedy=remedy) from error
            raise self._unavailable(error) from error
        partial.replace(path)
        return path

    def persist(self, names: Iterable[str]) -> None:
        """Make written files durable: flush them, or upload them.

        Raises:
            CursorStoreUnavailable: The store does not answer.
        """
        given = list(names)
        if not given:
            return
        if self._place.is_local:
            for name in given:
                sync_file(self._root / name)
            sync_directory(self.directory)
            return
        with ThreadPoolExecutor(_TRANSFERS) as pool:
            uploads = [
                pool.submit(self._place.upload, self._root / name, self._full(name))
                for name in given
            ]
            for upload in uploads:
                try:
                    upload.result()
                except PlaceError as error:
                    raise self._unavailable(error) from error

    def save(self, version: StateVersion, name: str) -> None:
        """Write a manifest; its files must be persisted before.

        Raises:
            CursorStoreUnavailable: The store does not answer.
        """
        try:
            self._place.put(self._full(name), version.to_bytes())
        except PlaceError as error:
            raise self._unavailable(error) from error

    def load(self, name: str) -> StateVersion:
        """Read a manifest.

        Raises:
            CursorStoreError: It is gone or damaged.
            CursorStoreUnavailable: The store does not answer.
        """
        full = self._full(name)
        try:
            data = self._place.get(full)
        except PlaceError as error:
            raise self._unavailable(error) from error
        if data is None:
            raise CursorStoreError(
                f"the state manifest {self._place.full_name(full)} is gone",
                remedy="bring the state directory back from a backup, or reset the query",
            )
        return StateVersion.from_bytes(data, self._place.full_name(full))

    def clean(self, keep: Collection[str]) -> int:
        """Delete everything that is not reachable from the manifests ``keep``.

        Args:
            keep: Manifests by name; they must all be there.

        Returns:
            Files deleted.
        """
        wanted = set(keep)
        for name in keep:
            wanted |= self.load(name).paths
        return self.delete(name for name in self.names() if name not in wanted)

    def names(self) -> list[str]:
        """All files there are, manifests too."""
        prefix = f"{self._base}/"
        try:
            return [
                item.path.removeprefix(prefix) for item in self._place.list(self._full("state"))
            ]
        except PlaceError as error:
            raise self._unavailable(error) from error

    def delete(self, names: Iterable[str]) -> int:
        """Delete files, from the cache too."""
        given = list(names)
        try:
            self._place.delete([self._full(name) for name in given])
        except PlaceError as error:
            raise self._unavailable(error) from error
        if not self._place.is_local:
            for name in given:
                (self._root / name).unlink(missing_ok=True)
        return len(given)

    def _full(self, name: str) -> str:
        return f"{self._base}/{name}" if self._base else name

    def _unavailable(self, error: PlaceError) -> CursorStoreUnavailable:
        return CursorStoreUnavailable(
            f"the state below {self._place!r} cannot be reached: {error.args[0]}",
            remedy=error.remedy or "check HEADWATER_STATE and the credentials for it",
        )
