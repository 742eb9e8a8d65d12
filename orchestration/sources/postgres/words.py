"""Sentences about a slot, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.sources.postgres.connection import talking

if TYPE_CHECKING:
    import psycopg

    from orchestration.sources.postgres.server import Server

__all__ = ["about_backlog", "about_held"]

_UNITS = ("B", "kB", "MB", "GB", "TB")


def about_backlog(size: int, oldest_us: int, connection: psycopg.Connection[Any]) -> str:
    """How far behind: bytes of the log, and seconds by the server's own clock."""
    with talking():
        row = connection.execute(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8"
        ).fetchone()
    seconds = max(0.0, (row[0] - oldest_us) / 1_000_000) if row else 0.0
    return f"{_size(size)} of the server's log behind, the oldest change {seconds:,.1f} s old"


def about_held(server: Server, slot: str, limit: int) -> tuple[str, ...]:
    """A warning where the server keeps much log for the slot, or may stop doing so."""
    if server.slot is None:
        return ()
    status = str(server.slot.get("wal_status") or "")
    left = server.slot.get("safe_wal_size")
    if status == "unreserved" or (status == "extended" and left is not None):
        text = (
            f"slot {slot} holds back {_size(server.held)} of the server's log, and the server will "
            "soon take it away (max_slot_wal_keep_size): run the query now"
        )
        return (text,)
    if server.held > limit:
        text = (
            f"slot {slot} holds back {_size(server.held)} of the server's log, which fills its "
            f"disk: run the query, or drop the slot (SELECT pg_drop_replication_slot('{slot}'))"
        )
        return (text,)
    return ()


def _size(number: float) -> str:
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("the last unit takes every number")
