"""Incremental = full: when it is proved, and what the check says of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from orchestration.clock import SystemClock
from orchestration.defs.looking import clock_time
from orchestration.errors import QueryAlreadyRunning
from orchestration.redaction import redact
from orchestration.runtime.twin import reprocess, twin_name
from orchestration.runtime.verify import covered_batch, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from orchestration.cursors.costs import Verification as Remembered
    from orchestration.defs.options import VerifyPolicy
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.session import Session
    from orchestration.runtime.twin import Reprocessed
    from orchestration.runtime.verify import Verification

__all__ = ["Proof", "prove", "prove_if_due", "prove_patiently"]

_LONGEST_WAIT_SECONDS = 3600.0
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What the check shows.

    Attributes:
        passed: Whether the two tables are proved equal.
        severity: ``WARN`` where nothing is wrong, but nothing is proved either.
        description: One or two sentences.
        metadata: Counts, versions, offsets, and rows that differ.
        reprocessed: The full reprocess that was run for it.
    """

    passed: bool
    severity: Literal["ERROR", "WARN"]
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    reprocessed: Reprocessed | None = None

    def result(self, asset_key: dg.AssetKey, check_name: str) -> dg.AssetCheckResult:
        """For the asset that declares the check."""
        return dg.AssetCheckResult(
            passed=self.passed,
            asset_key=asset_key,
            check_name=check_name,
            severity=dg.AssetCheckSeverity[self.severity],
            description=self.description,
            metadata=self.metadata,
        )

    def evaluation(self, asset_key: dg.AssetKey, check_name: str) -> dg.AssetCheckEvaluation:
        """For another asset's page."""
        return dg.AssetCheckEvaluation(
            asset_key,
            check_name,
            passed=self.passed,
            severity=dg.AssetCheckSeverity[self.severity],
            description=self.description,
            metadata=self.metadata,
        )


def prove(session: Session, *, reprocess_always: bool = False) -> Proof:
    """Compare the tables; run the twin first where it is behind.

    Raises:
        QueryAlreadyRunning: Another full reprocess of the query runs.
    """
    done = None
    if reprocess_always or not _is_current(session):
        done = reprocess(session)
    found = verify(session)
    if found.outcome == "not_comparable" and done is None:
        done = reprocess(session)
        found = verify(session)
    return Proof(
        found.passed,
        "WARN" if found.outcome == "not_comparable" else "ERROR",
        _describe(session, found),
        _metadata(found),
        done,
    )


def prove_patiently(
    query: StreamingQuery, say: Callable[[str], None], *, reprocess_always: bool = False
) -> Proof:
    """Prove it, after waiting for another full reprocess where one runs.

    Args:
        query: The query.
        say: Told once that there is something to wait for.
        reprocess_always: Run the twin even where it is not behind.

    Raises:
        QueryAlreadyRunning: The other one did not end within an hour.
    """
    clock, never = SystemClock(), threading.Event()
    give_up = clock.monotonic() + _LONGEST_WAIT_SECONDS
    told = False
    while True:
        try:
            with query.open() as session:
                return prove(session, reprocess_always=reprocess_always)
        except QueryAlreadyRunning as error:
            if clock.monotonic() >= give_up:
                raise
            if not told:
                told = True
                say(f"waiting for another reprocess: {redact(str(error.args[0]))}")
        clock.wait(never, _PAUSE_SECONDS)


def prove_if_due(session: Session, policy: VerifyPolicy) -> Proof:
    """Prove it now where the policy says so, else tell how far it was proved."""
    generation = session.store.queries.get(session.query.name)
    total = int(session.store.batches.totals(generation)["bytes"]) if generation else 0
    if policy.allows(total):
        try:
            return prove(session)
        except QueryAlreadyRunning as error:
            return _standing(session, str(error.args[0]))
    if policy.up_to_bytes < 0:
        return _standing(session, "this run does not verify")
    return _standing(
        session,
        f"the input is {total:,} bytes, above the {policy.up_to_bytes:,.0f} up to which every run "
        "verifies",
    )


def _is_current(session: Session) -> bool:
    """Whether the newest full reprocess read as far as the incremental table goes."""
    generation = session.store.queries.get(session.query.name)
    newest = session.store.costs.reprocesses(session.query.name, 1)
    if generation is None or not newest:
        return False
    last = session.store.batches.last(generation, with_files=False)
    if last is not None and last.committed_at is None:
        number = last.plan.batch_id - 1
        last = (
            session.store.batches.get(generation, number, with_files=False) if number >= 0 else None
        )
    ends = {part.source: part.end for part in last.plan.slices} if last is not None else {}
    if newest[0].offsets != {name: ends.get(name, {}) for name in session.sources}:
        return False
    through = last.plan.batch_id if last is not None else -1
    return session.is_plain or covered_batch(session) == through


def _standing(session: Session, why_not: str) -> Proof:
    """What was found last, and how far it went."""
    name = session.query.name
    advice = f"materialize {twin_name(name)} (or 'headwater verify {name}') to prove it"
    last = session.store.costs.latest_verification(name)
    generation = session.store.queries.get(name)
    if last is None or (generation and last.detail.get("generation") != generation.app_id):
        return Proof(False, "WARN", f"Not verified yet: {why_not}; {advice}.")
    at = clock_time(last.checked_at, session.clock.now())
    described = (
        f"{last.detail.get('reason', last.verdict)} (verified {at} UTC, up to "
        f"{_position(last.offsets)})"
    )
    behind = _batches_behind(session, last)
    if behind:
        batches = "1 batch" if behind == 1 else f"{behind:,} batches"
        described += f"; {batches} came since: {why_not}; {advice}"
    return Proof(
        last.verdict == "equal",
        "WARN" if last.verdict == "not comparable" else "ERROR",
        described[:1].upper() + described[1:] + ".",
        {
            "verified_at": dg.MetadataValue.timestamp(last.checked_at),
            "verified_offsets": last.offsets,
            "batches_since": behind,
        },
    )


def _position(offsets: dict[str, Any]) -> str:
    """``55 files``: how far the sources went, in words."""
    parts = [f"{end:,} {unit}" for at in offsets.values() for unit, end in at.items()]
    return " and ".join(parts) or "the beginning"


def _batches_behind(session: Session, last: Remembered) -> int:
    generation = session.store.queries.get(session.query.name)
    if generation is None:
        return 0
    through = int(last.detail.get("batches", 0))
    return max(0, int(session.store.batches.totals(generation)["batches"]) - through)


def _describe(session: Session, found: Verification) -> str:
    reason = found.reason[:1].upper() + found.reason[1:]
    if found.outcome == "identical":
        return f"{reason}."
    if found.outcome == "different":
        return (
            f"{reason}. Another writer may have changed the table; "
            f"'headwater reset {session.query.name}' fills it anew from the input."
        )
    return f"Not comparable: {found.reason}."


def _metadata(found: Verification) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "outcome": found.outcome.replace("_", " "),
        "incremental_rows": found.incremental_rows,
        "full_rows": found.full_rows,
        "only_incremental": found.only_incremental,
        "only_full": found.only_full,
        "offsets": found.offsets,
    }
    if found.incremental_version is not None:
        metadata["incremental_version"] = found.incremental_version
    if found.full_version is not None:
        metadata["full_version"] = found.full_version
    if found.notes:
        metadata["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in found.notes))
    for name, rows in (
        ("only_in_incremental", found.samples_incremental),
        ("only_in_full", found.samples_full),
    ):
        if rows is not None and rows.num_rows:
            metadata[name] = _rows(rows)
    return metadata


def _rows(rows: pa.Table) -> dg.TableMetadataValue:
    from orchestration.defs.facts import plain
    from orchestration.streams.schema import schema_to_json

    columns = [dg.TableColumn(name, kind) for name, kind in schema_to_json(rows.schema).items()]
    records = [
        dg.TableRecord({name: plain(value) for name, value in row.items()})
        for row in rows.to_pylist()
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))
