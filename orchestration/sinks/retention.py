"""What of a table is still needed: its files, its log, and what neither names any more.

A file is needed by the newest version, or by an older one that somebody may still read. It was
part of such a version exactly if it is active now, or was taken out by a commit since. So the
log entries since then are read, and no older version has to be opened.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deltalake import DeltaTable

    from orchestration.objects import ObjectInfo, Place

__all__ = ["Contents", "Horizon", "configured", "horizon", "list_contents", "old_log", "unneeded"]

_ENTRY = re.compile(r"_delta_log/(\d{20})\.json")
_CHECKPOINT = re.compile(r"_delta_log/(\d{20})\.checkpoint\.parquet")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How far the store's clock may be from ours.
_MARGIN = timedelta(hours=1)
_AT_ONCE = 16
_INTERVAL = re.compile(r"(?:interval\s+)?(\d+)\s+(second|minute|hour|day|week)s?", re.IGNORECASE)


@dataclass(slots=True)
class Contents:
    """What lies in a table's directory.

    Attributes:
        entries: Version to its log entry.
        checkpoints: Version to its checkpoint, those of one file.
        data: Path to every Parquet file that is neither hidden nor of a table further down.
        pointed_at: Version of the checkpoint that readers are told to begin with; ``None`` where
            they are told nothing.
    """

    entries: dict[int, ObjectInfo] = field(default_factory=dict)
    checkpoints: dict[int, ObjectInfo] = field(default_factory=dict)
    data: dict[str, ObjectInfo] = field(default_factory=dict)
    pointed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far back a table must stay readable.

    Attributes:
        version: The oldest version.
        removed: Files that commits since have taken out.
        complete: False where the log does not reach that far, so nobody knows all of them.
    """

    version: int
    removed: frozenset[str]
    complete: bool = True


def list_contents(place: Place) -> Contents:
    """List a table's directory once.

    Raises:
        PlaceError: It cannot be listed.
    """
    found = Contents()
    others: set[str] = set()
    for item in place.list():
        if entry := _ENTRY.fullmatch(item.path):
            found.entries[int(entry[1])] = item
        elif checkpoint := _CHECKPOINT.fullmatch(item.path):
            found.checkpoints[int(checkpoint[1])] = item
        elif "/_delta_log/" in item.path:
            others.add(item.path.partition("_delta_log/")[0])
        elif not _hidden(item.path) and ".parquet" in item.path.rpartition("/")[2]:
            found.data[item.path] = item
    if others:
        inside = tuple(others)
        found.data = {p: item for p, item in found.data.items() if not p.startswith(inside)}
    hint = place.get("_delta_log/_last_checkpoint")
    if hint is not None:
        found.pointed_at = int(json.loads(hint)["version"])
    return found


def _hidden(path: str) -> bool:
    """Whether a file is none of the table's data; a directory may be of a column like ``_day``."""
    *directories, name = path.split("/")
    return name.startswith(("_", ".")) or any(
        part.startswith(".") or (part.startswith("_") and "=" not in part) for part in directories
    )


def configured(handle: DeltaTable, key: str, default: timedelta) -> timedelta:
    """A length of time among the table's properties, or the default where there is none."""
    text = handle.metadata().configuration.get(key)
    match = _INTERVAL.fullmatch(text.strip()) if text else None
    if match is None:
        return default
    return timedelta(**{f"{match[2].lower()}s": int(match[1])})


def horizon(
    place: Place,
    contents: Contents,
    head: int,
    cutoff: datetime,
    is_floor: Callable[[dict[str, Any]], bool] | None = None,
) -> Horizon:
    """Find the oldest version that must stay readable, and what was taken out since.

    Args:
        place: The table's root.
        contents: What lies there.
        head: The newest version.
        cutoff: What was current then, or later, must stay.
        is_floor: Whether a commit, by its ``commitInfo``, is one to rewind to: it must stay too,
            however old it is. ``None``: there is none.
    """
    removed: set[str] = set()
    since = _us(cutoff - _MARGIN)
    reached, recent = is_floor is None, True
    first = head + 1
    while first and first - 1 in contents.entries:
        first -= 1
    for version, data in _entries(place, range(head, first - 1, -1)):
        recent = contents.entries[version].modified_us >= since
        if reached and not recent:
            return Horizon(version, frozenset(removed))
        if data is None:  # somebody cleans the log just now
            return Horizon(version, frozenset(removed), complete=False)
        info, paths = _taken_out(data)
        if not reached and is_floor is not None and is_floor(info):
            reached = True
            if not recent:
                return Horizon(version, frozenset(removed))
        removed |= paths
    # All that is left of the log; what was before it, nobody can read any more.
    return Horizon(first, frozenset(removed), complete=first == 0 or not recent)


def _entries(place: Place, versions: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
    """Log entries, some at once where that saves time."""
    if place.is_local:
        for version in versions:
            yield version, place.get(_name(version))
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(versions), 4 * _AT_ONCE):
            part = versions[start : start + 4 * _AT_ONCE]
            yield from zip(part, pool.map(place.get, map(_name, part)), strict=True)


def _name(version: int) -> str:
    return f"_delta_log/{version:020d}.json"


def _taken_out(data: bytes) -> tuple[dict[str, Any], set[str]]:
    """A commit's ``commitInfo``, and what it took out, by every name that may have on the disk."""
    info: dict[str, Any] = {}
    paths: set[str] = set()
    for line in data.splitlines():
        if b'"remove"' not in line and b'"commitInfo"' not in line:
            continue
        action = json.loads(line)
        if "remove" in action:
            path = str(action["remove"]["path"])
            paths.update((path, unquote(path)))
        elif "commitInfo" in action:
            info = action["commitInfo"]
    return info, paths


def unneeded(
    contents: Contents,
    active: set[str],
    kept: Horizon,
    cutoff: datetime,
    protected: Callable[[str], bool],
) -> list[ObjectInfo] | None:
    """Data files that no version within the horizon is made of, written before the cutoff.

    Args:
        contents: What lies in the table's directory, listed before ``active`` was read or after.
        active: Files of the newest version.
        kept: The horizon.
        cutoff: Younger files may be of a commit that is still to come.
        protected: Whether a file of that name must stay whatever else is known.

    Returns:
        ``None`` where files that the log names do not lie where it says: then nothing is certain.
    """
    if not active <= contents.data.keys():
        return None
    before = _us(cutoff - _MARGIN)
    return [
        item
        for path, item in contents.data.items()
        if path not in active
        and path not in kept.removed
        and item.modified_us < before
        and not protected(path.rpartition("/")[2])
    ]


def old_log(contents: Contents, kept: Horizon, cutoff: datetime) -> tuple[int, list[ObjectInfo]]:
    """Log entries and checkpoints that no version within the horizon needs.

    Args:
        contents: What lies in the table's directory.
        kept: The horizon.
        cutoff: Younger entries stay in any case.

    Returns:
        The checkpoint that what stays begins with, and what may go; -1 and nothing where there is
        no such checkpoint.
    """
    before = _us(cutoff - _MARGIN)
    young = [version for version, item in contents.entries.items() if item.modified_us >= before]
    oldest = min([kept.version, *(version - 1 for version in young)])
    if contents.pointed_at is not None:  # an older one, where a crash came before the newer hint
        oldest = min(oldest, contents.pointed_at)
    first = max((version for version in contents.checkpoints if version <= oldest), default=-1)
    gone = [
        item
        for found in (contents.entries, contents.checkpoints)
        for version, item in found.items()
        if version < first and item.modified_us < before
    ]
    return first, gone


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
