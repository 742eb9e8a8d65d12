"""What a place can do, wherever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from orchestration.errors import ConfigError, HeadwaterError
from orchestration.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["ObjectInfo", "Place", "PlaceError", "PlaceFault", "storage_options"]

PlaceFault = Literal["missing", "no_bucket", "denied", "changed", "unavailable"]


class PlaceError(HeadwaterError):
    """A place did not do what it was asked; callers turn it into a source's or sink's error.

    Attributes:
        kind: ``missing``: no such file. ``no_bucket``: no such bucket. ``denied``: wrong
            credentials or no permission. ``changed``: the file is not the version asked for.
            ``unavailable``: the place does not answer, or answers nonsense; may pass.
    """

    def __init__(self, message: str, *, kind: PlaceFault, remedy: str = "") -> None:
        super().__init__(redact(message), remedy=redact(remedy))
        self.kind: PlaceFault = kind


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A file of a place, as a listing shows it.

    Attributes:
        path: Relative to the place, ``/`` between parts, not percent-encoded.
        size: Bytes.
        modified_us: Modification time, microseconds since the epoch.
        etag: The store's name for this version of the content; ``None`` on local disks.
    """

    path: str
    size: int
    modified_us: int
    etag: str | None = None


class Place(ABC):
    """A directory or bucket prefix. Paths are relative, with ``/``, and never percent-encoded.

    Every method may raise :class:`PlaceError`. A place that does not answer is given up after
    some seconds, never minutes. Safe to use from several threads.
    """

    is_local: ClassVar[bool]

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @staticmethod
    def open(uri: str) -> Place:
        """The place at an absolute path, ``file://`` or ``s3://bucket/prefix``.

        It connects to nothing yet, and the directory need not exist.

        Raises:
            ConfigError: The URI is none of these.
        """
        if uri.startswith("s3://"):
            from orchestration.objects.s3 import S3Place

            return S3Place(uri)
        path = uri.removeprefix("file://")
        if not path.startswith("/"):
            raise ConfigError(
                f"{redact(uri)!r} is neither an absolute path nor an s3:// URI",
                remedy="write /absolute/path or s3://bucket/prefix",
            )
        from orchestration.objects.local import LocalPlace

        return LocalPlace(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact(self.uri)!r})"

    @property
    @abstractmethod
    def local_path(self) -> Path:
        """The directory on this machine's disk.

        Raises:
            ConfigError: The place is not local.
        """

    @abstractmethod
    def full_name(self, path: str) -> str:
        """What a user calls the file: its absolute path or ``s3://`` URI, not encoded."""

    @abstractmethod
    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write ``data`` unless there is a file already; false when there is.

        Atomic: of any number of callers exactly one gets true, and nobody sees half a file. It
        is on the disk when this returns.
        """

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file; atomic and on the disk when this returns."""

    @abstractmethod
    def get(self, path: str) -> bytes | None:
        """The whole content; ``None`` when there is no such file."""

    @abstractmethod
    def get_tail(self, path: str, size: int) -> bytes:
        """The last ``size`` bytes, or all where there are fewer.

        Raises:
            PlaceError: ``missing`` where there is no such file.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All files below the directory ``prefix``, in no order; none when it does not exist."""

    @abstractmethod
    def list_after(self, key: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """The files whose path sorts after ``key`` as UTF-8 bytes, in that order on S3."""

    @abstractmethod
    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that do not exist are none of its business."""

    @abstractmethod
    def upload(self, local: Path, path: str) -> None:
        """Copy a local file here, streaming; as atomic and durable as :meth:`put`."""

    @abstractmethod
    def download(self, path: str, local: Path, etag: str | None = None) -> int:
        """Copy a file to a local path, streaming, and give the number of bytes.

        Raises:
            PlaceError: ``missing`` where it is gone; ``changed`` where it is no longer the
                version called ``etag``. Nothing is left at ``local`` then.
        """

    @abstractmethod
    def probe_conditional_put(self) -> None:
        """Make sure that the store honours ``If-None-Match: *``; asked once per process.

        Raises:
            UnsafeStore: It overwrote, so two writers could lose each other's commits.
        """


def storage_options(uri: str) -> dict[str, str]:
    """Options that delta-rs needs to reach ``uri``: secret, so never show them.

    Empty for local paths. Take them anew for each table opened: credentials expire.

    Raises:
        PlaceError: There are no credentials.
    """
    if not uri.startswith("s3://"):
        return {}
    from orchestration.objects.aws import Access

    return Access.find().storage_options()
