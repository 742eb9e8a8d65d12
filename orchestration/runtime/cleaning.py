"""Files of dead attempts, which no commit names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import Seal
    from orchestration.runtime.session import Session

__all__ = ["clean_orphans"]


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
    for role, table in (("sink", session.sink_table), ("quarantine", session.quarantine_table)):
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
    return deleted
