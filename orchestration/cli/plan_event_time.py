"""What ``headwater plan`` says of event time and state: the watermark, what is kept, and warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestration.cli.event_time import instant
from orchestration.cli.words import details
from orchestration.runtime.waiting import Waiting, waiting
from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.modes import check_output_mode
from orchestration.streams.operators import Aggregate
from orchestration.streams.windows import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from orchestration.runtime.session import Session
    from orchestration.streams.operators import ApplyChanges
    from orchestration.streams.plan import Chain

__all__ = ["PlannedEventTime", "planned_event_time", "show_event_time"]

_KEPT = {
    "numbers": "a few numbers a group",
    "row": "one value a group",
    "sketch": "a sketch of fixed size a group",
    "values": "ALL VALUES of a group, or each different one",
}


@dataclass(frozen=True, slots=True)
class AggregateState:
    """What one aggregate keeps of a group between batches.

    Attributes:
        operator: Id of the aggregation.
        aggregate: As it is computed.
        state: ``numbers``, ``row``, ``sketch`` or ``values``.
    """

    operator: str
    aggregate: str
    state: str


@dataclass(frozen=True, slots=True)
class PlannedEventTime:
    """What there is to know of event time and state before a run.

    Attributes:
        output_mode: The sink's.
        aggregates: Each with what it keeps; equal ones once.
        held: Where event time stands, and what is held back; ``None`` without a watermark.
        warnings: What works, but not for ever.
        changes: What the rows mean, where they are changes.
    """

    output_mode: str
    aggregates: tuple[AggregateState, ...]
    held: Waiting | None
    warnings: tuple[str, ...]
    changes: ApplyChanges | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "output_mode": self.output_mode,
            "aggregates": [asdict(item) for item in self.aggregates],
            "watermark": None if self.held is None else self.held.report.to_json(),
            "waiting_for": None if self.held is None else self.held.sentence,
            "warnings": list(self.warnings),
            "changes": None if self.changes is None else dict(_said(self.changes)),
        }


def planned_event_time(session: Session) -> PlannedEventTime | None:
    """What a plan says of event time and state.

    Returns:
        ``None`` for a query that knows neither, or whose columns are not known yet.
    """
    query = session.query
    if query.is_plain or not session.bound:
        return None
    return PlannedEventTime(
        query.sink.mode,
        tuple(dict.fromkeys(_aggregates(session.chain))),
        waiting(session),
        check_output_mode(session.chain, query.sink.output_mode),
        session.changes,
    )


def show_event_time(console: Console, found: PlannedEventTime) -> None:
    """Say it."""
    lines: list[tuple[str, str]] = [("output mode", found.output_mode)]
    report = found.held.report if found.held is not None else None
    if found.changes is not None:
        lines += _said(found.changes)
    if found.changes is not None and report is None:
        pass  # nobody expects one
    elif found.held is None or report is None:
        lines.append(("watermark", "none: no row is late, and nothing closes"))
    elif report.batch_id is None:
        lines.append(("watermark", "none yet: no batch ran"))
    else:
        lines.append(("watermark", instant(report.next_watermark_ms * 1000)))
        if found.held.sentence:
            lines.append(("open", found.held.sentence))
        if report.due:
            lines.append(("due", "a batch without data, which closes what the watermark passed"))
    lines += [(f"keeps for {item.aggregate}", _KEPT[item.state]) for item in found.aggregates]
    console.print(details(lines))
    for warning in found.warnings:
        console.print(f"  warning: {warning}", style="yellow")


def _said(changes: ApplyChanges) -> list[tuple[str, str]]:
    """What each row means, and what is remembered of it."""
    spec = changes.spec
    lines = [
        ("each row is", f"a change of the row with its {', '.join(spec.keys)}"),
        ("newest by", spec.sequence),
    ]
    if spec.delete_when is not None:
        how = "deletes" if spec.soft_delete is None else f"sets {spec.soft_delete}"
        lines.append((how, f"where {spec.delete_when}"))
    if changes.snapshots:
        lines.append(("deletes what is gone", "each sequence is a full snapshot"))
    elif spec.truncate_when is not None:
        lines.append(("deletes all older", f"where {spec.truncate_when}"))
    if changes.left_out is not None:
        lines.append(("is left out", f"where {changes.left_out}"))
    if spec.ignore_null_updates:
        lines.append(("null is as before", f"in {', '.join(spec.ignore_null_updates)}"))
    if spec.scd_type == 2:
        lines.append(("history begins with", f"a change of {', '.join(spec.tracked) or 'nothing'}"))
    kept = "for ever"
    if changes.retention_us is not None:
        kept = f"for {duration_text(changes.retention_us)} after their batch"
    lines.append(("remembers", f"deleted keys, and which change gave which cell, {kept}"))
    return lines


def _aggregates(chain: Chain) -> Iterator[AggregateState]:
    for part in chain.walk():
        for operator in part.operators:
            if isinstance(operator, Aggregate):
                for _, text in operator.columns:
                    for call in parse_aggregate(text).calls:
                        yield AggregateState(operator.id, str(call), call.state)
