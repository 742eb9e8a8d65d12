"""Connections to the server, and its errors in our words."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.errors import (
    ConfigError,
    DeclarationError,
    PublicationChanged,
    SlotInUse,
    SlotLost,
    SourceError,
    SourceNotReady,
    SourceUnavailable,
)
from orchestration.redaction import redact, remember_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

__all__ = ["Dsn", "talking"]

_ENVIRONMENT = "env:"

#: Every session writes values alike: what is in the log must not depend on the server's settings.
_SESSION = (
    "SET datestyle TO 'ISO, YMD'; SET intervalstyle TO 'postgres'; SET timezone TO 'UTC'; "
    "SET extra_float_digits TO 1; SET bytea_output TO 'hex'; SET lc_monetary TO 'C'; "
    "SET statement_timeout TO 0; SET lock_timeout TO 0; "
    "SET idle_in_transaction_session_timeout TO 0; SET synchronous_commit TO local; SET row_security TO off; SET search_path TO pg_catalog"
)


@dataclass(frozen=True, slots=True, repr=False)
class Dsn:
    """How the server is reached; never shown.

    Attributes:
        text: As declared: a URL, libpq's ``key=value`` words, ``service=name``, nothing at all
            (libpq's own variables), or ``env:NAME`` for a variable that holds one of these.
    """

    text: str

    def __repr__(self) -> str:
        return "Dsn(***)"

    def connect(self, *, replication: bool = False) -> psycopg.Connection[Any]:
        """A new session in autocommit.

        Raises:
            SourceUnavailable: The server does not answer or does not let us in.
            ConfigError: The variable that should hold the address is not set, or the driver is
                not installed.
        """
        try:
            import psycopg
        except ImportError:
            raise ConfigError(
                "PostgreSQL's driver, psycopg, is not installed",
                remedy="pip install 'headwater[postgres]'",
            ) from None
        given: dict[str, Any] = {"application_name": "headwater", "connect_timeout": 10}
        given |= self._parameters()
        given["client_encoding"] = "UTF8"
        if replication:
            given["replication"] = "database"
        with talking():
            connection = psycopg.connect(**given, autocommit=True, prepare_threshold=None)
            connection.execute(_SESSION)
            return connection

    def _parameters(self) -> dict[str, Any]:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        text = self.text
        if text.startswith(_ENVIRONMENT):
            name = text.removeprefix(_ENVIRONMENT)
            text = os.environ.get(name, "")
            if not text:
                raise ConfigError(
                    f"the environment variable {name}, which should say where the database is, is "
                    "not set",
                    remedy=f"set {name} to a URL such as postgresql://user:password@host/database",
                )
        try:
            found = dict(conninfo_to_dict(text))
        except ProgrammingError:
            # Its message may quote the password.
            raise DeclarationError(
                "postgres(...): the dsn is neither a URL nor libpq's key=value words",
                remedy="write for instance 'postgresql://user@host/database', 'service=shop' or "
                "'env:SHOP_DSN'",
            ) from None
        remember_secret(str(found.get("password") or ""))
        remember_secret(str(found.get("sslpassword") or ""))
        return found

    @property
    def shown(self) -> str:
        """Host and database for people, where they are known without connecting."""
        if self.text.startswith(_ENVIRONMENT):
            return f"the database of ${self.text.removeprefix(_ENVIRONMENT)}"
        found: dict[str, Any] = {}
        with suppress(DeclarationError, ConfigError):
            found = self._parameters()
        if found.get("service"):
            return f"the database of the service {found['service']}"
        name = str(found.get("dbname") or os.environ.get("PGDATABASE") or "the database")
        host = found.get("host") or os.environ.get("PGHOST")
        return redact(f"{name} on {host}" if host else name)


@contextmanager
def talking(slot: str = "") -> Iterator[None]:
    """Turn the driver's errors into ours, without secrets.

    Args:
        slot: The replication slot in use, for messages.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise _translated(error, slot) from None


def _translated(error: psycopg.Error, slot: str) -> SourceError:
    import psycopg

    text = redact(" ".join(str(error).split()))
    state = error.sqlstate or ""
    if state == "55006":
        return SlotInUse(
            f"replication slot {slot!r} is read by another session: {text}",
            remedy="a slot has one consumer. Stop the other one, or give this query a slot of its "
            "own; what passes by itself is tried again",
        )
    if state == "42501":
        return SourceNotReady(
            f"the database role may not do what is needed: {text}",
            remedy="ALTER ROLE … REPLICATION, GRANT SELECT on the tables for the first copy, and "
            "GRANT CREATE on the database unless the publication exists already",
        )
    if "publication" in text and state in {"42704", "42710"}:
        return PublicationChanged(
            f"the server says: {text}",
            remedy="changes may have been lost: create the publication again, drop the slot "
            f"(SELECT pg_drop_replication_slot('{slot}')), and reset the query",
        )
    if "replication slot" in text and state in {"42704", "55000"}:
        return SlotLost(
            f"the server says: {text}",
            remedy="what the slot held is gone. Drop it if it is still there (SELECT "
            f"pg_drop_replication_slot('{slot}')), and 'headwater reset' the query: it copies the "
            "tables anew",
        )
    if isinstance(error, psycopg.OperationalError):
        return SourceUnavailable(
            f"the database does not answer: {text}",
            remedy="check that the server runs, and the host, port, user and password of the dsn",
        )
    return SourceError(
        f"the database refused a query: {text}",
        remedy="nothing was written; if this is not a matter of rights, please report it",
    )
