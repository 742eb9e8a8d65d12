"""A new life from nothing: tables emptied, offsets and ledger forgotten, in that order of safety.

1. The cursor store gets a new generation with the status ``resetting``.
2. Each table is emptied in one commit that also records ``txn(old generation, 2**62)``: from
   there no runner of the old generation, however late it wakes, can commit a batch.
3. The tables name their new owner, and the generation becomes ``active``.

A crash in between leaves the status ``resetting``; the next run or reset goes on at 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.errors import SinkOwned
from orchestration.redaction import redact
from orchestration.runtime.history import NewHistory
from orchestration.runtime.preparation import infer_schema, remember_listing
from orchestration.sinks.commit import BATCH_NEVER, overwrite

if TYPE_CHECKING:
    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import Generation
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import SinkTable

__all__ = ["finish_reset", "reset"]


def reset(session: Session, run_id: str) -> Generation:
    """Start a query anew: the next run reprocesses everything from the beginning.

    Args:
        session: The opened query.
        run_id: Named as the lease's holder.

    Returns:
        The new generation.

    Raises:
        QueryAlreadyRunning: It runs now.
        SinkOwned: A table belongs to somebody else; nothing was changed.
    """
    with session.store.leases.acquire(session.query.name, run_id) as lease:
        generation = session.store.queries.get(session.query.name)
        _check_tables(session)
        # An inferred schema is inferred again: that is what starting anew means.
        inferred = None
        if not session.bind(None):
            lasting = _lasting(session, generation, session.source.name)
            inferred, _ = infer_schema(session, NewHistory(lasting))
            session.bind(inferred)
        print_ = session.fingerprint() if session.bound else {}
        if generation is None:
            session.store.queries.register(session.query.name, print_)
        generation = session.store.queries.begin_reset(lease, print_, input_schema=inferred)
        session.attach(generation)
        # A store lost from here on is rebuilt as this generation, not as the one that is closed.
        session.log.write_generation()
        return finish_reset(session, lease, generation)


def finish_reset(session: Session, lease: Lease, generation: Generation) -> Generation:
    """Carry a reset from ``resetting`` to ``active``; safe to repeat."""
    previous = session.store.queries.previous(generation)
    for table in session.all_tables:
        _empty(table, lease, generation, previous)
    for name in session.sources:
        lasting = _lasting(session, previous, name)
        if lasting:
            remember_listing(session, lease, name, lasting)
    generation = session.store.queries.finish_reset(lease, generation)
    session.attach(generation)
    session.log.write_generation()
    return generation


def _lasting(session: Session, generation: Generation | None, source: str) -> dict[str, Any]:
    """What a source keeps over a reset: else files of before would stand for new ones."""
    if generation is None:
        return {}
    listing = session.store.ledger.listing(generation, source)
    return session.sources[source].lasting(listing)


def _check_tables(session: Session) -> None:
    for table in session.all_tables:
        handle = table.open()
        if handle is None:
            continue
        owner = handle.metadata().configuration.get("headwater.query")
        if owner != session.query.name:
            raise SinkOwned(
                f"{redact(table.uri)} belongs to {owner or 'somebody who is not Headwater'}; a "
                "reset would delete rows that are not this query's",
                remedy="give the query a table of its own",
            )


def _empty(
    table: SinkTable, lease: Lease, generation: Generation, previous: Generation | None
) -> None:
    handle = table.open()
    if handle is None:
        return
    closed = {previous.app_id} if previous else set()
    # A lost cursor store knows nothing of the generation that filled the table; the table does.
    held = handle.metadata().configuration.get("headwater.generation")
    if held and held != generation.app_id:
        closed.add(held)
    overwrite(
        table,
        (),
        transactions=dict.fromkeys(sorted(closed), BATCH_NEVER),
        details={"reset_to": generation.app_id, "query": generation.query_id},
        still_ours=lease.check,
    )
    table.take_over()
