"""Bring a lost or outdated cursor store up to what the log files know.

What the files cannot tell is whether the last sealed batch reached its tables. It is entered as
sealed and not committed; the next run finishes it, and finds in the tables what is there already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration.cursors.logfiles import BatchLog, LogEntry
from orchestration.errors import CursorStoreError, UnknownQuery

if TYPE_CHECKING:
    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import Generation
    from orchestration.cursors.store import CursorStore
    from orchestration.objects import Place

__all__ = ["RebuildReport", "rebuild"]


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild did.

    Attributes:
        query_id: The query.
        generation: The one that is current now.
        generations: How many there are.
        batches: Batches that were entered, or completed.
        files: Input files that the current generation's ledger has now.
        unfinished: The batch that the next run finishes; ``None`` when there is none.
        ignored: Files left out: torn by a crash, or of a generation that never had a batch.
    """

    query_id: str
    generation: Generation
    generations: int
    batches: int
    files: int
    unfinished: int | None
    ignored: tuple[str, ...]


def rebuild(
    store: CursorStore, place: Place, lease: Lease, *, app_id: str | None = None
) -> RebuildReport:
    """Enter what the log files know and the store does not.

    Doing it again, after a crash or for nothing, changes nothing more.

    Args:
        store: The store, empty or behind.
        place: The query's directory of state, ``<state>/<query>``.
        lease: The query's lease.
        app_id: The generation that owns the sink, where it is known: it decides between two of
            the same number.

    Raises:
        UnknownQuery: There are no log files.
        CursorStoreError: The files contradict themselves or the store, or some are damaged.
        LeaseLost: The lease is not ours (any more); what was entered stays and is right.
    """
    found, torn = BatchLog.find(place)
    logs, ignored = _choose(
        [log for log in found if log.generation.query_id == lease.query_id], app_id
    )
    if not logs:
        raise UnknownQuery(
            f"There are no log files of {lease.query_id!r} below {place!r}",
            remedy="Check HEADWATER_STATE and the name of the query.",
        )
    ignored += torn
    entered = 0
    for log in logs:
        ids = log.batch_ids()
        current = log is logs[-1]
        status = log.generation.status if current and not ids else "active"
        store.queries.adopt(replace(log.generation, status=status if current else "retired"))
        for expected, entry in enumerate(log.read_all()):
            last = entry.batch_id == ids[-1]
            if entry.torn and last and entry.plan is None and entry.seal is None:
                # A crash while the plan was written: nothing was read for it yet.
                for name in entry.torn:
                    log.discard(name)
                ignored += entry.torn
                continue
            entered += _enter(store, lease, place, entry, expected, last=last)
    generation = store.queries.get(lease.query_id) or logs[-1].generation
    batch = store.batches.last(generation, with_files=False)
    sources = () if batch is None else tuple(part.source for part in batch.plan.slices)
    return RebuildReport(
        query_id=lease.query_id,
        generation=generation,
        generations=len(logs),
        batches=entered,
        files=sum(store.ledger.count(generation, source) for source in sources),
        unfinished=None if batch is None or batch.committed_at else batch.plan.batch_id,
        ignored=ignored,
    )


def _enter(
    store: CursorStore, lease: Lease, place: Place, entry: LogEntry, expected: int, *, last: bool
) -> bool:
    problem = ""
    if entry.batch_id != expected:
        problem = f"batch {expected} has no files, and batch {entry.batch_id} has"
    elif entry.torn:
        problem = f"{', '.join(entry.torn)} cannot be read"
    elif entry.plan is None:
        problem = f"batch {entry.batch_id} has a seal and no plan"
    elif entry.seal is not None and entry.seal.plan_hash != entry.plan.hash:
        problem = f"the seal of batch {entry.batch_id} belongs to another plan"
    if problem or entry.plan is None:
        raise CursorStoreError(
            f"The log files of {lease.query_id!r} below {place!r} are damaged: {problem}",
            remedy=(
                "Bring the named files back from a backup and rebuild again, or start the query "
                f"anew: headwater reset {lease.query_id}"
            ),
        )
    # Its successor would not have been planned before it was committed.
    return store.batches.restore(
        lease, entry.plan, entry.seal, sealed_at=entry.sealed_at, committed=not last
    )


def _choose(logs: list[BatchLog], app_id: str | None) -> tuple[list[BatchLog], tuple[str, ...]]:
    """One log per generation number, and the names of those left out."""
    chosen: dict[int, BatchLog] = {}
    ignored: list[str] = []
    for log in logs:  # by number, then by age
        other = chosen.get(log.generation.number)
        if other is None:
            chosen[log.generation.number] = log
            continue
        pair = [other, log]
        preferred = [one for one in pair if one.generation.app_id == app_id] or [
            one for one in pair if one.batch_ids()
        ]
        if len(preferred) > 1:
            raise CursorStoreError(
                f"There are two generations {log.generation.number} of {log.generation.query_id!r} "
                f"with batches: {other.directory} and {log.directory}",
                remedy=(
                    "Move the directory away that the sink table does not name as its owner, "
                    "and rebuild again."
                ),
            )
        # Where neither ever had a batch, the younger one: the store wrote it last.
        winner = preferred[0] if preferred else log
        chosen[log.generation.number] = winner
        ignored.append((log if winner is other else other).directory)
    return [chosen[number] for number in sorted(chosen)], tuple(ignored)
