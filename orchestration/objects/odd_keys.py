"""Keys that S3 allows and obstore cannot name: ``a//b``, ``./x``, keys with control characters.

One of them would make a whole listing fail, and such keys are common: a slash too many in a
writer's prefix is enough. They are listed and fetched with boto3, more slowly.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestration.objects.base import ObjectInfo, PlaceError, PlaceFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.objects.aws import Access

__all__ = ["OddKeys", "is_odd"]

_ODD = re.compile(r"(?:^|/)(?:|\.|\.\.)(?:/|$)|[\x00-\x1f\x7f]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAULTS: dict[str, PlaceFault] = {
    "404": "missing",
    "NoSuchKey": "missing",
    "NoSuchBucket": "no_bucket",
    "412": "changed",
    "PreconditionFailed": "changed",
    "403": "denied",
    "AccessDenied": "denied",
    "SignatureDoesNotMatch": "denied",
    "InvalidAccessKeyId": "denied",
    "ExpiredToken": "denied",
}


def is_odd(key: str) -> bool:
    """Whether obstore cannot name a key."""
    return _ODD.search(key) is not None


class OddKeys:
    """A bucket through boto3.

    Args:
        bucket: Its name.
        access: How to reach it.
    """

    def __init__(self, bucket: str, access: Access) -> None:
        import boto3
        from botocore.config import Config

        credentials = access.current()
        self._bucket = bucket
        self._client = boto3.Session().client(
            "s3",
            endpoint_url=access.endpoint,
            region_name=access.region,
            aws_access_key_id=credentials.get("access_key_id"),
            aws_secret_access_key=credentials.get("secret_access_key"),
            aws_session_token=credentials.get("token"),
            config=Config(
                connect_timeout=3,
                read_timeout=20,
                retries={"max_attempts": 4, "mode": "standard"},
            ),
        )

    def list(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        """Every object below ``prefix``, with whole keys as paths."""
        options = {} if after is None else {"StartAfter": after}
        with self._faults(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, **options
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    modified = (item["LastModified"] - _EPOCH) // timedelta(microseconds=1)
                    yield ObjectInfo(item["Key"], item["Size"], modified, item["ETag"])

    def read(
        self, key: str, *, chunk: int, etag: str | None = None, tail: int | None = None
    ) -> Iterator[bytes]:
        """An object's bytes, or its last ``tail`` bytes, in the version called ``etag``."""
        options: dict[str, Any] = {} if etag is None else {"IfMatch": etag}
        if tail is not None:
            options["Range"] = f"bytes=-{tail}"
        with self._faults(key):
            body = self._client.get_object(Bucket=self._bucket, Key=key, **options)["Body"]
            with body:
                yield from body.iter_chunks(chunk)

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        name = f"s3://{self._bucket}/{key}"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise PlaceError(
                f"{name}: {code or error}",
                kind=_FAULTS.get(code, "unavailable"),
                remedy="check the object, the credentials and what they may do in this bucket",
            ) from None
        except BotoCoreError as error:
            raise PlaceError(
                f"{name}: {error}", kind="unavailable", remedy="try again when the store answers"
            ) from None
