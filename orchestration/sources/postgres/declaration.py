"""``postgres(...)``: what to follow, checked before anything is connected to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from orchestration.errors import DeclarationError
from orchestration.sources.base import Limits
from orchestration.sources.options import check_count, check_name, check_one_of, check_size
from orchestration.sources.postgres.connection import Dsn
from orchestration.sources.postgres.source import PostgresSource

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["postgres"]

_Snapshot = Literal["initial", "never"]
_SLOT = re.compile(r"[a-z0-9_]{1,63}")


def postgres(
    dsn: str,
    tables: Sequence[str],
    slot: str,
    publication: str,
    snapshot: _Snapshot = "initial",
    *,
    name: str = "postgres",
    max_rows: int | None = 1_000_000,
    max_bytes: int | str | None = "256 MiB",
    chunk_rows: int = 500_000,
    idle_bytes: int | str = "16 MiB",
    warn_bytes: int | str = "1 GiB",
) -> PostgresSource:
    """Every change of some tables, in the order of their commits, exactly once.

    Nothing is connected to here. The first run makes the publication and then the slot, where they
    do not exist, and copies the tables part by part; from then on it reads changes. Rows are those
    of a change log: land them in a table of their own, and read that with :func:`changes`::

        log = pipeline("shop_changes",
                       stream(postgres("env:SHOP_DSN", tables=["public.customers"],
                                       slot="headwater_shop", publication="headwater_shop")),
                       sink=delta_sink("shop_changes"))

    Args:
        dsn: A URL, libpq's ``key=value`` words, ``service=name``, ``""`` for libpq's own
            variables, or ``env:NAME`` for a variable that holds one of these. Passwords are
            best left to the last, or to ``~/.pgpass``. TLS as libpq does it: ``sslmode``.
        tables: ``schema.table`` as the catalogue has it; ``public`` where there is no schema.
        slot: Name of the replication slot; no two queries share one.
        publication: Name of the publication. One that exists has to have the tables.
        snapshot: ``initial`` copies the tables first; ``never`` begins with the changes after the
            slot.
        name: Unique within the query; offsets are kept under it, so keep it.
        max_rows: Changes a batch, about: transactions stay whole. ``None`` is no limit.
        max_bytes: Bytes of the server's log a batch. A larger transaction is a batch of its own,
            spilled to disk and applied in bounded memory.
        chunk_rows: Rows of a part of a table's copy; each part is a batch.
        idle_bytes: When so much log has gone by without a change of these tables, the slot is
            moved on.
        warn_bytes: Warn when the server keeps more log than this for the slot.

    Raises:
        DeclarationError: A value makes no sense.
    """
    check_one_of("snapshot", snapshot, _Snapshot)
    if not isinstance(dsn, str):
        raise DeclarationError(
            f"postgres(...): the dsn is a {type(dsn).__name__}, expected text",
            remedy="write for instance 'env:SHOP_DSN'",
        )
    if not _SLOT.fullmatch(str(slot)):
        raise DeclarationError(
            f"slot={slot!r} cannot name a replication slot",
            remedy="use lower-case letters, digits and '_', at most 63",
        )
    if not publication:
        raise DeclarationError(
            f"publication={publication!r} cannot name a publication", remedy="name it as the slot"
        )
    return PostgresSource(
        dsn=Dsn(dsn),
        tables=_tables(tables),
        slot=slot,
        publication=publication,
        snapshot=snapshot,
        name=check_name(name),
        limits=Limits(
            max_bytes=None if max_bytes is None else check_size("max_bytes", max_bytes),
            max_rows=check_count("max_rows", max_rows),
        ),
        chunk_rows=check_count("chunk_rows", chunk_rows) or 1,
        idle_bytes=check_size("idle_bytes", idle_bytes),
        warn_bytes=check_size("warn_bytes", warn_bytes),
    )


def _tables(given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str) or not given or not all(isinstance(item, str) for item in given):
        raise DeclarationError(
            f"tables={given!r}: expected the names of one or more tables",
            remedy='write for instance tables=["public.customers", "public.orders"]',
        )
    names = tuple(item if "." in item else f"public.{item}" for item in given)
    twice = sorted({item for item in names if names.count(item) > 1})
    if twice:
        raise DeclarationError(f"tables: {', '.join(twice)} twice", remedy="name it once")
    return names
