"""Where a query stands and what it has cost, from the cursor store alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from orchestration.runtime.progress import BatchProgress
from orchestration.runtime.session import Session, table_uri
from orchestration.sources.delta_standing import standing

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord

__all__ = ["CostPanel", "QueryStatus", "costs", "history", "status"]

State = Literal["never run", "running", "idle", "unfinished", "blocked", "resetting"]


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """Where a query stands.

    Attributes:
        name: The query.
        state: ``unfinished`` after a crash (the next run goes on), ``blocked`` when a person
            has to choose.
        batches, rows, rows_quarantined, files: Committed in this generation.
        last_batch_id, last_batch_at: The newest batch.
        last_error: Of the batch in hand.
        holder: Who runs it, where somebody does.
        generation: Counts resets from 1; 0 before the first run.
        tables: Role to URI.
        input_schema: As it was inferred; ``None`` where it is declared.
        followed: Source that is a Delta table to where in it the last batch got.
    """

    name: str
    state: State
    batches: int
    rows: int
    rows_quarantined: int
    files: int
    last_batch_id: int | None
    last_batch_at: datetime | None
    last_error: str | None
    holder: str | None
    generation: int
    tables: dict[str, str]
    input_schema: dict[str, str] | None
    followed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The status as JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in ((name, getattr(self, name)) for name in self.__slots__)
        }


@dataclass(frozen=True, slots=True)
class CostPanel:
    """What keeping a table current costs, incrementally and by full reprocess; all measured.

    Attributes:
        runs, rows, bytes, seconds: All incremental runs of this generation together.
        last_rows, last_bytes, last_seconds: The newest incremental run that did anything.
        full_runs, full_rows, full_bytes, full_seconds: All full reprocesses together.
        last_full_rows, last_full_bytes, last_full_seconds: The newest full reprocess.
        rows_if_full: Rows that full reprocesses would have read instead of the incremental runs,
            one after each of them: counted from the ledger's sums, not estimated.
    """

    runs: int
    rows: int
    bytes: int
    seconds: float
    last_rows: int
    last_bytes: int
    last_seconds: float
    full_runs: int
    full_rows: int
    full_bytes: int
    full_seconds: float
    last_full_rows: int
    last_full_bytes: int
    last_full_seconds: float
    rows_if_full: int

    @property
    def times_cheaper(self) -> float | None:
        """Seconds of the last full reprocess over those of the last incremental run."""
        if not self.full_runs or not self.runs or self.last_seconds <= 0:
            return None
        return round(self.last_full_seconds / self.last_seconds, 2)

    @property
    def times_fewer_rows(self) -> float | None:
        """Rows that full reprocesses would have read, over those that were read."""
        return round(self.rows_if_full / self.rows, 2) if self.rows else None

    def to_json(self) -> dict[str, Any]:
        """The panel as JSON."""
        panel: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {
            **panel,
            "times_cheaper": self.times_cheaper,
            "times_fewer_rows": self.times_fewer_rows,
        }


def status(session: Session) -> QueryStatus:
    """Where the query stands; reads the cursor store only, and takes no lease."""
    name, store = session.query.name, session.store
    generation = store.queries.get(name)
    holder = store.leases.holder(name)
    sink = session.query.sink
    tables = {
        "sink": table_uri(session.settings, sink, "sink"),
        "quarantine": table_uri(session.settings, sink, "quarantine"),
        "full": table_uri(session.settings, sink, "twin"),
    }
    if not session.is_plain:
        tables["late"] = table_uri(session.settings, sink, "late")
    if generation is None:
        return QueryStatus(name, "never run", 0, 0, 0, 0, None, None, None, None, 0, tables, None)
    last = store.batches.last(generation, with_files=False)
    totals = store.batches.totals(generation)
    return QueryStatus(
        name=name,
        state=_state(last, generation.status, running=holder is not None),
        batches=int(totals["batches"]),
        rows=int(totals["rows_out"]),
        rows_quarantined=int(totals["rows_quarantined"]),
        files=int(totals["files"]),
        last_batch_id=last.plan.batch_id if last else None,
        last_batch_at=last.plan.timestamp if last else None,
        last_error=last.last_error if last and last.committed_at is None else None,
        holder=str(holder) if holder else None,
        generation=generation.number,
        tables=tables,
        input_schema=generation.input_schema,
        followed=_followed(last) if last else {},
    )


def _followed(last: BatchRecord) -> dict[str, str]:
    places = {part.source: standing(part.end, part.latest) for part in last.plan.slices}
    return {name: place for name, place in places.items() if place is not None}


def history(session: Session, limit: int | None = None) -> list[BatchProgress]:
    """Progress of the committed batches, the newest first."""
    generation = session.store.queries.get(session.query.name)
    if generation is None:
        return []
    records = session.store.batches.history(generation, limit)
    return [BatchProgress.from_json(item.progress) for item in records if item.committed_at]


def costs(session: Session) -> CostPanel:
    """What the query and its twin have cost so far."""
    store, name = session.store, session.query.name
    generation = session.store.queries.get(name)
    runs = store.batches.runs(generation) if generation else []
    full = store.costs.reprocesses(name)
    read = 0
    rows_if_full = 0
    for run in reversed(runs):
        read += run.rows
        rows_if_full += read
    newest = next((run for run in runs if run.rows), None)
    last_full = full[0] if full else None
    return CostPanel(
        runs=len(runs),
        rows=sum(run.rows for run in runs),
        bytes=sum(run.bytes for run in runs),
        seconds=round(sum(run.seconds for run in runs), 3),
        last_rows=newest.rows if newest else 0,
        last_bytes=newest.bytes if newest else 0,
        last_seconds=round(newest.seconds, 3) if newest else 0.0,
        full_runs=len(full),
        full_rows=sum(item.rows for item in full),
        full_bytes=sum(item.bytes for item in full),
        full_seconds=round(sum(item.seconds for item in full), 3),
        last_full_rows=last_full.rows if last_full else 0,
        last_full_bytes=last_full.bytes if last_full else 0,
        last_full_seconds=round(last_full.seconds, 3) if last_full else 0.0,
        rows_if_full=rows_if_full,
    )


def _state(last: BatchRecord | None, generation: str, *, running: bool) -> State:
    if running:
        return "running"
    if generation == "resetting":
        return "resetting"
    if last is not None and last.committed_at is None:
        return "blocked" if last.blocked else "unfinished"
    return "idle"
