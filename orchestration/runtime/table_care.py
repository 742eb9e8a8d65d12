"""One table of a query: its files packed, its log and its directory cleaned."""

from __future__ import annotations

import re
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from orchestration.cursors.records import DataFile
from orchestration.engine.packing import Packing
from orchestration.errors import SinkConflict, SinkOwned, SinkUnavailable
from orchestration.objects import PlaceError
from orchestration.redaction import redact
from orchestration.runtime.cleaning import KEPT_VERSIONS
from orchestration.runtime.execution import keep
from orchestration.runtime.maintained import TableMaintenance
from orchestration.sinks.packing import MAINTENANCE, PackedCommit, bins, commit_packed, unpackable
from orchestration.sinks.retention import configured, horizon, list_contents, old_log, unneeded
from orchestration.sinks.snapshot import Snapshot, local_files, read_snapshot, snapshot_of
from orchestration.sinks.table import SinkTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deltalake import DeltaTable

    from orchestration.cursors.leases import Lease
    from orchestration.cursors.records import BatchRecord
    from orchestration.objects import ObjectInfo
    from orchestration.runtime.crashpoints import Reach
    from orchestration.runtime.session import Session
    from orchestration.sinks.packing import Pack
    from orchestration.sinks.table import Role

__all__ = ["Care"]

#: A keyed sink writes a file anew for each of its keys that changes: smaller ones cost it less.
_KEYED_PART = 8
_ROUND_BYTES = 4 * 1024**3  # packed by one commit, so that little is lost when it fails
_PASSES = 2  # very many files become fewer in the first, and few in the second
_CHECKPOINT_EVERY = 10  # commits
_LOG_RETENTION = timedelta(days=30)  # Delta's own, where the table says nothing
_DELETED_AT_ONCE = 1000
_BATCH = re.compile(r"part-(\d{10,})-")


class Care:
    """Looks after the tables of one query, one at a time.

    Args:
        session: The opened query, attached to its generation.
        lease: What is held; ``None`` for a dry run.
        last: The query's last batch; ``None`` where there is none, or for its twin.
        retention: What was current in this time stays readable.
        dry_run: Only look.
        reach: Crash points.
    """

    def __init__(
        self,
        session: Session,
        lease: Lease | None,
        last: BatchRecord | None,
        *,
        retention: timedelta,
        dry_run: bool,
        reach: Reach,
    ) -> None:
        self._session = session
        self._lease = lease
        self._last = last
        self._retention = retention
        self._dry_run = dry_run
        self._reach = reach

    def table(self, role: Role, known_id: str | None) -> TableMaintenance:
        """Pack, checkpoint and clean one table, which must be there.

        Args:
            role: Which one.
            known_id: The table id the cursor store remembers.
        """
        table = self._session.table_of(role)
        with _reachable(table):
            return self._table(table, role, known_id)

    def _table(self, table: SinkTable, role: Role, known_id: str | None) -> TableMaintenance:
        handle = table.open_existing()
        self._check(table, handle, known_id)
        before = snapshot_of(handle)
        done = TableMaintenance(
            role, table.uri, before.version, len(before.files), len(before.files),
            before.size, before.size,
        )  # fmt: skip
        why = unpackable(handle)
        if why is not None:
            done = replace(done, notes=(f"small files stay as they are: {why}",))
        elif self._dry_run:
            packs = bins(before.files, self._goal(role))
            packed = sum(len(pack.files) for pack in packs)
            left = len(before.files) - packed + len(packs)
            done = replace(done, packed=packed, packed_into=len(packs), files_after=left)
        else:
            packed, into = self._pack(_as_it_is(table, handle), role, known_id)
            after = read_snapshot(table) or before
            done = replace(
                done,
                version=after.version,
                packed=packed,
                packed_into=into,
                files_after=len(after.files),
                bytes_after=after.size,
            )
        done = self._checkpoint(table, done)
        return self._clean(table, role, done)

    def _check(self, table: SinkTable, handle: DeltaTable, known_id: str | None) -> None:
        owner = handle.metadata().configuration
        ours = (owner.get("headwater.query"), owner.get("headwater.role"))
        if ours != (table.owner.query_id, table.owner.role):
            raise SinkOwned(
                f"{redact(table.uri)} belongs to {ours[0] or 'somebody who is not Headwater'}",
                remedy="it was left as it is; give the query a table of its own",
            )
        # Whoever filled the twin: a full reprocess takes it from any store.
        table.check_identity(handle, known_id, reclaim=table.owner.role == "twin")

    def _still_ours(self) -> None:
        if self._lease is not None:
            self._lease.check()

    # -- small files ----------------------------------------------------------------------------

    def _goal(self, role: Role) -> int:
        sink = self._session.query.sink
        keyed = role == "sink" and sink.mode != "append"
        return sink.target_file_size // (_KEYED_PART if keyed else 1)

    def _pack(self, table: SinkTable, role: Role, known_id: str | None) -> tuple[int, int]:
        """Pack what is small; how many files, and into how many."""
        packed = into = 0
        stubborn: set[str] = set()
        # What is added meanwhile waits: beside a busy writer this would never end.
        for _ in range(_PASSES):
            handle = table.open_existing()
            files = [item for item in snapshot_of(handle).files if item.path not in stubborn]
            packs = bins(files, self._goal(role))
            if not packs:
                break
            for part in _rounds(packs):
                handle = table.open_existing()
                removes, adds = self._round(table, handle, part, stubborn, role, known_id)
                packed, into = packed + removes, into + adds
        return packed, into

    def _round(
        self,
        table: SinkTable,
        handle: DeltaTable,
        packs: Sequence[Pack],
        stubborn: set[str],
        role: Role,
        known_id: str | None,
    ) -> tuple[int, int]:
        attempt = uuid.uuid4().hex[:12]
        adds: list[DataFile] = []
        removes: list[DataFile] = []
        with self._stage(table, attempt) as root:
            for pack in packs:
                self._still_ours()
                written = self._written(table, pack, root, f"{attempt}{len(adds):04d}")
                if len(written) >= len(pack.files):  # they are as small as they get
                    stubborn.update(item.path for item in pack.files)
                    for item in written:
                        (root / item.path).unlink()
                    continue
                adds += written
                removes += [
                    DataFile(item.path, item.size, item.rows, 0, item.partition_values)
                    for item in pack.files
                ]
            keep(table, root, adds)
        if not adds:
            return 0, 0
        self._reach("after_pack_write")
        name = self._session.query.name
        commit_packed(
            table,
            self._unchanged(table, handle, role, known_id),
            PackedCommit(
                attempt=attempt,
                adds=tuple(adds),
                removes=tuple(removes),
                app_id=f"{name}__maintenance",
                token=cast("Lease", self._lease).token,
                removed_at=self._session.clock.now(),
                details=_carried(handle) if role == "twin" else {"headwater.query": name},
            ),
            still_ours=self._still_ours,
        )
        self._reach("after_pack_commit")
        return len(removes), len(adds)

    def _written(
        self, table: SinkTable, pack: Pack, root: Path, number: str
    ) -> tuple[DataFile, ...]:
        batch = _BATCH.match(pack.newest)
        # Sorted as its newest batch, and like no attempt of it: a replay deletes those.
        lead = batch[0] if batch else ""
        prefix = f"{lead}packed-{cast('Lease', self._lease).token}-{number}"
        columns = [item for item in table.schema if item.name not in table.partition_by]
        spool = self._session.settings.spool_dir
        with local_files(table, Snapshot(0, pack.files), spool) as files:
            return self._session.engine.pack(
                Packing(
                    files=[path for path, _ in files],
                    schema=pa.schema(columns),
                    root=root,
                    directory=pack.directory,
                    partition_values=pack.files[0].partition_values,
                    prefix=prefix,
                    target_file_size=self._session.query.sink.target_file_size,
                )
            )

    @contextmanager
    def _stage(self, table: SinkTable, attempt: str) -> Iterator[Path]:
        """A local directory that stands for the table's root."""
        if table.place.is_local:
            yield table.place.local_path
            return
        stage = self._session.settings.spool_dir / f"maintain-{attempt}"
        stage.mkdir(parents=True, exist_ok=True)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _unchanged(
        self, table: SinkTable, handle: DeltaTable, role: Role, known_id: str | None
    ) -> Callable[[DeltaTable], None]:
        table_id, version = str(handle.metadata().id), handle.version()

        def check(now: DeltaTable) -> None:
            self._check(table, now, known_id or table_id)
            # What a full reprocess says of its rows holds for exactly these.
            if role == "twin" and now.version() != version and not _ours_on_top(now):
                raise SinkConflict(
                    f"another writer changed {redact(table.uri)} while its files were packed",
                    remedy="nothing was changed; run the full reprocess again",
                )

        return check

    # -- log and directory ----------------------------------------------------------------------

    def _checkpoint(self, table: SinkTable, done: TableMaintenance) -> TableMaintenance:
        newest = max(
            (v for v in list_contents(table.place).checkpoints if v <= done.version), default=-1
        )
        behind = done.version - newest
        if behind == 0 or (behind < _CHECKPOINT_EVERY and not done.packed):
            return done
        if self._dry_run:
            return replace(done, checkpoint=done.version)
        self._still_ours()
        handle = table.open_existing()
        try:
            handle.create_checkpoint()
        except Exception as error:
            raise SinkUnavailable(
                f"no checkpoint of {redact(table.uri)} could be written: {redact(str(error))}",
                remedy="the table is as it was; check the place, and run the maintenance again",
            ) from error
        table.sync(handle.version())
        self._reach("after_checkpoint")
        return replace(done, checkpoint=handle.version())

    def _clean(self, table: SinkTable, role: Role, done: TableMaintenance) -> TableMaintenance:
        handle = table.open_existing()
        now = self._session.clock.now()
        kept_for = max(
            self._retention, configured(handle, "delta.deletedFileRetentionDuration", timedelta(0))
        )
        log_for = max(kept_for, configured(handle, "delta.logRetentionDuration", _LOG_RETENTION))
        contents = list_contents(table.place)
        # Opened after the listing: what is active is then in it, or younger than any cutoff.
        active = {item.path for item in snapshot_of(handle).files}
        floor = None if role == "twin" else self._is_floor()
        kept = horizon(table.place, contents, handle.version(), now - kept_for, floor)
        if not kept.complete:
            note = "the log does not reach as far back as the retention: no file was deleted"
            return replace(done, notes=(*done.notes, note))
        files = unneeded(contents, active, kept, now - kept_for, self._protected)
        if files is None:
            note = "files that the log names do not lie where it says: no file was deleted"
            return replace(done, notes=(*done.notes, note))
        first, log = old_log(contents, kept, now - log_for)
        if not self._dry_run:
            self._delete(table, files)
            self._reach("after_vacuum")
            if log and table.open(first) is not None:  # what stays begins with it: it must be sound
                # The oldest first: what is left after a crash has no gap.
                self._delete(table, sorted(log, key=lambda item: item.path))
        return replace(
            done,
            deleted=len(files),
            deleted_bytes=sum(item.size for item in files),
            log_deleted=len(log),
            log_deleted_bytes=sum(item.size for item in log),
        )

    def _is_floor(self) -> Callable[[dict[str, Any]], bool]:
        """Whether a commit is the last that a rewind could go back to."""
        app_id = self._session.generation.app_id
        oldest = (self._last.plan.batch_id if self._last else -1) - KEPT_VERSIONS

        def is_floor(info: dict[str, Any]) -> bool:
            if info.get("headwater.reset_to") == app_id:
                return True  # nothing of a generation before can be gone back to
            if info.get("headwater.app_id") != app_id:
                return False
            return int(info.get("headwater.batch_id", oldest + 1)) <= oldest

        return is_floor

    def _protected(self, name: str) -> bool:
        """Whether a file may be of an attempt that is newer than the last seal."""
        match = _BATCH.match(name)
        if match is None or self._last is None:
            return False
        sealed = self._last.plan.batch_id - (0 if self._last.sealed_at else 1)
        ours = name.startswith(f"{match[0]}{self._session.generation.token}-")
        return ours and int(match[1]) > sealed

    def _delete(self, table: SinkTable, items: Sequence[ObjectInfo]) -> None:
        for start in range(0, len(items), _DELETED_AT_ONCE):
            self._still_ours()
            table.place.delete([item.path for item in items[start : start + _DELETED_AT_ONCE]])


def _as_it_is(table: SinkTable, handle: DeltaTable) -> SinkTable:
    """The table with the columns that it has, whatever is declared."""
    columns: Any = handle.schema().to_arrow()
    partitions = tuple(handle.metadata().partition_columns)
    return SinkTable(table.uri, table.owner, pa.schema(columns), partitions)


def _rounds(packs: Sequence[Pack]) -> Iterator[list[Pack]]:
    """As many as one commit takes, again and again."""
    part: list[Pack] = []
    for pack in packs:
        part.append(pack)
        if sum(item.size for item in part) >= _ROUND_BYTES:
            yield part
            part = []
    if part:
        yield part


def _carried(handle: DeltaTable) -> dict[str, str]:
    """What a full reprocess wrote beside its rows, which hold for the packed files too."""
    (newest,) = handle.history(1)
    return {
        key: value
        for key, value in newest.items()
        if key.startswith("headwater.") and not key.startswith(MAINTENANCE)
    }


def _ours_on_top(handle: DeltaTable) -> bool:
    (newest,) = handle.history(1)
    return MAINTENANCE in newest


@contextmanager
def _reachable(table: SinkTable) -> Iterator[None]:
    try:
        yield
    except PlaceError as error:
        raise SinkUnavailable(
            f"{redact(table.uri)} cannot be maintained: {error.args[0]}",
            remedy="check the store and its credentials, and run the maintenance again",
        ) from error
