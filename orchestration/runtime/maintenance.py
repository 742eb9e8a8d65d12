"""Tables kept small and quick: files packed, checkpoints, an old log and old files deleted.

Under the query's lease, so never beside a batch; the full-reprocess twin's table under the twin's.
Nothing that a reader of the last days, or a rewind, needs is deleted. Killed at any point, the
tables hold the same rows as before, and the next maintenance goes on.
"""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestration.errors import BatchUnfinished, ConfigError, QueryAlreadyRunning
from orchestration.runtime.maintained import Maintenance, TableMaintenance
from orchestration.runtime.table_care import Care
from orchestration.runtime.twin import twin_name
from orchestration.sinks.commit import behind_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.cursors.records import BatchRecord, Generation
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import Role

__all__ = ["RETENTION", "SHORTEST_RETENTION", "maintain"]

#: What was current in this time stays readable, unless another time is asked for.
RETENTION = timedelta(days=7)
#: A long reader, a verification or a commit of another writer must have ended within this time.
SHORTEST_RETENTION = timedelta(days=1)

_ROLES: tuple[Role, ...] = ("sink", "quarantine", "late")


def maintain(
    session: Session,
    *,
    retention: timedelta = RETENTION,
    dry_run: bool = False,
    reach: Reach | None = None,
) -> Maintenance:
    """Pack small files of a query's tables, and delete what nobody needs any more.

    The declaration need not fit the tables: they are taken as they are, and no source is read.

    Args:
        session: The opened query, not bound.
        retention: Versions that were current in this time stay readable, file by file; so do
            those of the last batches, which a rewind may go back to. A table's own
            ``delta.deletedFileRetentionDuration`` counts where it is longer.
        dry_run: Only say what would be done; then no lease is taken.
        reach: Crash points: ``after_pack_write``, ``after_pack_commit``, ``after_checkpoint``,
            ``after_vacuum``.

    Raises:
        ConfigError: The retention is too short to be safe.
        QueryAlreadyRunning: A batch runs.
        BatchUnfinished: A crash left a batch or a reset half-way: the next run finishes it.
        CursorStoreBehindSink, SinkReplaced, SinkOwned: A table is not what it was.
        SinkConflict: Another writer rewrote what was packed; the table is as that one left it.
        SinkUnavailable: A table's store does not answer.
    """
    if retention < SHORTEST_RETENTION:
        raise ConfigError(
            f"a retention of {retention} is not safe: a reader, a verification or another writer "
            f"may still need files of the last {SHORTEST_RETENTION.days * 24} hours",
            remedy=f"take {SHORTEST_RETENTION.days} day or more; the default is "
            f"{RETENTION.days} days",
        )
    name, started = session.query.name, session.clock.monotonic()
    run_id = f"maintain-{uuid.uuid4()}"
    leases = session.store.leases
    reach = reach or (lambda _: None)
    held = nullcontext(None) if dry_run else leases.acquire(name, run_id)
    with held as lease:
        generation = session.store.queries.get(name)
        if generation is None:
            return Maintenance(name, (), retention, dry_run, 0.0, ("it has never run",))
        last = _settled(session, generation)
        session.attach(generation)
        care = Care(session, lease, last, retention=retention, dry_run=dry_run, reach=reach)
        done = list(_tables(session, generation, last, care))
    notes: tuple[str, ...] = ()
    if session.twin_table.open() is not None:
        try:
            twin_held = nullcontext(None) if dry_run else leases.acquire(twin_name(name), run_id)
            with twin_held as lease:
                care = Care(session, lease, None, retention=retention, dry_run=dry_run, reach=reach)
                done.append(care.table("twin", None))
        except QueryAlreadyRunning:
            notes = (f"{twin_name(name)} is being reprocessed: its table was left as it is",)
    seconds = round(session.clock.monotonic() - started, 6)
    return Maintenance(name, tuple(done), retention, dry_run, seconds, notes)


def _settled(session: Session, generation: Generation) -> BatchRecord | None:
    """The last batch, which must not be decided and yet uncommitted."""
    name = session.query.name
    if generation.status == "resetting":
        raise BatchUnfinished(
            f"a reset of query {name!r} was interrupted",
            remedy=f"'headwater run {name}' finishes it; then maintain the tables again",
        )
    last = session.store.batches.last(generation, with_files=False)
    if last is not None and last.sealed_at is not None and last.committed_at is None:
        raise BatchUnfinished(
            f"batch {last.plan.batch_id} of query {name!r} is sealed and not committed: its files "
            "are in no table yet",
            remedy=f"nothing was changed. 'headwater run {name}' finishes it; then maintain the "
            "tables again",
        )
    return last


def _tables(
    session: Session, generation: Generation, last: BatchRecord | None, care: Care
) -> Iterator[TableMaintenance]:
    newest = last.plan.batch_id if last else -1
    for role in _ROLES:
        table = session.table_of(role)
        known = generation.table_ids.get(role)
        handle = table.open_existing() if known is not None else table.open()
        if handle is None:
            continue
        held = handle.transaction_version(generation.app_id)
        if held is not None and held > newest:
            raise behind_sink(table, newest, held)
        yield care.table(role, known)
