"""A batch that failed too often: try it again, or set its input aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.errors import BatchBlocked, UnknownQuery

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord
    from orchestration.runtime.session import Session

__all__ = ["blocked", "retry", "skip_reason", "skip_to_quarantine"]


def retry(session: Session) -> BatchRecord:
    """Unblock the batch in hand; the next run tries it again, the same range.

    Raises:
        BatchBlocked: There is no batch to retry; names where the query stands.
    """
    return _change(session, skip=False)


def skip_to_quarantine(session: Session) -> BatchRecord:
    """Have the next run set the batch's files aside, in quarantine, and go on after them.

    Nothing of them is read. The quarantine gets one row per file with the failure as reason.

    Raises:
        BatchBlocked: There is no unfinished batch to skip.
    """
    return _change(session, skip=True)


def blocked(record: BatchRecord) -> BatchBlocked:
    """The error for a batch that failed too often."""
    plan, name = record.plan, record.plan.query_id
    files = [item.path for part in plan.slices for item in part.files]
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    return BatchBlocked(
        f"batch {plan.batch_id} of query {name!r} failed {record.failures} times the same "
        f"way and is blocked; it reads {shown or [part.end for part in plan.slices]}. "
        f"The failure: {record.last_error}",
        remedy=f"mend the cause and 'headwater retry {name}', or "
        f"'headwater skip {name} --to-quarantine' to set these files aside and go on",
    )


def skip_reason(record: BatchRecord) -> str | None:
    """Why a batch's input goes to quarantine whole; ``None`` where it does not."""
    if not record.skip:
        return None
    failure = f"; it had failed: {record.last_error}" if record.last_error else ""
    return f"batch {record.plan.batch_id} was skipped by hand{failure}"


def _change(session: Session, *, skip: bool) -> BatchRecord:
    name = session.query.name
    generation = session.store.queries.get(name)
    if generation is None:
        raise UnknownQuery(
            f"query {name!r} has not run yet", remedy=f"'headwater run {name}' runs it"
        )
    with session.store.leases.acquire(name, "skip" if skip else "retry") as lease:
        last = session.store.batches.last(generation)
        # Failures that may pass, and batches that kill their process, are not counted: whatever
        # is planned and not decided may be retried or skipped.
        if last is None or last.committed_at is not None:
            at = f"batch {last.plan.batch_id} is committed" if last else "no batch was planned yet"
            raise BatchBlocked(
                f"query {name!r} has no failed batch: {at}",
                remedy=f"'headwater run {name}' goes on",
            )
        if last.seal is not None:
            raise BatchBlocked(
                f"batch {last.plan.batch_id} of query {name!r} is sealed: its result is decided",
                remedy=f"'headwater run {name}' commits it",
            )
        if skip:
            session.store.batches.mark_skip(lease, generation, last.plan.batch_id)
        else:
            session.store.batches.unblock(lease, generation, last.plan.batch_id)
    return last
