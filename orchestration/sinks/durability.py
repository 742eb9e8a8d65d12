"""Local files that must outlive a power cut.

delta-rs never calls fsync: its commits survive the death of the process, not of the machine.
Object stores acknowledge only what is durable, so nothing is done there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["sync_commit", "sync_files"]


def sync_files(root: Path, paths: Iterable[str]) -> None:
    """Flush the files ``paths`` under ``root``, and every directory that names them."""
    directories: set[Path] = set()
    for path in paths:
        file = root / path
        _sync(file)
        parent = file.parent
        while parent not in directories:
            directories.add(parent)
            if parent in (root, root.parent):
                break
            parent = parent.parent
    for directory in directories:
        _sync(directory)


def sync_commit(root: Path, version: int) -> None:
    """Flush the log entry of one table version, and the log's directory."""
    log = root / "_delta_log"
    entry = log / f"{version:020d}.json"
    if entry.exists():  # a checkpoint may have cleaned it up already
        _sync(entry)
    _sync(log)
    if version == 0:
        _sync(root)
        _sync(root.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
