"""Where event time stands, for people: why a query gave nothing, and what it waits for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestration.runtime.event_time import closes_something, instant
from orchestration.state.watermarks import (
    EventTimePlan,
    EventTimeSeal,
    idle_inputs,
    input_watermark,
)
from orchestration.streams.operators import Aggregate, WindowKey, WithWatermark
from orchestration.streams.plan import SourceRoot

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord
    from orchestration.runtime.session import Session
    from orchestration.streams.plan import Chain

__all__ = ["WatermarkInput", "WatermarkReport", "watermark_report"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class WatermarkInput:
    """One place where event time is measured.

    Attributes:
        id: Of the ``with_watermark``.
        sources: Sources whose rows pass it.
        column: The event time.
        delay_seconds: How late its rows may be.
        maximum_us: The greatest event time seen, microseconds since 1970; ``None`` before the
            first row.
        watermark_ms: Its own watermark: the maximum less the delay; 0 before the first row.
        seen_at: Timestamp of the batch that last brought a row, ISO 8601.
        idle: Whether it is silent for so long that it holds nobody back.
        holds: Whether the query's watermark stands where it does because of this one.
        last_file: The file that its sources planned last, where they have files.
    """

    id: str
    sources: tuple[str, ...]
    column: str
    delay_seconds: float
    maximum_us: int | None
    watermark_ms: int
    seen_at: str | None
    idle: bool
    holds: bool
    last_file: str | None

    @property
    def maximum(self) -> str | None:
        """The greatest event time seen, ISO 8601 in UTC."""
        return None if self.maximum_us is None else instant(self.maximum_us)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **asdict(self),
            "maximum": self.maximum,
            "watermark": instant(self.watermark_ms * 1000),
        }


@dataclass(frozen=True, slots=True)
class WatermarkReport:
    """Where a query's event time stands.

    Attributes:
        batch_id: The last sealed batch; ``None`` before the first.
        watermark_ms: The watermark it used, milliseconds since 1970.
        next_watermark_ms: The one that the next batch will use.
        due: Whether a batch without data will close something at the next run.
        policy: ``min`` or ``max`` of the inputs.
        inputs: Each place where event time is measured.
        next_close_us: What of the state closes first: the watermark that does it, microseconds.
        closes: What that is, in words: ``window 14:00``; ``None`` where nothing is open.
        closing_event_time_us: The event time that does it, at the input that holds the watermark.
        state_rows: Rows of state.
        late_rows: Rows dropped as late so far.
        late_rows_last: Of these by the last batch.
        output_rows_last: Rows that the last batch gave.
        output_mode: The sink's.
    """

    batch_id: int | None
    watermark_ms: int
    next_watermark_ms: int
    due: bool
    policy: str
    inputs: tuple[WatermarkInput, ...]
    next_close_us: int | None
    closes: str | None
    closing_event_time_us: int | None
    state_rows: int
    late_rows: int
    late_rows_last: int
    output_rows_last: int
    output_mode: str

    @property
    def watermark(self) -> str:
        """The watermark of the last batch, ISO 8601 in UTC."""
        return instant(self.watermark_ms * 1000)

    @property
    def idle(self) -> tuple[WatermarkInput, ...]:
        """Inputs that are silent and hold nobody back."""
        return tuple(item for item in self.inputs if item.idle)

    @property
    def holding(self) -> WatermarkInput | None:
        """The input that holds the watermark where it is."""
        return next((item for item in self.inputs if item.holds), None)

    @property
    def sentence(self) -> str | None:
        """Why an append query whose last batch gave nothing gave nothing; else ``None``.

        ``0 rows: window 14:00 closes at event time 14:15; the watermark is 14:02``.
        """
        if self.output_mode != "append" or self.output_rows_last or self.batch_id is None:
            return None
        return f"0 rows: {self.explanation}" if self.explanation else None

    @property
    def explanation(self) -> str | None:
        """What is open, what closes it and where the watermark is; ``None``: nothing is open."""
        if self.closes is None or self.closing_event_time_us is None:
            return None
        silent = [item for item in self.inputs if item.maximum_us is None and not item.idle]
        if silent and self.watermark_ms == 0 and self.next_watermark_ms == 0:
            names = ", ".join(_called(item) for item in silent)
            return f"{self.closes} is open; there is no watermark yet, {names} gave no row"
        at, reached = self.closing_event_time_us, self.next_watermark_ms * 1000
        text = (
            f"{self.closes} closes at event time {_clock(at, reached)}; the watermark is "
            f"{_clock(reached, at)}"
        )
        holding = self.holding
        if holding is not None and len(self.inputs) > 1:
            text += f", held by {_called(holding)}"
        return text

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "inputs"}
        return {
            **plain,
            "watermark": self.watermark,
            "next_watermark": instant(self.next_watermark_ms * 1000),
            "next_close": None if self.next_close_us is None else instant(self.next_close_us),
            "closing_event_time": None
            if self.closing_event_time_us is None
            else instant(self.closing_event_time_us),
            "inputs": [item.to_json() for item in self.inputs],
            "idle": [item.id for item in self.idle],
            "held_by": self.holding.id if self.holding else None,
            "sentence": self.sentence,
        }


def watermark_report(session: Session) -> WatermarkReport | None:
    """Where a query's event time stands; reads the cursor store alone, and takes no lease.

    Returns:
        ``None`` for a query without a watermark, or whose columns are not known yet.
    """
    query, store = session.query, session.store
    if query.is_plain:
        return None
    generation = store.queries.get(query.name)
    if not session.bind(generation.input_schema if generation else None):
        return None
    chain = session.chain
    watermarks = chain.watermarks()
    if not watermarks:
        return None
    last = store.batches.last(generation, with_files=False) if generation else None
    if last is not None and last.seal is None:  # unfinished: the one before it is what is known
        number = last.plan.batch_id - 1
        last = store.batches.get(generation, number, with_files=False) if generation else None
    progress = _progress(last)
    details = progress.get("details", {})
    operators = progress.get("state_operators", ())
    inputs = _inputs(session, chain, watermarks, last)
    seal = EventTimeSeal.from_json(last.seal.event_time if last and last.seal else {})
    next_close, closes = _next_close(chain, operators, seal.next_watermark_ms * 1000)
    holding = next((item for item in inputs if item.holds), None)
    delay = holding.delay_seconds if holding else 0.0
    closing = None if next_close is None else next_close + round(delay * 1_000_000)
    return WatermarkReport(
        batch_id=last.plan.batch_id if last else None,
        watermark_ms=EventTimePlan.from_json(last.plan.event_time).watermark_ms if last else 0,
        next_watermark_ms=seal.next_watermark_ms,
        due=closes_something(query, chain, last, session.clock.now()),
        policy=query.watermark_policy,
        inputs=inputs,
        next_close_us=next_close,
        closes=closes,
        closing_event_time_us=closing,
        state_rows=sum(int(item.get("rows_total", 0)) for item in operators),
        late_rows=int(details.get("late_rows_total", 0)),
        late_rows_last=int(details.get("late_rows", 0)),
        output_rows_last=int(progress.get("sink", {}).get("num_output_rows", 0)),
        output_mode=query.sink.output_mode,
    )


def _progress(last: BatchRecord | None) -> dict[str, Any]:
    """The last batch's record: final, or as it was sealed."""
    if last is None:
        return {}
    return last.progress or (last.seal.progress if last.seal else {})


def _inputs(
    session: Session,
    chain: Chain,
    watermarks: tuple[WithWatermark, ...],
    last: BatchRecord | None,
) -> tuple[WatermarkInput, ...]:
    seal = EventTimeSeal.from_json(last.seal.event_time if last and last.seal else {})
    idle = idle_inputs(seal.seen_at, session.clock.now(), watermarks)
    own = {item.id: input_watermark(seal.maxima_us.get(item.id), item) for item in watermarks}
    counted = {key: value for key, value in own.items() if key not in idle} or own
    choose = min if session.query.watermark_policy == "min" else max
    holding = choose(counted, key=lambda key: counted[key])
    sources = _sources_of(chain)
    return tuple(
        WatermarkInput(
            id=item.id,
            sources=sources[item.id],
            column=item.column,
            delay_seconds=item.delay_us / 1_000_000,
            maximum_us=seal.maxima_us.get(item.id),
            watermark_ms=own[item.id],
            seen_at=seal.seen_at.get(item.id),
            idle=item.id in idle,
            holds=item.id == holding,
            last_file=_last_file(session, sources[item.id]),
        )
        for item in watermarks
    )


def _sources_of(chain: Chain) -> dict[str, tuple[str, ...]]:
    """Watermark id to the sources whose rows pass it."""
    return {
        operator.id: tuple(
            below.root.name for below in part.walk() if isinstance(below.root, SourceRoot)
        )
        for part in chain.walk()
        for operator in part.operators
        if isinstance(operator, WithWatermark)
    }


def _last_file(session: Session, sources: tuple[str, ...]) -> str | None:
    """The file that was planned last, of the last of the sources that has files."""
    generation = session.store.queries.get(session.query.name)
    if generation is None:
        return None
    for name in reversed(sources):
        count = session.store.ledger.count(generation, name)
        for entry in session.store.ledger.files(generation, name, count - 1, count):
            return session.sources[name].file_name(entry)
    return None


def _next_close(chain: Chain, operators: Any, reached: int) -> tuple[int | None, str | None]:
    """What of the state closes first: at which watermark, and what that is in words."""
    known = {
        operator.id: operator
        for part in chain.walk()
        for operator in part.operators
        if isinstance(operator, Aggregate)
    }
    open_ = [item for item in operators if item.get("next_close_us") is not None]
    if not open_:
        return None, None
    first = min(open_, key=lambda item: int(item["next_close_us"]))
    at = int(first["next_close_us"])
    aggregate = known.get(str(first["id"]))
    window = (
        next((key for key in aggregate.keys if isinstance(key, WindowKey)), None)
        if aggregate
        else None
    )
    if window is not None:
        return at, f"window {_clock(at - window.length_us, reached)}"
    return at, {"session": "a session", "aggregate": "a group"}.get(
        str(first.get("name")), "what is kept"
    )


def _called(item: WatermarkInput) -> str:
    return " and ".join(item.sources) or item.id


def _clock(us: int, beside: int) -> str:
    """``14:15``, with what it takes to be exact; with the date where ``beside`` is another day."""
    try:
        moment, other = _EPOCH + us * _MOMENT, _EPOCH + beside * _MOMENT
    except OverflowError:
        return instant(us)
    text = f"{moment:%H:%M}"
    if moment.microsecond:
        text = f"{moment:%H:%M:%S.%f}".rstrip("0")
    elif moment.second:
        text = f"{moment:%H:%M:%S}"
    return text if moment.date() == other.date() else f"{moment:%Y-%m-%d} {text}"
