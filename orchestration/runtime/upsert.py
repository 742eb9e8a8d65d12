"""Changed rows in the place of what the table held under their keys."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from orchestration.cursors.records import DataFile, TableChanges
from orchestration.engine.rewrite import OldFile, Rewrite
from orchestration.engine.stateful.job import REMOVED
from orchestration.errors import SinkError, SinkUnavailable
from orchestration.objects import PlaceError
from orchestration.redaction import redact
from orchestration.runtime.execution import keep
from orchestration.sinks.snapshot import Snapshot, SnapshotFile, local_files, upsert_snapshot
from orchestration.streams.change_resolving import CHANGES_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from orchestration.cursors.records import Plan, Seal
    from orchestration.runtime.session import Session
    from orchestration.sinks.table import Role, SinkTable

__all__ = ["OldTable", "attempt_of", "changed_files", "rebuild", "upsert"]

# Fetched from an object store at a time: what the disk must hold besides the batch.
_GROUP_BYTES = 512 * 1024 * 1024
_GROUP_FILES = 32


def upsert(
    session: Session,
    emitted: tuple[DataFile, ...],
    directory: Path,
    keys: Sequence[str],
    prefix: str,
    gone: Sequence[str] = (),
) -> TableChanges:
    """What a batch does to the sink so that its rows replace those of the same keys.

    Files of the sink that hold one of the keys are written anew without them, into
    ``directory``; the caller keeps (flushes or uploads) all ``adds`` of the result.

    Args:
        session: The opened query.
        emitted: The batch's files, each key once.
        directory: Where they lie: stands for the table's root.
        keys: Columns that name a row; none where the table is one row.
        prefix: Start of the emitted files' names: batch and attempt.
        gone: Local files with further keys whose rows are taken out, and not replaced.

    Raises:
        SinkSchemaChanged: The table cannot take such a change.
        SinkError: The batch holds a key twice, or a file of another writer cannot be taken out.
        SinkUnavailable: The table's store does not answer.
    """
    if not emitted and not gone:
        return TableChanges()
    table = session.sink_table
    snapshot = upsert_snapshot(table, keys)
    if keys and snapshot.files:
        done = session.engine.rewrite(
            Rewrite(
                emitted=[(str(directory / item.path), item.partition_values) for item in emitted],
                keys=tuple(keys),
                schema=table.schema,
                old=OldTable(table, snapshot, session.settings.spool_dir),
                directory=directory,
                # Apart from the emitted files' prefix: a failure deletes what starts like this.
                prefix=f"{prefix}-kept",
                partition_by=table.partition_by,
                target_file_size=session.query.sink.target_file_size,
                gone=tuple(gone),
            )
        )
        written, numbers = done.written, done.removed
    else:
        written, numbers = (), tuple(range(len(snapshot.files)))
    return changed_files(table, snapshot, emitted, written, numbers, keys)


def changed_files(
    table: SinkTable,
    snapshot: Snapshot,
    emitted: tuple[DataFile, ...],
    written: tuple[DataFile, ...],
    numbers: Sequence[int],
    keys: Sequence[str],
) -> TableChanges:
    """A batch's files in the place of some that the table has.

    Args:
        table: The table.
        snapshot: Its files.
        emitted: The batch's own.
        written: Those with rows that are carried over.
        numbers: Which of its files they replace.
        keys: Columns that name a row, so that it can be done anew.

    Raises:
        SinkError: A file of another writer cannot be taken out.
    """
    if not emitted and not numbers:
        return TableChanges()
    stuck = [snapshot.files[n].path for n in numbers if not snapshot.files[n].removable]
    if stuck:
        raise SinkError(
            f"{stuck[0]!r} in {redact(table.uri)} holds rows that the batch replaces, and was "
            "added by another writer, under a name that delta-rs cannot take out again",
            remedy="let that writer rewrite the file, under a name of plain letters and digits; "
            f"'headwater reset {table.owner.query_id}' fills the table anew",
        )
    return TableChanges(
        adds=(*emitted, *written),
        removes=tuple(_data_file(snapshot.files[number]) for number in numbers),
        emitted=tuple(item.path for item in emitted),
        base_version=snapshot.version,
        keys=tuple(keys),
    )


def rebuild(session: Session, plan: Plan, seal: Seal) -> Seal:
    """A seal with the same rows, and an upsert that fits the table as it is now.

    The files it names are kept: it can take the old seal's place at once.

    Args:
        session: The opened query.
        plan: The batch.
        seal: Its seal, whose upsert is outdated.
    """
    changes = seal.tables["sink"]
    # What quarantine and late table hold already is known there by the first attempt's name.
    attempt = f"{attempt_of(seal, 'late')}.{uuid.uuid4().hex[:8]}"
    prefix = f"part-{plan.batch_id:010d}-{attempt}"
    table = session.sink_table
    gone = _gone(session, seal)
    with _emitted_at_hand(session, changes.given) as directory:
        new = upsert(session, changes.given, directory, changes.keys, prefix, gone)
        given = set(new.emitted or ())
        keep(table, directory, [item for item in new.adds if item.path not in given])
    return replace(seal, attempt=attempt, tables={**seal.tables, "sink": new})


def attempt_of(seal: Seal, role: Role) -> str:
    """Under what name a table's commit knows the attempt of a seal.

    A rebuilt upsert has a new name in the sink; the other tables, whose changes are the same and
    may be committed already, go on knowing the attempt it was made of.
    """
    return seal.attempt if role == "sink" else seal.attempt.partition(".")[0]


def _gone(session: Session, seal: Seal) -> list[str]:
    """Local files that name the rows which a batch of changes took out and did not replace."""
    if seal.state is None:
        return []
    from orchestration.runtime.stateful import open_state

    files = open_state(session)
    state = files.load(seal.state).operators.get(CHANGES_ID)
    return [str(files.local(run.path)) for run in (state.of(REMOVED) if state else ())]


def _data_file(item: SnapshotFile) -> DataFile:
    return DataFile(item.path, item.size, item.rows, 0, item.partition_values)


@contextmanager
def _emitted_at_hand(session: Session, files: Sequence[DataFile]) -> Iterator[Path]:
    """A local directory that stands for the sink's root, with these files in it."""
    place, spool = session.sink_table.place, session.settings.spool_dir
    if place.is_local:
        yield place.local_path
        return
    spool.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="rebuild-", dir=spool) as name, _unavailable(session.sink_table):
        directory = Path(name)
        for item in files:
            local = directory / item.path
            local.parent.mkdir(parents=True, exist_ok=True)
            place.download(item.path, local)
        yield directory


class OldTable:
    """A table's files, fetched in groups where they are not on this machine."""

    def __init__(self, table: SinkTable, snapshot: Snapshot, spool_dir: Path) -> None:
        self._table = table
        self._snapshot = snapshot
        self._spool_dir = spool_dir

    @property
    def bounds(self) -> pa.Table:
        """What the log knows of the keys in each file."""
        bounds = self._snapshot.bounds
        if bounds is None:
            raise RuntimeError("the snapshot was taken without bounds")
        return bounds

    @property
    def snapshot(self) -> Snapshot:
        """The version that they are of."""
        return self._snapshot

    @property
    def at_hand(self) -> bool:
        """Whether they lie on this machine."""
        return self._table.place.is_local

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where they are read from."""
        return (self._table.place.local_path if self.at_hand else self._spool_dir,)

    def rows_of(self, number: int) -> int:
        """Rows of a file."""
        return self._snapshot.files[number].rows

    def groups(self, numbers: Sequence[int]) -> Iterator[AbstractContextManager[Sequence[OldFile]]]:
        """Files, a bounded number of bytes of them at a time."""
        for part in self._parts(numbers):
            yield self._group(part)

    def _parts(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        if self._table.place.is_local:
            if numbers:
                yield numbers
            return
        part: list[int] = []
        size = 0
        for number in numbers:
            more = self._snapshot.files[number].size
            if part and (size + more > _GROUP_BYTES or len(part) == _GROUP_FILES):
                yield part
                part, size = [], 0
            part.append(number)
            size += more
        if part:
            yield part

    @contextmanager
    def _group(self, numbers: Sequence[int]) -> Iterator[Sequence[OldFile]]:
        items = tuple(self._snapshot.files[number] for number in numbers)
        snapshot = Snapshot(self._snapshot.version, items)
        with _unavailable(self._table), local_files(self._table, snapshot, self._spool_dir) as at:
            yield [
                OldFile(number, path, values, item.rows, item.size)
                for number, (path, values), item in zip(numbers, at, items, strict=True)
            ]


@contextmanager
def _unavailable(table: SinkTable) -> Iterator[None]:
    try:
        yield
    except PlaceError as error:
        raise SinkUnavailable(
            f"files of {redact(table.uri)} cannot be read: {error.args[0]}",
            remedy="check the store and its credentials; the next run tries again",
        ) from error
