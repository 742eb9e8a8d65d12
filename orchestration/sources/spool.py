"""A directory for fetched files that cleans up after processes that died."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["clean_spool", "open_spool"]

_PREFIX = "fetch-"


@contextmanager
def open_spool(parent: Path) -> Iterator[Path]:
    """A directory of our own under ``parent``, gone at the end; leftovers are cleaned first.

    Its owner holds a lock on the file beside it. The system lets go of the lock when the owner
    dies, however it dies, and whoever comes next may delete the directory.
    """
    parent.mkdir(parents=True, exist_ok=True)
    clean_spool(parent)
    lock, descriptor = _take_lock(parent)
    directory = lock.with_suffix("")
    try:
        directory.mkdir()
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def clean_spool(parent: Path) -> None:
    """Delete what processes that died have left under ``parent``."""
    for lock in parent.glob(f"{_PREFIX}*.lock"):
        with suppress(OSError):  # held by its owner, or cleaned by somebody else just now
            descriptor = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _take_lock(parent: Path) -> tuple[Path, int]:
    while True:
        lock = parent / f"{_PREFIX}{uuid.uuid4().hex}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A cleaner may have come between the two calls and taken the file away.
        with suppress(FileNotFoundError):
            if lock.stat().st_ino == os.fstat(descriptor).st_ino:
                return lock, descriptor
        os.close(descriptor)
