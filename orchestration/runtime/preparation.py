"""Before a run touches anything: is this the query, the store and the table it was?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.errors import CursorStoreBehindSink, IncompatibleQuery
from orchestration.runtime.history import StoredHistory
from orchestration.sinks.commit import behind_sink
from orchestration.sources.base import KnowsColumns, Limits, TableInput
from orchestration.streams.fingerprint import compare
from orchestration.streams.schema import schema_to_json

if TYPE_CHECKING:
    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import Generation
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import SinkTable
    from orchestration.sources.base import Backlog, SourceHistory

__all__ = ["INFER_SAMPLE", "infer_schema", "prepare", "remember_listing"]

#: Files and bytes looked at to infer a schema: enough to see optional fields, quick to read.
INFER_SAMPLE = Limits(max_files=20, max_bytes=64 * 1024 * 1024)


def prepare(session: Session, lease: Lease) -> bool:
    """Bind the session to the generation in force and make sure its tables are ours.

    Args:
        session: The opened query.
        lease: Its lease, held.

    Returns:
        False when the schema is to be inferred and there is no file to infer it from.

    Raises:
        IncompatibleQuery: The declaration changed in a way its history cannot follow.
        CursorStoreBehindSink, CursorStoreLost: The cursor store is an older copy, or another.
        SinkReplaced, SinkOwned, SinkSchemaChanged: The table is not what it was.
    """
    generation = session.store.queries.get(session.query.name)
    inferred = None
    if not session.bind(generation.input_schema if generation else None):
        if generation is None:
            _check_unknown(session)
            # Registered before the schema is known: what the source remembers of its first look
            # has to be kept, or the next look would be the first again.
            generation = session.store.queries.register(session.query.name, {})
        session.attach(generation)
        history = StoredHistory(session.store, generation, session.source.name)
        inferred, backlog = infer_schema(session, history)
        if backlog.must_record:
            remember_listing(session, lease, session.source.name, backlog.listing)
        if inferred is None or not session.bind(inferred):
            return False
    print_ = session.fingerprint()
    if generation is None:
        # Looked at before anything is recorded: a lost store must not become a fresh start.
        _check_unknown(session)
        generation = session.store.queries.register(
            session.query.name, print_, input_schema=inferred
        )
    session.attach(generation)
    if generation.status == "resetting":
        from orchestration.runtime.reset import finish_reset

        generation = finish_reset(session, lease, generation)
    generation = _follow(session, lease, generation, print_, inferred)
    session.attach(generation)
    session.log.write_generation()
    _check_behind(session, generation)
    ids = {"sink": session.sink_table.ensure(generation.table_ids.get("sink"))}
    if ids["sink"] != generation.table_ids.get("sink"):
        generation = session.store.queries.update(
            lease, generation, table_ids={**generation.table_ids, **ids}
        )
        session.attach(generation)
    return True


def _check_unknown(session: Session) -> None:
    """Refuse to start afresh over a table that already has an owner."""
    for table in session.tables.values():
        handle = table.open()
        if handle is not None:
            table.check_identity(handle, None)


def infer_schema(session: Session, history: SourceHistory) -> tuple[dict[str, str] | None, Backlog]:
    """Columns and types of a sample of what the only source has, and what that is.

    Args:
        session: The opened query.
        history: What the source is told of the past.

    Returns:
        ``None`` for the schema where there is nothing to infer it from.
    """
    source = session.source
    backlog = source.poll(history, clock=session.clock, settings=session.settings)
    if isinstance(source, KnowsColumns):
        known = source.found_schema(backlog)
        return None if known is None else schema_to_json(known), backlog
    if backlog.empty:
        return None, backlog
    part, _ = source.take(backlog, INFER_SAMPLE, settings=session.settings)
    sample = source.open(part, schema=None, settings=session.settings)
    if isinstance(sample, TableInput):
        return schema_to_json(sample.table.schema), backlog
    found = session.engine.infer(
        sample, max_files=INFER_SAMPLE.max_files or 1, max_bytes=INFER_SAMPLE.max_bytes or 1
    )
    return schema_to_json(found), backlog


def remember_listing(session: Session, lease: Lease, source: str, listing: dict[str, Any]) -> None:
    """Keep what a source wants remembered of its listing, without a batch."""
    lasting = session.sources[source].lasting(listing)
    if lasting:
        session.log.write_listing(source, lasting)
    session.store.ledger.save_listing(lease, session.generation, source, listing)


def _follow(
    session: Session,
    lease: Lease,
    generation: Generation,
    now: dict[str, object],
    inferred: dict[str, str] | None,
) -> Generation:
    """Accept what may change between runs, refuse what may not (semantics §7)."""
    refused, accepted = compare(
        generation.fingerprint or now,  # none yet: it waited for a schema to be inferred
        now,
        add_columns=session.query.sink.schema_evolution == "add_columns",
    )
    if refused:
        name = session.query.name
        raise IncompatibleQuery(
            f"query {name!r} is not the one that ran before: " + "; ".join(refused),
            remedy=f"change it back; or 'headwater reset {name}' to reprocess everything with the "
            "new declaration; or give it a new name",
        )
    if accepted or not generation.fingerprint or (inferred and generation.input_schema is None):
        return session.store.queries.update(
            lease,
            generation,
            fingerprint={**now, "changes": _changes(session, generation, accepted)},
            input_schema=inferred,
        )
    return generation


def _changes(
    session: Session, generation: Generation, accepted: tuple[str, ...]
) -> list[dict[str, object]]:
    """What changed in this generation, and when: a full reprocess cannot equal what came before."""
    known = list(generation.fingerprint.get("changes", []))
    last = session.store.batches.last(generation, with_files=False)
    if not accepted or last is None:
        return known
    before = generation.fingerprint.get("output_schema", {})
    added = [name for name in session.output_schema.names if name not in before]
    change = {"after_batch": last.plan.batch_id, "what": list(accepted), "added_columns": added}
    return [*known, change]


def _check_behind(session: Session, generation: Generation) -> None:
    """Notice a cursor store restored from an older copy before it plans a batch again."""
    last = session.store.batches.last(generation, with_files=False)
    newest = last.plan.batch_id if last else -1
    for table in session.tables.values():
        held = _held(table, generation)
        if held is not None and held > newest:
            raise behind_sink(table, newest, held)
    if session.log.has_plan(newest + 1):
        name = session.query.name
        raise CursorStoreBehindSink(
            f"the cursor store of query {name!r} is at batch {newest}, but the state directory "
            f"holds a plan of batch {newest + 1}: this store is an older copy",
            remedy="nothing was written. Bring back the newer cursor store, or run 'headwater "
            f"cursors rebuild {name}', which reads the missing batches from the state directory",
        )
    if last is not None and last.seal is None and session.log.has_seal(newest):
        # The database is written first. Run again, the batch would get another seal, which no
        # table that holds it already would accept.
        name = session.query.name
        raise CursorStoreBehindSink(
            f"batch {newest} of query {name!r} is unfinished in the cursor store, but the state "
            "directory holds its result: this store is an older copy",
            remedy="nothing was written. Bring back the newer cursor store, or run 'headwater "
            f"cursors rebuild {name}', which reads the result from the state directory",
        )


def _held(table: SinkTable, generation: Generation) -> int | None:
    handle = table.open()
    return None if handle is None else handle.transaction_version(generation.app_id)
