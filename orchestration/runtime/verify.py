"""Incremental equals full, or the rows that differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import HeadwaterError
from orchestration.sinks.commit import last_version_through
from orchestration.sinks.snapshot import Snapshot, local_files, read_snapshot

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord
    from orchestration.runtime.session import Session

__all__ = ["Verification", "verify"]

_SAMPLES = 5
_NOTHING = Snapshot(0, ())


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of comparing the incremental table with its full-reprocess twin.

    Attributes:
        outcome: ``identical``, ``different``, or ``not_comparable`` (``reason`` says why).
        reason: One sentence.
        offsets: The input both hold.
        incremental_version, full_version: Table versions compared.
        incremental_rows, full_rows: Their rows.
        only_incremental, only_full: Rows without a partner on the other side, as multisets.
        samples_incremental, samples_full: Some of them.
        notes: What was left out of the comparison, and why.
    """

    outcome: Literal["identical", "different", "not_comparable"]
    reason: str
    offsets: dict[str, Any]
    incremental_version: int | None = None
    full_version: int | None = None
    incremental_rows: int = 0
    full_rows: int = 0
    only_incremental: int = 0
    only_full: int = 0
    samples_incremental: pa.Table | None = None
    samples_full: pa.Table | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the two are proved equal."""
        return self.outcome == "identical"

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON, samples as rows."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "offsets": self.offsets,
            "incremental_version": self.incremental_version,
            "full_version": self.full_version,
            "incremental_rows": self.incremental_rows,
            "full_rows": self.full_rows,
            "only_incremental": self.only_incremental,
            "only_full": self.only_full,
            "samples_incremental": _rows(self.samples_incremental),
            "samples_full": _rows(self.samples_full),
            "notes": list(self.notes),
        }


def verify(session: Session) -> Verification:
    """Compare what both tables hold for the same offsets, row for row, at any size.

    The twin names in its commit how far it read; the incremental table is read at the version
    that held exactly that. Run the twin first.
    """
    generation = session.store.queries.get(session.query.name)
    if not session.bind(generation.input_schema if generation else None):
        return _cannot("the schema is to be inferred and no file was read yet")
    if generation is not None:
        session.attach(generation)
    full = read_snapshot(session.twin_table)
    if full is None:
        return _cannot("there is no full-reprocess twin yet; run it first")
    claim = _claim(session, full.version)
    if claim is None:
        return _cannot("the twin's table was written by somebody else; run the twin again")
    through = int(claim["through_batch"])
    offsets = json.loads(claim["offsets"])
    if claim["generation"] != (generation.app_id if generation else ""):
        return _cannot("the query was reset since the twin ran; run the twin again", offsets)
    record = session.store.batches.get(session.generation, through) if through >= 0 else None
    incremental = _incremental(session, record)
    notes = [*json.loads(claim.get("notes", "[]"))]
    if session.stream.where_is_volatile:
        return _cannot("a where() depends on now(), so no reprocess can be equal", offsets)
    if notes:
        return _cannot("; ".join(notes), offsets, tuple(notes))
    left_out = session.stream.volatile_columns()
    if left_out:
        notes.append(f"columns that depend on now() are not compared: {', '.join(left_out)}")
    return _compared(session, incremental, full, offsets, tuple(left_out), tuple(notes))


def _compared(
    session: Session,
    incremental: Snapshot,
    full: Snapshot,
    offsets: dict[str, Any],
    left_out: tuple[str, ...],
    notes: tuple[str, ...],
) -> Verification:
    columns = pa.schema([item for item in session.output_schema if item.name not in left_out])
    spool = session.settings.spool_dir
    try:
        with (
            local_files(session.sink_table, incremental, spool) as left,
            local_files(session.twin_table, full, spool) as right,
        ):
            found = session.engine.compare(left, right, columns, samples=_SAMPLES)
    except (FileNotFoundError, HeadwaterError) as error:
        return _cannot(
            f"version {incremental.version} of the incremental table cannot be read any more "
            f"(vacuumed?); run the twin again ({type(error).__name__})",
            offsets,
        )
    same = found.only_left == 0 and found.only_right == 0
    return Verification(
        outcome="identical" if same else "different",
        reason=(
            f"{found.left_rows:,} rows, identical as multisets"
            if same
            else f"{found.only_left:,} rows only in the incremental table, "
            f"{found.only_right:,} only in the full reprocess"
        ),
        offsets=offsets,
        incremental_version=incremental.version,
        full_version=full.version,
        incremental_rows=found.left_rows,
        full_rows=found.right_rows,
        only_incremental=found.only_left,
        only_full=found.only_right,
        samples_incremental=found.left_samples,
        samples_full=found.right_samples,
        notes=notes,
    )


def _incremental(session: Session, record: BatchRecord | None) -> Snapshot:
    """The table as it was when it held the input up to ``record`` and no more."""
    if record is None:
        return _NOTHING
    version = record.progress.get("sink", {}).get("version")
    if version is None:  # no batch so far added a row, or a rebuilt store does not know the version
        version = last_version_through(
            session.sink_table, session.generation.app_id, record.plan.batch_id
        )
    if version is None:
        return _NOTHING
    return read_snapshot(session.sink_table, version) or _NOTHING


def _claim(session: Session, version: int) -> dict[str, Any] | None:
    handle = session.twin_table.open()
    if handle is None:
        return None
    for entry in handle.history(1):
        if entry.get("version") == version and "headwater.through_batch" in entry:
            return {
                key.removeprefix("headwater."): value
                for key, value in entry.items()
                if key.startswith("headwater.")
            }
    return None


def _cannot(
    reason: str, offsets: dict[str, Any] | None = None, notes: tuple[str, ...] = ()
) -> Verification:
    return Verification("not_comparable", reason, offsets or {}, notes=notes)


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    return [] if table is None else table.to_pylist()
