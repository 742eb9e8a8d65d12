"""How to reach S3: credentials, region and endpoint, found the way boto3 finds them.

Nothing of it is ever a Headwater setting. The environment comes first (``AWS_ACCESS_KEY_ID`` …,
``AWS_PROFILE``, ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``), then ``~/.aws/``, then what the
machine's role gives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.objects.base import PlaceError
from orchestration.redaction import remember_secret

if TYPE_CHECKING:
    from botocore.credentials import Credentials

__all__ = ["Access"]

_TRUE = {"1", "true", "yes", "on"}
_DEFAULT_REGION = "us-east-1"  # what S3-compatible stores expect where nobody says otherwise
_CREDENTIALS_TTL = timedelta(minutes=5)  # botocore renews them 10 to 15 minutes ahead


@dataclass(frozen=True)
class Access:
    """The way to S3 that this process's environment describes.

    Attributes:
        endpoint: URL of an S3-compatible store; ``None`` is AWS.
        region: Name of the region.
        anonymous: True for public buckets, read without credentials.
    """

    endpoint: str | None
    region: str
    anonymous: bool
    _credentials: Credentials | None

    @classmethod
    def find(cls) -> Access:
        """Look it up; remembered until the environment changes.

        Raises:
            PlaceError: There are no credentials, or they cannot be read.
        """
        return _find(tuple(sorted(item for item in os.environ.items() if item[0][:4] == "AWS_")))

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint is plain HTTP, as local stores are."""
        return self.endpoint is not None and self.endpoint.startswith("http://")

    def current(self) -> dict[str, Any]:
        """Credentials good for the next minutes, as obstore wants them."""
        if self._credentials is None:
            return {}
        frozen = self._credentials.get_frozen_credentials()
        for secret in (frozen.secret_key, frozen.token, frozen.access_key):
            remember_secret(secret)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_TTL,
        }

    def store_options(self) -> dict[str, Any]:
        """Keyword arguments of ``obstore.store.S3Store``."""
        client: dict[str, Any] = {
            "allow_http": self.allow_http,
            "connect_timeout": timedelta(seconds=3),
            # Whole transfers may be long; it is silence that must not be.
            "timeout": timedelta(hours=1),
            "read_timeout": timedelta(seconds=20),
        }
        bundle = os.environ.get("AWS_CA_BUNDLE")
        if bundle:
            client["root_certificate"] = Path(bundle).read_bytes()
        options: dict[str, Any] = {
            "region": self.region,
            "client_options": client,
            "retry_config": {
                "max_retries": 4,
                "retry_timeout": timedelta(seconds=15),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=2),
                    "base": 2,
                },
            },
        }
        if self.endpoint:
            options["endpoint"] = self.endpoint
        if self.anonymous:
            options["skip_signature"] = True
        else:
            options["credential_provider"] = self.current
        return options

    def storage_options(self) -> dict[str, str]:
        """The same for delta-rs."""
        options = {"AWS_REGION": self.region}
        if self.endpoint:
            options["AWS_ENDPOINT_URL"] = self.endpoint
        if self.allow_http:
            options["AWS_ALLOW_HTTP"] = "true"
        if self.anonymous:
            return options | {"AWS_SKIP_SIGNATURE": "true"}
        now = self.current()
        options["AWS_ACCESS_KEY_ID"] = now["access_key_id"]
        options["AWS_SECRET_ACCESS_KEY"] = now["secret_access_key"]
        if now["token"]:
            options["AWS_SESSION_TOKEN"] = now["token"]
        return options


@lru_cache(maxsize=8)
def _find(environment: tuple[tuple[str, str], ...]) -> Access:
    variables = dict(environment)
    import boto3
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session()
        core = session._session  # noqa: SLF001 - boto3 shows no other way to its configuration
        endpoint: str | None = None
        if not core.get_config_variable("ignore_configured_endpoint_urls"):
            endpoint = ConfiguredEndpointProvider(
                full_config=core.full_config,
                scoped_config=core.get_scoped_config(),
                client_name="s3",
            ).provide()
        anonymous = variables.get("AWS_SKIP_SIGNATURE", "").lower() in _TRUE
        credentials = None if anonymous else session.get_credentials()
    except BotoCoreError as error:
        raise PlaceError(
            f"the AWS configuration cannot be used: {error}",
            kind="denied",
            remedy="correct AWS_PROFILE and ~/.aws/config",
        ) from None
    if credentials is None and not anonymous:
        raise PlaceError(
            "no AWS credentials were found",
            kind="denied",
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a "
            "public bucket set AWS_SKIP_SIGNATURE=true",
        )
    region = session.region_name or variables.get("AWS_REGION") or _DEFAULT_REGION
    access = Access(endpoint, region, anonymous, credentials)
    access.current()  # from here on the secrets are known to the redactor
    return access
