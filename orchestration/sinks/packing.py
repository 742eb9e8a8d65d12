"""Which small files of a table become one, and the commit that puts it in their place.

The commit says ``dataChange: false``: the same rows lie elsewhere. A stream that follows the table
reads nothing of it, and an upsert that was computed before it is made anew. It cannot double or
lose a row, whatever else writes to the table: it is made on a handle in which every file that it
takes out is still active, and ``max_commit_retries=0`` lets nothing come in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import SinkConflict, SinkUnavailable
from orchestration.redaction import redact
from orchestration.sinks.actions import add_action, log_path, remove_action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from deltalake import DeltaTable

    from orchestration.cursors.records import DataFile
    from orchestration.sinks.snapshot import SnapshotFile
    from orchestration.sinks.table import SinkTable

__all__ = ["MAINTENANCE", "Pack", "PackedCommit", "bins", "commit_packed", "unpackable"]

#: What a commit of maintenance is called in the table's history.
MAINTENANCE = "headwater.maintenance"

_ATTEMPT = "headwater.maintenance_attempt"
_RECENT = 16
_ATTEMPTS = 5  # a foreign append between looking and committing is no reason to give up
_MOST_FILES = 2_000  # in one pack: what is opened at once

#: Writer features under which files may be put in the place of others as we do it.
_KNOWN_FEATURES = {
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "generatedColumns",
    "invariants",
    "timestampNtz",
    "v2Checkpoint",
}


@dataclass(frozen=True, slots=True)
class Pack:
    """Files of one partition that become one or a few."""

    files: tuple[SnapshotFile, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.files)

    @property
    def directory(self) -> str:
        """Where the partition lies, below the table's root; empty for the root."""
        return self.files[-1].path.rpartition("/")[0]

    @property
    def newest(self) -> str:
        """Name of the newest file."""
        return self.files[-1].path.rpartition("/")[2]


def unpackable(handle: DeltaTable) -> str | None:
    """Why the files of a table must be left as they are; ``None`` where they may be packed."""
    others = set(handle.protocol().writer_features or ()) - _KNOWN_FEATURES
    if others:
        return f"it uses {', '.join(sorted(others))}, which packed files would not keep"
    mapping = handle.metadata().configuration.get("delta.columnMapping.mode", "none")
    return "it uses column mapping" if mapping != "none" else None


def bins(files: Sequence[SnapshotFile], goal: int) -> list[Pack]:
    """Small files in groups, each of which becomes a file of about ``goal`` bytes.

    A file is small up to half of that. Names begin with the batch, so neighbours hold rows of the
    same time, and a packed file's bounds stay narrow.

    Args:
        files: Active files; those that delta-rs cannot take out again are left alone.
        goal: Bytes.
    """
    by_partition: dict[tuple[tuple[str, str | None], ...], list[SnapshotFile]] = {}
    for item in files:
        if item.removable and item.size <= goal // 2:
            key = tuple(sorted(item.partition_values.items()))
            by_partition.setdefault(key, []).append(item)
    found = []
    for part in by_partition.values():
        part.sort(key=lambda item: item.path.rpartition("/")[2])
        found += [Pack(tuple(group)) for group in _cut(part, goal) if len(group) > 1]
    return found


def _cut(files: Sequence[SnapshotFile], goal: int) -> Iterator[list[SnapshotFile]]:
    group: list[SnapshotFile] = []
    size = 0
    for item in files:
        if group and (size + item.size > goal or len(group) == _MOST_FILES):
            yield group
            group, size = [], 0
        group.append(item)
        size += item.size
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class PackedCommit:
    """What one commit of maintenance changes.

    Attributes:
        attempt: Its name, random: told from every other by it.
        adds: Packed files, kept (flushed or uploaded) already.
        removes: Files whose rows they hold.
        app_id, token: The transaction to record: the lease's number, which only grows.
        removed_at: From when on a vacuum counts; aware.
        details: Further metadata.
    """

    attempt: str
    adds: tuple[DataFile, ...]
    removes: tuple[DataFile, ...]
    app_id: str
    token: int
    removed_at: datetime
    details: Mapping[str, str]


def commit_packed(
    table: SinkTable,
    check: Callable[[DeltaTable], None],
    commit: PackedCommit,
    *,
    still_ours: Callable[[], None],
) -> int:
    """Put packed files in the place of those that they were made of, in one commit.

    Args:
        table: The table, with the columns and the partitioning that it has.
        check: Raises where it is not (any more) the table that it was.
        commit: What to change.
        still_ours: Raises :class:`LeaseLost` when the query's lease was taken over.

    Returns:
        The version that holds it.

    Raises:
        SinkConflict: Another writer changed the files, or got in between every time; the table
            is as that one left it.
        SinkUnavailable: The store does not answer.
    """
    cause: Exception | None = None
    for _ in range(_ATTEMPTS):
        handle = table.open_existing()
        check(handle)
        landed = _landed(handle, commit.attempt) if cause else None
        if landed is None:
            _require_current(table, handle, commit)
            actions: list[Any] = [
                add_action(item, table.schema, table.partition_by, data_change=False)
                for item in commit.adds
            ]
            actions += [
                remove_action(item, commit.removed_at, data_change=False) for item in commit.removes
            ]
            still_ours()
            try:
                _write(handle, actions, commit)
            except Exception as error:  # noqa: BLE001 - one that raised may have landed
                cause = error
                continue
            landed = handle.version() + 1  # no retries: ours is the next one or none
        table.sync(landed)
        return landed
    from deltalake.exceptions import CommitFailedError

    if isinstance(cause, CommitFailedError):
        raise SinkConflict(
            f"other writers committed to {redact(table.uri)} in each of {_ATTEMPTS} attempts",
            remedy=_REMEDY,
        ) from cause
    raise SinkUnavailable(
        f"{redact(table.uri)} cannot be committed to: {redact(str(cause))}", remedy=_REMEDY
    ) from cause


_REMEDY = "nothing was changed; run 'headwater maintain' again when the other writer is done"


def _landed(handle: DeltaTable, attempt: str) -> int | None:
    for entry in handle.history(_RECENT):
        if entry.get(_ATTEMPT) == attempt:
            return int(entry["version"])
    return None


def _require_current(table: SinkTable, handle: DeltaTable, commit: PackedCommit) -> None:
    newest = handle.transaction_version(commit.app_id)
    if newest is not None and newest > commit.token:
        raise SinkConflict(
            f"a later maintenance has changed {redact(table.uri)} already", remedy=_REMEDY
        )
    why = unpackable(handle)
    active = {str(path) for path in pa.table(handle.get_add_actions())["path"].to_pylist()}
    gone = [item.path for item in commit.removes if log_path(item.path) not in active]
    if why or gone:
        what = why or f"{gone[0]} is not in version {handle.version()} any more"
        raise SinkConflict(
            f"another writer changed {redact(table.uri)} while its files were packed: {what}",
            remedy=_REMEDY,
        )


def _write(handle: DeltaTable, actions: list[Any], commit: PackedCommit) -> None:
    from deltalake import CommitProperties, PostCommitHookProperties, Transaction

    handle.create_write_transaction(
        actions,
        mode="append",
        schema=handle.schema(),
        partition_by=list(handle.metadata().partition_columns),
        commit_properties=CommitProperties(
            custom_metadata={
                **commit.details,
                MAINTENANCE: "pack",
                _ATTEMPT: commit.attempt,
            },
            max_commit_retries=0,
            app_transactions=[Transaction(commit.app_id, commit.token)],
        ),
        post_commithook_properties=PostCommitHookProperties(
            create_checkpoint=False, cleanup_expired_logs=False
        ),
    )
