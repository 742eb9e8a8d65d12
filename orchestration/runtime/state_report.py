"""What a query keeps between its batches: how much, since when, and how many versions of it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestration.redaction import redact
from orchestration.runtime.event_time import instant
from orchestration.runtime.stateful import open_state
from orchestration.state.manifest import NEVER
from orchestration.streams.operators import Aggregate, DropDuplicates, WindowKey

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord
    from orchestration.runtime.session import Session
    from orchestration.state.manifest import OperatorState
    from orchestration.streams.plan import Chain

__all__ = ["OperatorReport", "StateReport", "state_report"]

_VERSION = re.compile(r"state/v(\d{10,})-[^/]*\.json")


@dataclass(frozen=True, slots=True)
class OperatorReport:
    """The state of one operator.

    Attributes:
        id: The operator.
        name: What it is: ``aggregate``, ``session``, ``drop_duplicates``, ``join``, ….
        rows: Groups, keys, sessions or rows that it keeps.
        bytes: Of its files.
        runs: Its files: sorted runs, merged as they grow in number.
        oldest_us: The oldest event time among what it keeps, microseconds since 1970; of windows
            the start of the oldest. ``None`` where that cannot be told from when it leaves.
        leaves_us: The watermark by which the first of it leaves; ``None``: nothing ever does.
    """

    id: str
    name: str
    rows: int
    bytes: int
    runs: int
    oldest_us: int | None
    leaves_us: int | None

    @property
    def oldest(self) -> str | None:
        """The oldest event time, ISO 8601 in UTC."""
        return None if self.oldest_us is None else instant(self.oldest_us)

    @property
    def leaves(self) -> str | None:
        """The watermark by which the first of it leaves, ISO 8601 in UTC."""
        return None if self.leaves_us is None else instant(self.leaves_us)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "oldest_event_time": self.oldest, "leaves_at": self.leaves}


@dataclass(frozen=True, slots=True)
class StateReport:
    """The state of a query after one batch.

    Attributes:
        batch_id: The last sealed batch; ``None`` before the first.
        watermark_ms: The watermark it used.
        operators: Each stateful operator.
        versions: Batches whose state is kept, to go back to: oldest and newest among them.
        oldest_version, newest_version: Their ends; ``None`` without any.
        place: The directory.
    """

    batch_id: int | None
    watermark_ms: int
    operators: tuple[OperatorReport, ...]
    versions: int
    oldest_version: int | None
    newest_version: int | None
    place: str

    @property
    def rows(self) -> int:
        """Rows of all operators."""
        return sum(item.rows for item in self.operators)

    @property
    def bytes(self) -> int:
        """Bytes of all operators."""
        return sum(item.bytes for item in self.operators)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "batch_id": self.batch_id,
            "watermark": instant(self.watermark_ms * 1000),
            "watermark_ms": self.watermark_ms,
            "rows": self.rows,
            "bytes": self.bytes,
            "operators": [item.to_json() for item in self.operators],
            "versions": self.versions,
            "oldest_version": self.oldest_version,
            "newest_version": self.newest_version,
            "place": self.place,
        }


def state_report(session: Session) -> StateReport | None:
    """What a query keeps; reads the newest manifest and a listing, and takes no lease.

    Returns:
        ``None`` for a query that keeps nothing between its batches.

    Raises:
        CursorStoreError: The manifest is gone or damaged.
        CursorStoreUnavailable: The store does not answer.
    """
    if session.query.is_plain:
        return None
    store = session.store
    generation = store.queries.get(session.query.name)
    known = session.bind(generation.input_schema if generation else None)
    chain = session.chain if known else None
    if chain is not None and not chain.stateful_ids():
        return None
    if generation is None:
        return StateReport(None, 0, (), 0, None, None, redact(session.state_place.uri))
    session.attach(generation)
    files = open_state(session)
    place = redact(f"{session.state_place.full_name(session.log.directory)}/state")
    last = store.batches.last(generation, with_files=False)
    if last is not None and last.seal is None:  # unfinished: the one before it is what is known
        number = last.plan.batch_id - 1
        last = store.batches.get(generation, number, with_files=False)
    if last is None or last.seal is None or last.seal.state is None:
        return StateReport(last.plan.batch_id if last else None, 0, (), 0, None, None, place)
    version = files.load(last.seal.state)
    numbers = sorted(int(match[1]) for name in files.names() if (match := _VERSION.fullmatch(name)))
    names = _names(last)
    return StateReport(
        batch_id=version.batch_id,
        watermark_ms=version.watermark_ms,
        operators=tuple(
            _operator(key, names.get(key, {}), state, chain)
            for key, state in version.operators.items()
        ),
        versions=len(numbers),
        oldest_version=numbers[0] if numbers else None,
        newest_version=numbers[-1] if numbers else None,
        place=place,
    )


def _names(last: BatchRecord) -> dict[str, dict[str, Any]]:
    """Operator id to what the batch's progress says of it."""
    progress = last.progress or (last.seal.progress if last.seal else {})
    return {str(item["id"]): item for item in progress.get("state_operators", ())}


def _operator(
    key: str, said: dict[str, Any], state: OperatorState, chain: Chain | None
) -> OperatorReport:
    leaves = said.get("next_close_us")
    if leaves is None:
        leaves = min((run.min_expiry for run in state.runs), default=None)
    if not state.rows or leaves is None or leaves >= NEVER:
        leaves = None
    return OperatorReport(
        id=key,
        name=str(said.get("name", "operator")),
        rows=state.rows,
        bytes=state.bytes,
        runs=len(state.runs),
        oldest_us=None if leaves is None else _oldest(key, int(leaves), chain),
        leaves_us=leaves,
    )


def _oldest(key: str, leaves_us: int, chain: Chain | None) -> int | None:
    """The event time of what leaves first, where the moment of leaving tells it."""
    for part in chain.walk() if chain is not None else ():
        for operator in part.operators:
            if isinstance(operator, Aggregate) and operator.id == key:
                for item in operator.keys:
                    if isinstance(item, WindowKey):
                        return leaves_us - item.length_us
                return leaves_us if operator.event_key is not None else None
            if isinstance(operator, DropDuplicates) and operator.id == key:
                if operator.within_us is not None:
                    return leaves_us - operator.within_us
                return leaves_us if operator.event_in_keys else None
    return None
