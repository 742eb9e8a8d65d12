"""Local files that must outlive a power cut.

delta-rs never calls fsync: its commits survive the death of the process, not of the machine.
Object stores acknowledge only what is durable, so nothing is done there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """Flush the log entry of one table version, its checkpoint, and the log's directory.

    A checkpoint that a power cut tore would hide the sound entries before it: readers begin
    with the one that ``_last_checkpoint`` names.
    """
    log = root / "_delta_log"
    names = [f"{version:020d}.json"]  # gone already where a clean-up came in between
    if (log / f"{version:020d}.checkpoint.parquet").exists():
        names += [f"{version:020d}.checkpoint.parquet", "_last_checkpoint"]
    for name in names:
        if (log / name).exists():
            _sync(log / name)
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
