"""Step 6 of the protocol: one batch becomes one Delta commit, exactly once.

delta-rs records ``txn`` actions and does not enforce them: the same version commits again
without an error. So every attempt opens one handle, looks the transaction up, and commits on
that same handle with ``max_commit_retries=0``; anything that came in between makes it fail
instead of slipping past the check. After any exception the table is opened again and looked at:
a commit that raised may have landed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from orchestration.errors import CursorStoreBehindSink, SinkConflict, SinkUnavailable
from orchestration.redaction import redact
from orchestration.sinks.actions import add_action, remove_action
from orchestration.sinks.outdated import require_current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

    from orchestration.cursors.records import DataFile, JsonDict
    from orchestration.sinks.table import SinkTable

__all__ = [
    "BATCH_NEVER",
    "BatchCommit",
    "Committed",
    "behind_sink",
    "commit_batch",
    "find_batch",
    "last_version_through",
    "overwrite",
]

# Version of the transaction that closes a generation: above every batch id there can be.
BATCH_NEVER = 2**62

_RECENT = 16  # commits: an overwrite of ours is among the newest
_ATTEMPTS = 12  # with up to 2 s between them: a busy table lets one of them through
_BATCH = "headwater.batch_id"
_ATTEMPT = "headwater.attempt"
_PLAN = "headwater.plan_hash"
_APP = "headwater.app_id"


@dataclass(frozen=True, slots=True)
class BatchCommit:
    """What one batch commits to one table.

    Attributes:
        batch_id: The batch.
        attempt: The sealed attempt whose files these are.
        plan_hash: Hash of the plan the seal carries out.
        adds: Files to add, relative to the table's root.
        details: Shown in the table's history: run, offsets from and to.
        removes: Files to take out in the same commit.
        overwrite: Take out every file there is instead, whoever added it.
        base_version: Version of the table that ``adds`` and ``removes`` were computed against;
            ``None`` where they hold against any.
        removed_at: When that is, aware: a vacuum keeps the files for a time from then on.
    """

    batch_id: int
    attempt: str
    plan_hash: str
    adds: tuple[DataFile, ...]
    details: JsonDict
    removes: tuple[DataFile, ...] = ()
    overwrite: bool = False
    base_version: int | None = None
    removed_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.removes and (self.base_version is None or self.removed_at is None):
            raise ValueError("files are removed against a known version, at a known time")


@dataclass(frozen=True, slots=True)
class Committed:
    """Outcome of a commit.

    Attributes:
        version: The table version that holds the batch.
        repeated: True when the batch was there already and nothing was written now.
    """

    version: int
    repeated: bool


class _TryAgain(Exception):
    pass


def commit_batch(
    table: SinkTable, known_id: str | None, batch: BatchCommit, *, still_ours: Callable[[], None]
) -> Committed:
    """Commit a sealed batch to a table, unless it is there already.

    Args:
        table: The table; it must exist.
        known_id: The table id the cursor store remembers.
        batch: What to commit.
        still_ours: Raises :class:`LeaseLost` when the query's lease was taken over.

    Raises:
        CursorStoreBehindSink: The table holds this batch from another plan or attempt, or a
            later one.
        SinkReplaced, SinkOwned, SinkSchemaChanged: The table is not what it was.
        UpsertOutdated: The table changed since ``base_version``, so the upsert must be computed
            anew; nothing was committed.
        SinkConflict: Other writers got in between every time.
        SinkUnavailable: The store does not answer.
    """
    app_id = table.owner.app_id

    def attempt() -> Committed:
        handle = table.open_existing()
        table.check_identity(handle, known_id)
        done = look(handle)
        if done is not None:
            table.sync(done)  # the crash may have come before this
            return Committed(done, repeated=True)
        table.check_schema(handle)
        metadata = {
            _APP: app_id,
            _BATCH: str(batch.batch_id),
            _ATTEMPT: batch.attempt,
            _PLAN: batch.plan_hash,
            **{f"headwater.{key}": _text(value) for key, value in batch.details.items()},
        }
        # Outside the try: a file that does not fit will not fit the next time either.
        actions = _actions(table, batch.adds)
        if batch.removes or batch.overwrite:
            table.check_changeable(handle, whole=batch.overwrite)
        if batch.base_version is not None:
            require_current(table, handle, batch.base_version, batch.removes)
        for item in batch.removes:
            actions.append(remove_action(item, cast("datetime", batch.removed_at)))
        still_ours()
        mode = "overwrite" if batch.overwrite else "append"
        schema = handle.schema()
        try:
            _write(handle, actions, mode, schema, metadata, {app_id: batch.batch_id})
        except Exception as error:
            landed = look(table.open_existing())
            if landed is None:
                raise _TryAgain from error
            table.sync(landed)
            return Committed(landed, repeated=False)
        version = handle.version() + 1  # no retries: ours is the next one or none
        table.sync(version)
        return Committed(version, repeated=False)

    def look(handle: DeltaTable) -> int | None:
        newest = handle.transaction_version(app_id)
        if newest is None or newest < batch.batch_id:
            return None
        found = find_batch(handle, app_id, batch.batch_id) if newest == batch.batch_id else None
        if found and (found[_ATTEMPT], found[_PLAN]) == (batch.attempt, batch.plan_hash):
            return int(found["version"])
        still_ours()  # a runner that was reset away meets the closed generation here
        raise behind_sink(table, batch.batch_id, newest)

    return _persist(table, attempt)


def behind_sink(table: SinkTable, batch_id: int, newest: int) -> CursorStoreBehindSink:
    """The error for a table that holds more than the cursor store knows."""
    query = table.owner.query_id
    held = "was reset" if newest == BATCH_NEVER else f"already holds batch {newest} of it"
    return CursorStoreBehindSink(
        f"the cursor store of query {query!r} is at batch {batch_id}, but {redact(table.uri)} "
        f"{held}: this store is an older copy",
        remedy="nothing was written. Bring back the newer cursor store, or run 'headwater cursors "
        f"rebuild {query}', which reads the missing batches from the state directory",
    )


def find_batch(handle: DeltaTable, app_id: str, batch_id: int) -> dict[str, Any] | None:
    """The commit that holds a batch, from the table's history; ``None`` where it is not there.

    The newest commits are looked at first: it is nearly always among them.
    """
    for limit in (_RECENT, None):
        for entry in handle.history(limit):
            if entry.get(_APP) == app_id and entry.get(_BATCH) == str(batch_id):
                return entry
    return None


def last_version_through(table: SinkTable, app_id: str, batch_id: int) -> int | None:
    """The newest version a generation committed up to and with a batch; ``None`` for none."""
    handle = table.open()
    if handle is None:
        return None
    versions = [
        int(entry["version"])
        for entry in handle.history()
        if entry.get(_APP) == app_id and int(entry.get(_BATCH, batch_id + 1)) <= batch_id
    ]
    return max(versions, default=None)


def overwrite(
    table: SinkTable,
    adds: Iterable[DataFile],
    *,
    transactions: Mapping[str, int],
    details: JsonDict,
    still_ours: Callable[[], None],
) -> int:
    """Replace all rows of a table, and its columns by the declared ones, in one commit.

    Where the partitioning changes too, a commit before it empties the table. A table whose
    columns are not known (they are still to be inferred) keeps its own.

    Args:
        table: The table; it must exist.
        adds: Files that hold the new rows.
        transactions: App ids and versions to record with it. When all of them are recorded
            already, the overwrite is taken to be done.
        details: Shown in the table's history.
        still_ours: Raises :class:`LeaseLost` when the lease was taken over.

    Returns:
        The table version that holds it.
    """
    files = tuple(adds)
    metadata = {f"headwater.{key}": _text(value) for key, value in details.items()}

    def done(handle: DeltaTable) -> bool:
        if not transactions or any(
            handle.transaction_version(app) != version for app, version in transactions.items()
        ):
            return False
        # Two cursor stores may give out the same token; a run's own name is nobody else's.
        run = metadata.get("headwater.run_id")
        return run is None or any(
            entry.get("headwater.run_id") == run for entry in handle.history(_RECENT)
        )

    def attempt() -> Committed:
        handle = table.open_existing()
        if done(handle):
            return Committed(handle.version(), repeated=True)
        actions = _actions(table, files)
        still_ours()
        try:
            handle = _repartitioned(table, handle)
            schema = table.delta_schema() if table.schema.names else handle.schema()
            _write(handle, actions, "overwrite", schema, metadata, transactions)
        except Exception as error:
            again = table.open_existing()
            if not done(again):
                raise _TryAgain from error
            table.sync(again.version())
            return Committed(again.version(), repeated=False)
        version = handle.version() + 1
        table.sync(version)
        return Committed(version, repeated=False)

    return _persist(table, attempt).version


def _actions(table: SinkTable, adds: Iterable[DataFile]) -> list[AddAction | RemoveAction]:
    return [add_action(item, table.schema, table.partition_by) for item in adds]


def _repartitioned(table: SinkTable, handle: DeltaTable) -> DeltaTable:
    """A handle on the table with the declared partitioning, emptied where it had another.

    Only delta-rs's own writer changes the partitioning: ``create_write_transaction`` takes the
    new one and silently keeps the old.
    """
    from deltalake import CommitProperties, write_deltalake

    if not table.schema.names or _partitions(handle) == table.partition_by:
        return handle
    write_deltalake(
        handle,
        table.schema.empty_table(),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=list(table.partition_by),
        commit_properties=CommitProperties(max_commit_retries=0),
    )
    again = table.open_existing()
    table.sync(again.version())
    return again


def _partitions(handle: DeltaTable) -> tuple[str, ...]:
    return tuple(handle.metadata().partition_columns)


def _write(
    handle: DeltaTable,
    actions: list[AddAction | RemoveAction],
    mode: str,
    schema: Any,
    metadata: Mapping[str, str],
    transactions: Mapping[str, int],
) -> None:
    from deltalake import CommitProperties, PostCommitHookProperties, Transaction

    handle.create_write_transaction(
        actions,
        mode=mode,
        schema=schema,
        partition_by=list(_partitions(handle)),
        commit_properties=CommitProperties(
            custom_metadata=dict(metadata),
            max_commit_retries=0,
            # last_updated stays None: a retention setting of the table can never expire it.
            app_transactions=[Transaction(app, number) for app, number in transactions.items()],
        ),
        # Old log entries are cleaned by maintenance, not on the path of a batch.
        post_commithook_properties=PostCommitHookProperties(
            create_checkpoint=True, cleanup_expired_logs=False
        ),
    )


def _persist(table: SinkTable, attempt: Callable[[], Committed]) -> Committed:
    retrying = Retrying(
        retry=retry_if_exception_type(_TryAgain),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.02, max=2.0),
    )
    try:
        return retrying(attempt)
    except RetryError as failure:
        from deltalake.exceptions import CommitFailedError

        last = failure.last_attempt.exception()
        cause = last.__cause__ if last else None
        if isinstance(cause, CommitFailedError):
            raise SinkConflict(
                f"other writers committed to {redact(table.uri)} in each of {_ATTEMPTS} attempts",
                remedy="the batch is sealed and will be committed by the next run; let the other "
                "writer (a compaction?) finish first",
            ) from cause
        raise SinkUnavailable(
            f"{redact(table.uri)} cannot be committed to: {redact(str(cause))}",
            remedy="the batch is sealed and will be committed by the next run",
        ) from cause


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
