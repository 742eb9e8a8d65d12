"""Files of dead attempts, which no commit names, and state that nobody needs any more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import Seal
    from orchestration.runtime.session import Session

__all__ = ["KEPT_VERSIONS", "clean_orphans", "clean_state"]

#: Versions of the state that stay, to rewind to.
KEPT_VERSIONS = 20

_VERSION = re.compile(r"state/v(\d{10,})-[^/]*\.json")
# In an object store every look costs: there, once in so many batches.
_EVERY = 10


def clean_orphans(session: Session, lease: Lease, batch_id: int, seal: Seal) -> int:
    """Delete what earlier attempts of a batch left behind, now that one attempt is sealed.

    Only files that carry this batch's number and another attempt's name are touched, and only
    under the lease: a file of the sealed attempt, of another batch, of a generation before a
    reset (older versions of the table are made of them) or of anybody else stays.

    Returns:
        How many were deleted.
    """
    batch = f"part-{batch_id:010d}-"
    mark = f"{batch}{session.generation.token}-"
    deleted = 0
    for role, table in session.tables.items():
        changes = seal.tables.get(role)
        kept = {item.path for item in changes.adds} if changes else set()
        orphans = [
            item.path
            for item in table.place.list()
            if item.path.rpartition("/")[2].startswith(mark)
            and f"{batch}{seal.attempt}" not in item.path
            and item.path not in kept
        ]
        if orphans:
            lease.check()
            table.place.delete(orphans)
            deleted += len(orphans)
    if session.is_plain:
        return deleted
    return deleted + _clean_state_orphans(session, lease, batch_id, seal)


def _clean_state_orphans(session: Session, lease: Lease, batch_id: int, seal: Seal) -> int:
    from orchestration.runtime.stateful import open_state, version_prefix

    files = open_state(session)
    kept = {seal.state} | files.load(seal.state).paths if seal.state else set()
    marks = (
        f"state/part-{batch_id:010d}-{session.generation.token}-",
        f"{version_prefix(batch_id)}{session.generation.token}-",
    )
    orphans = [name for name in files.names() if name.startswith(marks) and name not in kept]
    if not orphans:
        return 0
    lease.check()
    return files.delete(orphans)


def clean_state(session: Session, lease: Lease, batch_id: int) -> int:
    """Delete versions of the state that are older than the last :data:`KEPT_VERSIONS`.

    A file belongs to versions that follow each other, so what the oldest version that stays is
    not made of, no later one is.

    Args:
        session: The opened query.
        lease: Its lease.
        batch_id: The last committed batch.

    Returns:
        How many files were deleted.
    """
    from orchestration.runtime.stateful import open_state

    if batch_id < KEPT_VERSIONS:
        return 0
    if not session.state_place.is_local and batch_id % _EVERY:
        return 0
    files = open_state(session)
    versions = sorted(
        (int(match[1]), name) for name in files.names() if (match := _VERSION.fullmatch(name))
    )
    old = [name for number, name in versions if number <= batch_id - KEPT_VERSIONS]
    staying = [name for number, name in versions if number > batch_id - KEPT_VERSIONS]
    if not old or not staying:
        return 0
    needed = files.load(staying[0]).paths
    gone = {path for name in old for path in files.load(name).paths if path not in needed}
    lease.check()
    # The manifests last: after a crash in between they still name what is to be deleted.
    return files.delete(sorted(gone)) + files.delete(old)
