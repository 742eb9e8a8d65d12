"""The full reprocess of a stateful query: over the whole input at once, or batch by batch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.newest import Newest
from orchestration.engine.rewrite import OldFile
from orchestration.engine.stateful.job import LateRows, SourceInput, StatefulJob
from orchestration.engine.writer import discard
from orchestration.objects import Place
from orchestration.runtime.statics import open_statics, resolve_statics
from orchestration.runtime.twin_late import late_files
from orchestration.runtime.twin_past import committed
from orchestration.state.files import StateFiles
from orchestration.state.watermarks import EventTimePlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from orchestration.cursors.records import BatchRecord, DataFile, FileEntry, JsonDict, Slice
    from orchestration.engine.stateful.job import ChangedFiles, StatefulOutput
    from orchestration.runtime.session import Session
    from orchestration.state.manifest import StateVersion

__all__ = ["Recomputed", "Scratch", "discard_files", "in_one_pass", "replayed"]

_EMITTED = 500  # files of a replayed upsert, before the rows that count are put together


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What a full reprocess made.

    Attributes:
        files: Relative to the twin's table.
        rows_read, bytes_read, rows_quarantined: Counts.
    """

    files: tuple[DataFile, ...]
    rows_read: int = 0
    bytes_read: int = 0
    rows_quarantined: int = 0

    def plus(self, output: StatefulOutput, files: tuple[DataFile, ...]) -> Recomputed:
        """These counts and a batch's, with other files."""
        return Recomputed(
            files,
            self.rows_read + output.rows_read,
            self.bytes_read + output.bytes_read,
            self.rows_quarantined + output.rows_quarantined,
        )


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where a full reprocess works.

    Attributes:
        stage: A directory of its own, deleted afterwards.
        sink_dir: Stands for the root of the twin's table.
        prefix: Start of the name of every file that goes there.
    """

    stage: Path
    sink_dir: Path
    prefix: str

    def files(self) -> StateFiles:
        """State of its own."""
        return StateFiles(Place.open(str(self.stage / "state")), "full", self.stage / "cache")


def in_one_pass(
    session: Session,
    slices: tuple[Slice, ...],
    last: BatchRecord,
    now: datetime,
    scratch: Scratch,
    statics: Mapping[str, JsonDict],
) -> Recomputed:
    """Compute everything at once: without the late rows, and cut at the last batch's watermark.

    Args:
        session: The opened query.
        slices: The whole of every source.
        last: The last batch that counts.
        now: The time.
        scratch: Where to work.
        statics: Static table to the version to read.
    """
    at = EventTimePlan.from_json(last.plan.event_time)
    with late_files(session) as files:
        job = _job(
            session,
            scratch,
            inputs=_inputs(session, slices),
            statics=_statics(session, statics),
            watermark_ms=at.watermark_ms,
            timestamp=now,
            full=LateRows(files, last.plan.batch_id),
        )
        output = session.engine.run_stateful(job)
    return Recomputed(()).plus(output, output.sink)


def replayed(
    session: Session, present: Mapping[str, frozenset[FileEntry]], through: int, scratch: Scratch
) -> Recomputed:
    """Run every batch again from an empty state, by its own plan and without the protocol.

    Args:
        session: The opened query.
        present: Source to those of its files that are still what they were.
        through: The last batch that counts.
        scratch: Where to work.
    """
    gather = _Gathered(session, scratch)
    files = scratch.files()
    state: StateVersion | None = None
    done = Recomputed(())
    for record in committed(session, through, with_files=True):
        plan = record.plan
        at = EventTimePlan.from_json(plan.event_time)
        slices = tuple(_left(part, present.get(part.source)) for part in plan.slices)
        job = _job(
            session,
            scratch,
            inputs={} if record.skip else _inputs(session, slices),
            statics=_statics(session, at.statics),
            watermark_ms=at.watermark_ms,
            timestamp=plan.timestamp,
            files=files,
            late_ms=at.late_ms,
            state=state,
            batch_id=plan.batch_id,
            file_prefix=f"{scratch.prefix}-{plan.batch_id:010d}",
            **gather.where(),
        )
        output = session.engine.run_stateful(job)
        if state is not None and output.state is not None:
            files.delete(sorted(state.paths - output.state.paths))
        state = output.state
        gather.add(plan.batch_id, output.sink, output.changed)
        done = done.plus(output, ())
    return replace(done, files=gather.finish())


class _Gathered:
    """What the batches of a replay gave, as the output mode puts it together."""

    def __init__(self, session: Session, scratch: Scratch) -> None:
        self._session = session
        self._scratch = scratch
        self._mode = session.query.sink.output_mode
        self._keys = session.update_keys if self._mode == "update" else None
        self._emitted = scratch.stage / "emitted"
        self._files: list[DataFile] = []
        self._places: list[int] = []

    def where(self) -> dict[str, Any]:
        """Where a batch's rows go, and what they change."""
        if self._session.changes is not None:
            return {"target": _SoFar(self._scratch.sink_dir, tuple(self._files))}
        if self._keys is None:
            return {}
        return {"sink_dir": self._emitted, "partition_by": ()}

    def add(self, place: int, files: tuple[DataFile, ...], changed: ChangedFiles) -> None:
        """Take what a batch gave."""
        if self._session.changes is not None:
            for number in sorted(changed.removed, reverse=True):
                (self._scratch.sink_dir / self._files.pop(number).path).unlink()
            self._files += [*files, *changed.written]
            return
        if self._mode == "complete":
            for item in self._files:
                (self._scratch.sink_dir / item.path).unlink(missing_ok=True)
            self._files = list(files)
            return
        self._files += files
        self._places += [place] * len(files)
        if self._keys is not None and len(self._files) > _EMITTED:
            merged = self._newest(self._emitted, f"{self._scratch.prefix}-to{place:010d}", ())
            for item in self._files:
                (self._emitted / item.path).unlink(missing_ok=True)
            self._files, self._places = list(merged), [place] * len(merged)

    def finish(self) -> tuple[DataFile, ...]:
        """The files of the result, where the twin's table is."""
        if self._keys is None:
            return tuple(self._files)
        if not self._files:
            return ()
        by = self._session.query.sink.partition_by
        return self._newest(self._scratch.sink_dir, self._scratch.prefix, by)

    def _newest(
        self, directory: Path, prefix: str, partition_by: tuple[str, ...]
    ) -> tuple[DataFile, ...]:
        return self._session.engine.newest(
            Newest(
                [
                    (place, str(self._emitted / item.path))
                    for place, item in zip(self._places, self._files, strict=True)
                ],
                self._keys or (),
                self._session.output_schema,
                directory,
                prefix,
                partition_by,
                self._session.query.sink.target_file_size,
            )
        )


@dataclass(frozen=True, slots=True)
class _SoFar:
    """The files that the batches before made, as the next one's target."""

    directory: Path
    files: tuple[DataFile, ...]

    @property
    def bounds(self) -> pa.Table:
        """Their numbers: a full reprocess looks into all of them."""
        return pa.table({"number": pa.array(range(len(self.files)), pa.int64())})

    @property
    def at_hand(self) -> bool:
        return True

    @property
    def directories(self) -> tuple[Path, ...]:
        return (self.directory,)

    def rows_of(self, number: int) -> int:
        return self.files[number].rows

    def groups(self, numbers: Sequence[int]) -> Iterator[AbstractContextManager[Sequence[OldFile]]]:
        if numbers:
            yield nullcontext(
                [
                    OldFile(
                        number,
                        str(self.directory / self.files[number].path),
                        self.files[number].partition_values,
                        self.files[number].rows,
                        self.files[number].size,
                    )
                    for number in numbers
                ]
            )


def _job(session: Session, scratch: Scratch, **given: Any) -> StatefulJob:
    sink = session.query.sink
    common: dict[str, Any] = {
        "plan": session.chain,
        "output_mode": sink.output_mode,
        "output_schema": session.output_schema,
        "late_ms": 0,
        "state": None,
        "sink_dir": scratch.sink_dir,
        # Counted, and then dropped: the query keeps its own.
        "quarantine_dir": scratch.stage / "quarantine",
        "late_dir": scratch.stage / "late",
        "on_late": "drop",
        "file_prefix": scratch.prefix,
        "batch_id": -1,
        "partition_by": sink.partition_by,
        "target_file_size": sink.target_file_size,
    }
    if "files" not in given:
        common["files"] = scratch.files()
    job = StatefulJob(**{**common, **given})
    for directory in (job.sink_dir, job.quarantine_dir, job.late_dir):
        directory.mkdir(parents=True, exist_ok=True)
    return job


def _inputs(session: Session, slices: tuple[Slice, ...]) -> dict[str, SourceInput]:
    """Sources with something to read, in the order that the query has them."""
    parts = {part.source: part for part in slices if part.start != part.end}
    return {
        name: SourceInput(
            source.open(parts[name], schema=session.data_schemas[name], settings=session.settings)
        )
        for name, source in session.sources.items()
        if name in parts
    }


def _statics(session: Session, planned: Mapping[str, JsonDict]) -> dict[str, Any]:
    """Static tables as planned; one that the query did not have then as it is now."""
    if session.query.statics.keys() - planned.keys():
        planned = {**resolve_statics(session), **planned}
    return open_statics(session, planned)


def _left(part: Slice, present: frozenset[FileEntry] | None) -> Slice:
    """A slice without files that are not there any more; nothing of one without any left."""
    if not part.files:
        return part
    files = tuple(entry for entry in part.files if present is not None and entry in present)
    return replace(part, files=files) if files else replace(part, end=part.start, files=())


def discard_files(scratch: Scratch, partition_by: tuple[str, ...]) -> None:
    """Delete what a reprocess that failed has written for the twin's table."""
    discard(scratch.sink_dir, scratch.prefix, partition_by)
