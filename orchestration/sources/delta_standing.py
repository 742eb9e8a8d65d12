"""Where a stream of a Delta table stands, in words and numbers; nothing for other sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.sources.base import Backlog

__all__ = ["newest_version", "standing", "versions_behind"]


def versions_behind(end: Mapping[str, Any], latest: Mapping[str, Any]) -> int | None:
    """How many versions of the table hold something that is not read.

    Args:
        end: An offset; or source to offset.
        latest: How far the table goes, likewise.

    Returns:
        ``None`` where these are not offsets of a Delta table.
    """
    if "version" in latest and "table" in latest:
        if not end:
            return 1 if latest.get("files") else 0
        whole = int(latest["version"]) - int(end.get("version", 0))
        return max(whole, 1) if end.get("files") != latest.get("files") else 0
    parts = [
        versions_behind(end.get(name) or {}, value)
        for name, value in latest.items()
        if isinstance(value, dict)
    ]
    known = [item for item in parts if item is not None]
    return sum(known) if known else None


def standing(end: Mapping[str, Any], latest: Mapping[str, Any]) -> str | None:
    """``version 12, 3 versions behind``; ``None`` where this is no Delta table's offset."""
    behind = versions_behind(end, latest)
    if behind is None or "version" not in end:
        return None
    version, file = int(end["version"]), int(end.get("file", 0))
    if end.get("snapshot"):
        where = f"file {file:,} of the table as of version {version}"
    else:
        where = f"file {file:,} of version {version}" if file else f"version {version - 1}"
    if not behind:
        return where
    return f"{where}, {behind:,} version{'' if behind == 1 else 's'} behind"


def newest_version(backlog: Backlog) -> int | None:
    """The newest version that a look has seen; ``None`` where it was no Delta table."""
    end = (backlog.drained_listing or backlog.listing).get("next")
    return None if end is None else int(end) - 1
