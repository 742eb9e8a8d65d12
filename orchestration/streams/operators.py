"""The logical operators a stream is made of, in the order the user wrote them.

Times are microseconds since the epoch, lengths of time microseconds. Stateful operators and
watermarks have an ``id`` that is unique in the query: their state and maxima are kept under it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from orchestration.streams.change_spec import ChangeSpec

__all__ = [
    "SNAPSHOT",
    "Aggregate",
    "ApplyChanges",
    "ApplyWithState",
    "DropDuplicates",
    "ExpressionKey",
    "GroupKey",
    "Limit",
    "MapBatches",
    "Operator",
    "OrderBy",
    "Select",
    "SessionKey",
    "StatefulOperator",
    "StatelessOperator",
    "Where",
    "WindowKey",
    "WithWatermark",
]


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the rows for which an SQL condition is true."""

    expression: str


@dataclass(frozen=True, slots=True)
class Select:
    """Replace the columns by named SQL expressions, in this order."""

    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MapBatches:
    """Replace the rows of each Arrow table by what a function makes of them.

    Attributes:
        function: Called with tables of bounded size; has no say over where they are cut.
        schema: What it returns.
    """

    function: Callable[[pa.Table], pa.Table]
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class WithWatermark:
    """Measure event time here: rows pass unchanged.

    Attributes:
        id: Its maximum is kept under this.
        column: Event time, a timestamp.
        delay_us: How late rows may be.
        idle_timeout_us: Silence after which it stops holding others back; ``None`` for never.
        max_future_us: Rows further ahead of the batch's timestamp are set aside; ``None``: none.
    """

    id: str
    column: str
    delay_us: int
    idle_timeout_us: int | None = None
    max_future_us: int | None = None


@dataclass(frozen=True, slots=True)
class ExpressionKey:
    """Group by the value of an expression, as column ``name``."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class WindowKey:
    """Group by windows ``[start, start + length)``: columns ``window_start``, ``window_end``.

    Attributes:
        expression: Event time.
        length_us, slide_us, offset_us: ``0 < slide_us <= length_us``, ``|offset_us| < slide_us``.
    """

    expression: str
    length_us: int
    slide_us: int
    offset_us: int = 0


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Group by sessions: rows of one key no further apart than a gap.

    Attributes:
        expression: Event time.
        gap: SQL expression of type INTERVAL, or ``INTERVAL`` literal, evaluated for each row.
    """

    expression: str
    gap: str


GroupKey = ExpressionKey | WindowKey | SessionKey


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One row a group.

    Columns of the result: those of the keys in their order, then ``columns``.

    Attributes:
        id: Its state is kept under this.
        keys: At most one of them is a window or a session.
        columns: Name to SQL expression over aggregates and keys.
        event_key: Name of the :class:`ExpressionKey` that is raw event time with a watermark;
            ``None`` where there is none.
        watermarked: Whether groups close: a window, session or ``event_key`` over a column that
            has a watermark.
        event_column: The event-time column before it, ordering ``first`` and ``last``;
            ``None`` orders them by arrival.
    """

    id: str
    keys: tuple[GroupKey, ...]
    columns: tuple[tuple[str, str], ...]
    event_key: str | None = None
    watermarked: bool = False
    event_column: str | None = None


@dataclass(frozen=True, slots=True)
class DropDuplicates:
    """Keep the first row of each key.

    Attributes:
        id: Its state is kept under this.
        keys: Columns; all columns are spelled out.
        event_column: The watermarked column before it; ``None`` without one.
        event_in_keys: Whether it is among the keys: a key leaves the state with its time.
        within_us: The watermark's delay, for ``drop_duplicates_within_watermark``; else ``None``.
    """

    id: str
    keys: tuple[str, ...]
    event_column: str | None = None
    event_in_keys: bool = False
    within_us: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """The first ``count`` rows ever; of a complete result, its first rows."""

    id: str
    count: int


@dataclass(frozen=True, slots=True)
class OrderBy:
    """Order a complete result by SQL expressions, each perhaps with ``DESC``."""

    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyWithState:
    """A user's function for each key, with state of its own.

    Attributes:
        id: Its state is kept under this.
        function: ``(key: dict, rows: pa.Table, state: GroupState) -> pa.Table``.
        keys: Grouping columns.
        state_schema: Columns of a key's state.
        output_schema: What the function returns.
        timeout: ``event_time`` lets the function set a timeout by event time.
        event_column: The watermarked column before it; ``None`` without one.
    """

    id: str
    function: Callable[..., Any]
    keys: tuple[str, ...]
    state_schema: pa.Schema
    output_schema: pa.Schema
    timeout: str | None = None
    event_column: str | None = None


#: Column of ours that is true of the truncates that full snapshots are made of.
SNAPSHOT = "headwater_snapshot"


@dataclass(frozen=True, slots=True)
class ApplyChanges:
    """Apply each row, as a change, to the sink's table. The last operator of a plan.

    Attributes:
        id: Its memory is kept under this.
        spec: What the rows mean.
        left_out: SQL condition for rows that are no change of any key; ``None`` for none.
        retention_us: How long memory is kept after the batch that made it; ``None`` for ever.
        snapshots: Rows of one sequence are all there is at that time: what a row's key is not
            among is gone. One truncate of each sequence is added, as :data:`SNAPSHOT` says.
    """

    id: str
    spec: ChangeSpec
    left_out: str | None = None
    retention_us: int | None = None
    snapshots: bool = False


StatelessOperator = Where | Select | MapBatches
StatefulOperator = Aggregate | DropDuplicates | Limit | ApplyWithState
Operator = StatelessOperator | WithWatermark | StatefulOperator | OrderBy | ApplyChanges
