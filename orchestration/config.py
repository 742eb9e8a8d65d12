"""Settings: where things live and how much of the machine may be used.

Every setting is an environment variable that starts with ``HEADWATER_``; nothing depends on the
current directory except finding the project's root above it.

=========================  =======================================================================
variable                   meaning, default
=========================  =======================================================================
``HEADWATER_ROOT``         the project's directory, to which relative paths are relative; default:
                           the nearest directory upwards of the current one with a
                           ``pyproject.toml``, else the one above the ``orchestration`` package
``HEADWATER_HOME``         directory of everything below; default ``.headwater/`` in the root
``HEADWATER_TABLES``       where Delta tables go, a directory or ``s3://bucket/prefix``; default
                           ``tables/`` in the home
``HEADWATER_STATE``        plans, seals and state, a directory or ``s3://bucket/prefix``; default
                           ``state/`` in the home
``HEADWATER_CURSORS``      SQLAlchemy URL of the cursor store; default SQLite, ``cursors.db`` in
                           the home
``HEADWATER_SCRATCH``      fast local directory for spilled and fetched data; default ``scratch/``
                           in the home
``HEADWATER_MEMORY_LIMIT`` memory the engine may use, such as ``2GiB``; default a quarter of the
                           machine's (or container's) memory, 4 GiB at most
``HEADWATER_THREADS``      threads the engine may use; default one per usable core
``HEADWATER_SPOOL_BYTES``  local disk for objects fetched from a store, such as ``500MB``; one
                           object larger than that is still fetched alone; default 1 GiB
``HEADWATER_MAX_FAILURES`` times in a row a batch may fail the same way before it blocks;
                           default 3
=========================  =======================================================================

Credentials of object stores are never settings: they come the way boto3 finds them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.errors import ConfigError
from orchestration.redaction import redact

__all__ = ["Settings", "parse_bytes"]

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_MEMORY_CEILING = 4 * 1024**3
_MEMORY_FLOOR = 64 * 1024**2  # below this DuckDB cannot write one Parquet row group
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def parse_bytes(value: object) -> int:
    """Read a size such as ``"1GiB"``, ``"500 MB"`` or ``1048576``.

    Raises:
        ValueError: It is not a positive size.
    """
    match = _SIZE.fullmatch(str(value))
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a size; expected one such as 512MB or 1GiB")
    size = int(float(match[1]) * unit)
    if size < 1:
        raise ValueError(f"{value!r} is not a size above zero")
    return size


Bytes = Annotated[int, BeforeValidator(parse_bytes)]


class Settings(BaseSettings):
    """What one process was told by its environment; see the module for each variable.

    Use :meth:`load`, which raises :class:`ConfigError`. Building it reads the environment and
    looks for the project's root; it makes no directories and connects to nothing.

    Attributes:
        root: The project's directory, absolute; ``None`` where there is none.
        home: Absolute directory of what Headwater keeps.
        tables, state: Absolute directory, or ``s3://bucket/prefix`` without a slash at the end.
        cursors: SQLAlchemy URL, secret; read it with :attr:`cursors_url`.
        scratch: Absolute directory for what need not survive the process.
        memory_limit: As DuckDB takes it, such as ``"1048576KiB"``.
        threads: Threads of the engine.
        spool_bytes: Bytes of fetched objects that may lie in :attr:`spool_dir`.
        max_failures: Failures of the same kind, in a row, after which a batch blocks.
    """

    model_config = SettingsConfigDict(
        env_prefix="HEADWATER_", env_ignore_empty=True, extra="forbid", frozen=True
    )

    root: Path | None
    home: Path
    tables: str
    state: str
    cursors: SecretStr
    scratch: Path
    memory_limit: str
    threads: int = Field(ge=1, le=1024)
    spool_bytes: Bytes = 1024**3
    max_failures: int = Field(default=3, ge=1)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of the environment, with ``overrides`` (by field name) before them.

        Raises:
            ConfigError: A value makes no sense; the message names the variable.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise _config_error(error) from None

    @property
    def cursors_url(self) -> str:
        """SQLAlchemy URL of the cursor store, password included: never show it."""
        return self.cursors.get_secret_value()

    @property
    def spill_dir(self) -> Path:
        """Where the engine spills what does not fit its memory."""
        return self.scratch / "spill"

    @property
    def spool_dir(self) -> Path:
        """Where objects of a store lie while they are read."""
        return self.scratch / "spool"

    def tables_uri(self, name: str) -> str:
        """Where the Delta table called ``name`` lives: an absolute path or an ``s3://`` URI."""
        return f"{self.tables}/{name}"

    def state_uri(self, query_id: str) -> str:
        """Where plans, seals and state of one query live: a path or an ``s3://`` URI."""
        return f"{self.state}/{query_id}"

    def resolve_input(self, path: str | os.PathLike[str]) -> str:
        """Make an input path absolute: relative ones are relative to the project's root.

        Raises:
            ConfigError: The path is relative and there is no project.
        """
        return _resolve_place(os.fspath(path), self.root, f"the input path {os.fspath(path)!r}")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Find the root and home, and make every place absolute."""
        values = dict(given)
        root = values["root"] = _find_root(values.get("root"))
        if values.get("home"):
            home = Path(_resolve_directory(values["home"], root, "HEADWATER_HOME"))
        elif root is None:
            raise ConfigError(
                f"there is no pyproject.toml in {Path.cwd()} or above it, so there is no project "
                "to keep tables, state and cursors beside",
                remedy="set HEADWATER_HOME to an absolute directory, or start in the project",
            )
        else:
            home = root / ".headwater"
        values["home"] = home
        for name in ("tables", "state"):
            text = os.fspath(values.get(name) or home / name)
            values[name] = _resolve_place(text, root, f"HEADWATER_{name.upper()}")
        scratch = values.get("scratch") or home / "scratch"
        values["scratch"] = Path(_resolve_directory(scratch, root, "HEADWATER_SCRATCH"))
        values["cursors"] = _cursors_url(values.get("cursors"), home)
        values.setdefault("memory_limit", _default_memory())
        values.setdefault("threads", _usable_cores())
        return values

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _normalize_memory(cls, value: object) -> str:
        size = parse_bytes(value)
        if size < _MEMORY_FLOOR:
            raise ValueError(f"{value!r} is too little; expected 64MiB or more")
        return f"{size // 1024}KiB"


def _config_error(error: ValidationError) -> ConfigError:
    """Say the first thing wrong, by the variable's name, without a secret in it."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return ConfigError(
            f"{name!r} is not a setting", remedy=f"use one of {', '.join(Settings.model_fields)}"
        )
    found = "" if name == "cursors" or repr(first["input"]) in message else f" {first['input']!r}:"
    variable = f"HEADWATER_{name.upper()}"
    return ConfigError(
        redact(f"{variable}:{found} {message}"),
        remedy=f"correct {variable} in the environment, or unset it to take the default",
    )


def _find_root(given: object) -> Path | None:
    if given:
        root = Path(os.fspath(str(given))).expanduser()
        if not root.is_absolute() or not root.is_dir():
            raise ConfigError(
                f"HEADWATER_ROOT: {str(given)!r} is not an absolute path of a directory",
                remedy="set HEADWATER_ROOT to the project's directory, or unset it",
            )
        return root
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "pyproject.toml").is_file():
            return directory
    beside_package = Path(__file__).resolve().parent.parent
    return beside_package if (beside_package / "pyproject.toml").is_file() else None


def _resolve_directory(value: object, root: Path | None, variable: str) -> str:
    place = _resolve_place(str(value), root, variable)
    if place.startswith("s3://"):
        raise ConfigError(
            f"{variable}: {place!r} is not a local directory",
            remedy=f"set {variable} to a directory of this machine; HEADWATER_TABLES and "
            "HEADWATER_STATE may be s3:// prefixes",
        )
    return place


def _resolve_place(text: str, root: Path | None, what: str) -> str:
    """An absolute path or an ``s3://bucket/prefix``, without a slash at the end."""
    scheme = _SCHEME.match(text)
    if scheme and scheme[1] == "s3":
        if not text.removeprefix("s3://").strip("/"):
            raise ConfigError(
                f"{what}: {text!r} names no bucket", remedy="write s3://bucket/prefix"
            )
        return text.rstrip("/")
    if scheme and scheme[1] == "file":
        text = text.removeprefix("file://")
    elif scheme:
        raise ConfigError(
            f"{what}: {redact(text)!r} is at a place Headwater does not know",
            remedy="use a directory or s3://bucket/prefix (AWS_ENDPOINT_URL points it at any "
            "S3-compatible store)",
        )
    path = Path(text).expanduser()
    if not path.is_absolute():
        if root is None:
            raise ConfigError(
                f"{what} is relative, and there is no pyproject.toml in {Path.cwd()} or above it",
                remedy="write an absolute path, or set HEADWATER_ROOT to the project's directory",
            )
        path = root / path
    return os.path.normpath(path)


def _cursors_url(value: object, home: Path) -> str:
    """The cursor store's URL with an absolute SQLite path or psycopg as PostgreSQL's driver."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    url = str(value or f"sqlite:///{home / 'cursors.db'}")
    name, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError(
            f"HEADWATER_CURSORS: {redact(url)!r} is not an SQLAlchemy URL",
            remedy="write sqlite:////absolute/path.db or postgresql://user@host/database",
        )
    if name in {"postgres", "postgresql"}:
        return f"postgresql+psycopg://{rest}"
    if name.split("+")[0] == "sqlite":
        file = rest.removeprefix("/").partition("?")[0]
        if file in {"", ":memory:"}:
            raise ConfigError(
                "HEADWATER_CURSORS: an SQLite database in memory forgets what was read",
                remedy="write sqlite:////absolute/path.db",
            )
        if not file.startswith("/"):
            return f"{name}:///{home}/{rest.removeprefix('/')}"
    return url


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _default_memory() -> int:
    """A quarter of the memory that this process can have, between 64 MiB and 4 GiB."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return max(_MEMORY_FLOOR, min(_MEMORY_CEILING, total // 4))
