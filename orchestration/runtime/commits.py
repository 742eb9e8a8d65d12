"""Step 6 of the protocol: a sealed batch reaches its tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orchestration.errors import SinkConflict
from orchestration.redaction import redact
from orchestration.runtime.cleaning import clean_orphans
from orchestration.runtime.upsert import attempt_of, rebuild
from orchestration.sinks.commit import BatchCommit, commit_batch
from orchestration.sinks.outdated import UpsertOutdated

if TYPE_CHECKING:
    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import Plan, Seal
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import Role

__all__ = ["commit_tables", "last_version"]

_ROLES: tuple[Role, ...] = ("quarantine", "late", "sink")
_REBUILDS = 12  # of one upsert, when others write to its table all the time
_log = logging.getLogger(__name__)


def commit_tables(
    session: Session, lease: Lease, plan: Plan, seal: Seal, reach: Reach
) -> tuple[Seal, dict[str, int]]:
    """Commit a batch to every table that it changes, in the order quarantine, late, sink.

    Args:
        session: The opened query.
        lease: Its lease.
        plan: The batch.
        seal: Its result.
        reach: Crash points.

    Returns:
        The seal that was committed, which is another one where an upsert had to be made anew,
        and the versions it made, by role.

    Raises:
        CursorStoreBehindSink, SinkReplaced, SinkOwned, SinkSchemaChanged: A table is not what
            it was.
        SinkConflict, SinkUnavailable: The next run commits it.
    """
    versions: dict[str, int] = {}
    for role in _ROLES:
        if seal.tables.get(role):
            seal, versions[role] = _commit(session, lease, plan, seal, role)
        reach(f"after_{role}_commit")
    return seal, versions


def last_version(session: Session, batch_id: int) -> int | None:
    """The sink's version as of the batch before, for a batch that changes nothing in it."""
    if batch_id == 0:
        return None
    before = session.store.batches.get(session.generation, batch_id - 1, with_files=False)
    version = before and before.progress.get("sink", {}).get("version")
    return version if isinstance(version, int) else None


def _commit(session: Session, lease: Lease, plan: Plan, seal: Seal, role: Role) -> tuple[Seal, int]:
    for _ in range(_REBUILDS):
        try:
            return seal, _commit_once(session, lease, plan, seal, role)
        except UpsertOutdated as outdated:
            _log.info("batch %d: %s; its upsert is made anew", plan.batch_id, outdated)
            seal = _rebuilt(session, lease, plan, seal)
    raise SinkConflict(
        f"other writers changed {redact(session.sink_table.uri)} each of the {_REBUILDS} times "
        f"that batch {plan.batch_id} was to be committed",
        remedy="the batch is sealed and will be committed by the next run; let the other writer "
        "finish first",
    )


def _rebuilt(session: Session, lease: Lease, plan: Plan, seal: Seal) -> Seal:
    """Decide the batch anew: the same rows, in the place of what the table holds now."""
    new = rebuild(session, plan, seal)
    lease.check()
    session.store.batches.seal(lease, session.generation, plan.batch_id, new, replaces=seal.attempt)
    session.log.write_seal(plan.batch_id, new)
    clean_orphans(session, lease, plan.batch_id, new)
    return new


def _commit_once(session: Session, lease: Lease, plan: Plan, seal: Seal, role: Role) -> int:
    generation = session.generation
    table = session.table_of(role)
    known = generation.table_ids.get(role)
    if known is None:  # the tables beside the sink come with their first row
        known = table.ensure(None)
        generation = session.store.queries.update(
            lease, generation, table_ids={**generation.table_ids, role: known}
        )
        session.adopt(generation)
    changes = seal.tables[role]
    batch = BatchCommit(
        batch_id=plan.batch_id,
        attempt=attempt_of(seal, role),
        plan_hash=seal.plan_hash,
        adds=changes.adds,
        details={
            "query": plan.query_id,
            "run_id": plan.run_id,
            "offsets": {
                part.source: {"start": part.start, "end": part.end} for part in plan.slices
            },
        },
        removes=changes.removes,
        overwrite=changes.overwrite,
        base_version=changes.base_version,
        removed_at=plan.timestamp,
    )
    return commit_batch(table, known, batch, still_ours=lease.check).version
