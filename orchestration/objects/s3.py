"""Places in S3 or a store that speaks its protocol, reached through obstore."""

from __future__ import annotations

import re
import threading
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from orchestration.errors import ConfigError, UnsafeStore
from orchestration.objects.aws import Access
from orchestration.objects.base import ObjectInfo, Place, PlaceError
from orchestration.objects.odd_keys import OddKeys, is_odd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from obstore.store import S3Store

__all__ = ["S3Place"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LIST_CHUNK = 1000  # what one listing request returns
_DOWNLOAD_CHUNK = 8 * 1024 * 1024
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_DENIED = {"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken"} | {
    "InvalidToken",
    "TokenRefreshRequired",
    "AllAccessDisabled",
    "AccountProblem",
}

_probed: set[tuple[str | None, str]] = set()
_probe_lock = threading.Lock()


class S3Place(Place):
    """A prefix of a bucket. Keys are taken literally: ``%`` and ``#`` mean themselves."""

    is_local = False

    def __init__(self, uri: str) -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        prefix = "/".join(part for part in prefix.split("/") if part)
        if not bucket:
            raise ConfigError(f"{uri!r} names no bucket", remedy="write s3://bucket/prefix")
        super().__init__(f"s3://{bucket}/{prefix}".rstrip("/"))
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def local_path(self) -> Path:
        """Refused: there is no local directory."""
        raise ConfigError(f"{self.uri} is not a local directory")

    def full_name(self, path: str) -> str:
        """The object's ``s3://`` URI, not encoded."""
        return f"{self.uri}/{path}"

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """PUT with ``If-None-Match: *``."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._faults(path):
            try:
                obstore.put(self._store, self._key(path), data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """PUT."""
        import obstore

        with self._faults(path):
            obstore.put(self._store, self._key(path), data)

    def get(self, path: str) -> bytes | None:
        """GET."""
        import obstore

        with self._faults(path):
            try:
                return bytes(obstore.get(self._store, self._key(path)).bytes())
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise
                return None

    def get_tail(self, path: str, size: int) -> bytes:
        """GET with a range from the end."""
        import obstore

        if is_odd(self._key(path)):
            return b"".join(self._odd.read(self._key(path), chunk=_DOWNLOAD_CHUNK, tail=size))
        with self._faults(path):
            result = obstore.get(self._store, self._key(path), options={"range": {"suffix": size}})
            return bytes(result.bytes())

    def exists(self, path: str) -> bool:
        """HEAD."""
        import obstore

        with self._faults(path):
            try:
                obstore.head(self._store, self._key(path))
            except FileNotFoundError:
                return False
        return True

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """ListObjectsV2, a page at a time."""
        return self._list(prefix, None)

    def list_after(self, key: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """ListObjectsV2 with ``StartAfter``: cost goes with what is new, not with what is there."""
        return self._list(prefix, self._key(key) if key else None)

    def delete(self, paths: Iterable[str]) -> None:
        """DeleteObjects, many keys at a time."""
        import obstore

        keys = [self._key(path) for path in paths]
        with self._faults(""):
            for start in range(0, len(keys), _LIST_CHUNK):
                with suppress(FileNotFoundError):
                    obstore.delete(self._store, keys[start : start + _LIST_CHUNK])

    def upload(self, local: Path, path: str) -> None:
        """PUT, or a multipart upload where the file is large."""
        import obstore

        with self._faults(path):
            obstore.put(self._store, self._key(path), local)

    def download(self, path: str, local: Path, etag: str | None = None) -> int:
        """GET with ``If-Match``, streamed to the file."""
        import obstore

        if is_odd(self._key(path)):
            return self._download_odd(path, local, etag)
        options: Any = {} if etag is None else {"if_match": etag}
        with self._faults(path):
            try:
                result = obstore.get(self._store, self._key(path), options=options)
                expected = result.meta["size"]
                written = 0
                with local.open("wb") as file:
                    for chunk in result.stream(min_chunk_size=_DOWNLOAD_CHUNK):
                        written += file.write(memoryview(chunk))
            except BaseException:
                local.unlink(missing_ok=True)
                raise
        if written != expected:
            local.unlink(missing_ok=True)
            raise PlaceError(
                f"{self.full_name(path)}: {written} bytes came, {expected} were announced",
                kind="unavailable",
                remedy="try again",
            )
        return written

    def probe_conditional_put(self) -> None:
        """PUT a key twice with ``If-None-Match: *``; the second must be refused."""
        known = (Access.find().endpoint, self._bucket)
        with _probe_lock:
            if known in _probed:
                return
            path = f".headwater-probe-{uuid.uuid4().hex}"
            first = self.put_if_absent(path, b"1")
            try:
                second = self.put_if_absent(path, b"2")
            finally:
                with suppress(PlaceError):  # one may be allowed to write and not to delete
                    self.delete([path])
            if not first or second:
                raise UnsafeStore(
                    f"{self.uri}: the store ignores conditional PUT (If-None-Match: *), so two "
                    "writers would lose each other's commits without a word",
                    remedy="use a store that honours it: AWS S3, SeaweedFS, MinIO, Ceph, R2, or "
                    "a local directory",
                )
            _probed.add(known)

    @property
    def _store(self) -> S3Store:
        return _open_store(self._bucket, Access.find())

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _list(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        import obstore
        from obstore.exceptions import InvalidPathError

        cut = len(self._prefix)
        below = self._key(prefix).rstrip("/")
        done = after
        try:
            with self._faults(prefix):
                pages = obstore.list(
                    self._store, below or None, offset=after, chunk_size=_LIST_CHUNK
                )
                for page in pages:
                    for meta in page:
                        path, etag = meta["path"], meta["e_tag"]
                        modified = (meta["last_modified"] - _EPOCH) // _MICROSECOND
                        yield ObjectInfo(path[cut:], meta["size"], modified, etag)
                        done = path
        except InvalidPathError:
            # Keys come in their order, so that what was given already is left out.
            for info in self._odd.list(f"{below}/" if below else "", done):
                yield replace(info, path=info.path[cut:])

    @property
    def _odd(self) -> OddKeys:
        return OddKeys(self._bucket, Access.find())

    def _download_odd(self, path: str, local: Path, etag: str | None) -> int:
        try:
            with local.open("wb") as file:
                key = self._key(path)
                return sum(
                    file.write(chunk)
                    for chunk in self._odd.read(key, chunk=_DOWNLOAD_CHUNK, etag=etag)
                )
        except BaseException:
            local.unlink(missing_ok=True)
            raise

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        """Turn obstore's errors into :class:`PlaceError`, short and without secrets."""
        from botocore.exceptions import BotoCoreError
        from obstore import exceptions

        try:
            yield
        except exceptions.InvalidPathError:
            raise  # listings know what to do
        except (exceptions.BaseError, FileNotFoundError, BotoCoreError, ValueError) as error:
            raise self._explain(path, error) from None

    def _explain(self, path: str, error: Exception) -> PlaceError:
        from obstore import exceptions

        name = self.full_name(path) if path else self.uri
        text = str(error).partition("\n\nDebug source")[0]
        code = _code(error)
        found = _STATUS.search(text)
        status = found[1] if found else ""
        if code == "NoSuchBucket":
            return PlaceError(
                f"the bucket of {self.uri} does not exist at {self._where()}",
                kind="no_bucket",
                remedy="create it, or correct the URI, AWS_ENDPOINT_URL or AWS_REGION",
            )
        if isinstance(error, FileNotFoundError):
            return PlaceError(f"{name} does not exist", kind="missing")
        if isinstance(error, exceptions.PreconditionError):
            return PlaceError(f"{name} is no longer the version asked for", kind="changed")
        refused = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        if isinstance(error, refused) or code in _DENIED or status in {"401", "403"}:
            return PlaceError(
                f"{self._where()} does not let us into {name}: {code or status or 'denied'}",
                kind="denied",
                remedy="check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, …) and what they "
                "may do in this bucket",
            )
        if status in {"301", "307", "400"} and code in {
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
        }:
            return PlaceError(
                f"the bucket of {self.uri} is not in region {Access.find().region}",
                kind="unavailable",
                remedy="set AWS_REGION to the bucket's region",
            )
        # obstore tells the whole story of its retries first; what happened comes last
        reason = text.rpartition(" - ")[2].strip()
        return PlaceError(
            f"{self._where()} did not do what was asked of {name}: {reason}",
            kind="unavailable",
            remedy=f"check that {self._where()} answers, then run again",
        )

    @staticmethod
    def _where() -> str:
        access = Access.find()
        return access.endpoint or f"AWS S3 in {access.region}"


def _code(error: Exception) -> str | None:
    found = _CODE.search(str(error))
    return found[1] if found else None


@lru_cache(maxsize=64)
def _open_store(bucket: str, access: Access) -> S3Store:
    """One store, and so one pool of connections, per bucket."""
    from obstore.store import S3Store

    return S3Store(bucket, **access.store_options())
