"""Incremental equals full, or the rows that differ."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import SinkUnavailable
from orchestration.runtime.twin_floats import summed_in
from orchestration.runtime.twin_late import late_rows_through
from orchestration.sinks.commit import last_version_through
from orchestration.sinks.snapshot import Snapshot, is_complete, local_files, read_snapshot

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord
    from orchestration.runtime.session import Session

__all__ = ["Verification", "covered_batch", "verify"]

_SAMPLES = 5
_VERDICTS = {"identical": "equal", "different": "different", "not_comparable": "not comparable"}
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

    The twin names in its commit how far it read; the incremental table is read at the newest
    version that has to hold exactly that. Run the twin first. What was found is remembered in the
    cursor store.
    """
    found = _verify(session)
    generation = session.store.queries.get(session.query.name)
    session.store.costs.record_verification(
        session.query.name,
        verdict=_VERDICTS[found.outcome],
        offsets=found.offsets,
        table_version=found.incremental_version,
        twin_version=found.full_version,
        detail={
            "reason": found.reason,
            "rows": found.incremental_rows,
            "notes": list(found.notes),
            "generation": generation.app_id if generation else "",
            "batches": session.store.batches.totals(generation)["batches"] if generation else 0,
        },
        checked_at=session.clock.now(),
        run_id=str(uuid.uuid4()),
    )
    return found


def covered_batch(session: Session) -> int | None:
    """The last batch that the twin's table covers, -1 for none; ``None`` without such a twin.

    A batch without input closes windows, and leaves the offsets as they were: by those alone a
    twin looks as if it were up to date.
    """
    handle = session.twin_table.open()
    claim = None if handle is None else _claim(session, handle.version())
    generation = session.store.queries.get(session.query.name)
    if claim is None or claim["generation"] != (generation.app_id if generation else ""):
        return None
    return int(claim["through_batch"])


def _verify(session: Session) -> Verification:
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
    record = None
    if through >= 0:
        record = session.store.batches.get(session.generation, through, with_files=False)
        if record is None or record.committed_at is None:
            return _cannot(
                f"the twin covers batch {through}, and this cursor store has not committed it: "
                "it is an older copy; run the query, which says what to do",
                offsets,
            )
    notes = [*json.loads(claim.get("notes", "[]"))]
    replayed = bool(json.loads(claim.get("replayed", "false")))
    # Run batch by batch, the twin had the batches' own time.
    if session.stream.where_is_volatile and not replayed:
        return _cannot("a where() depends on now(), so no reprocess can be equal", offsets)
    if notes:
        return _cannot("; ".join(notes), offsets, tuple(notes))
    notes += json.loads(claim.get("remarks", "[]"))
    volatile = () if replayed else session.stream.volatile_columns()
    if volatile:
        notes.append(f"columns that depend on now() are not compared: {', '.join(volatile)}")
    changes = generation.fingerprint.get("changes", []) if generation else []
    added = [name for change in changes for name in change["added_columns"]]
    if added:
        notes.append(f"columns added since are not compared: {', '.join(added)}")
    left_out = {*volatile, *added}
    incremental = _incremental(session, record)
    if incremental is None:
        return _cannot(
            "the version of the incremental table that holds this input is no longer in its log; "
            "run the twin again",
            offsets,
        )
    found = _compared(session, incremental, full, offsets, left_out, tuple(notes))
    if not session.is_plain:
        found = _with_late_rows(session, found, through, int(claim.get("late_rows", 0)))
    if found.outcome == "different" and changes:
        # Rows of before were computed by another declaration; only a reset makes them alike.
        when = "; ".join(
            f"after batch {change['after_batch']}: {', '.join(change['what'])}"
            for change in changes
        )
        return replace(
            found,
            outcome="not_comparable",
            reason=f"{found.reason}, and the declaration changed ({when}); "
            f"'headwater reset {session.query.name}' brings both together",
        )
    return found


def _compared(
    session: Session,
    incremental: Snapshot,
    full: Snapshot,
    offsets: dict[str, Any],
    left_out: set[str],
    notes: tuple[str, ...],
) -> Verification:
    columns = pa.schema([item for item in session.output_schema if item.name not in left_out])
    spool = session.settings.spool_dir
    gone = [
        f"version {snapshot.version} of the {name} table cannot be read any more: some of its "
        "files were deleted (vacuumed?); run the twin again"
        for name, table, snapshot in (
            ("incremental", session.sink_table, incremental),
            ("full-reprocess", session.twin_table, full),
        )
        if not is_complete(table, snapshot)
    ]
    if gone:
        return _cannot("; ".join(gone), offsets)
    with (
        local_files(session.sink_table, incremental, spool) as left,
        local_files(session.twin_table, full, spool) as right,
    ):
        found = session.engine.compare(
            left, right, columns, samples=_SAMPLES, close=summed_in(session)
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


def _with_late_rows(
    session: Session, found: Verification, through: int, wanted: int
) -> Verification:
    """The same, with what the late table lacks of the rows that it has to hold."""
    there = late_rows_through(session, through)
    if there == wanted:
        return found
    reason = (
        f"the table of late rows holds {there:,} rows of the batches up to {through}, "
        f"and they wrote {wanted:,}"
    )
    if found.outcome == "identical":
        return replace(found, outcome="different", reason=f"{found.reason}, but {reason}")
    return replace(found, reason=f"{found.reason}; {reason}")


def _incremental(session: Session, record: BatchRecord | None) -> Snapshot | None:
    """The table as it was when it held the input up to ``record``; ``None`` if that is gone."""
    table = session.sink_table
    handle = table.open()
    if handle is None:
        return _NOTHING
    newest = handle.transaction_version(session.generation.app_id)
    if newest is None or (record is not None and newest <= record.plan.batch_id):
        # No later batch of ours is in it: what others did to it since has to show.
        return read_snapshot(table, handle.version()) or _NOTHING
    if record is None:
        return _NOTHING
    version = record.progress.get("sink", {}).get("version")
    if version is None:  # no batch so far added a row, or a rebuilt store does not know the version
        version = last_version_through(table, session.generation.app_id, record.plan.batch_id)
    if version is None:
        through = session.store.batches.rows_through(session.generation, record.plan.batch_id)
        return _NOTHING if through == 0 else None
    try:
        return read_snapshot(table, version)
    except SinkUnavailable:
        if table.open() is None:
            raise
        return None  # the table is there; its log of then was cleaned up


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
