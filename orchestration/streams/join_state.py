"""How long each side of a join of two streams keeps its rows, and which of them are late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.errors import DeclarationError
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from orchestration.streams.join_conditions import Bound, Condition, Side
    from orchestration.streams.plan import JoinHow
    from orchestration.streams.scope import Scope
    from orchestration.streams.time_terms import EqualTime

__all__ = ["SideState", "sides_of", "timestamp_sql"]

#: Watermarks are whole milliseconds, so a row that must be *past* leaves one later.
_NEXT_MS = 1_000


@dataclass(frozen=True, slots=True)
class SideState:
    """One side's rows between batches; see :class:`orchestration.streams.plan.JoinSide`.

    Attributes:
        event_column, late, expiry: As there.
        lag_us: By how much event times among its rows may be behind the watermark.
    """

    event_column: str | None = None
    late: str | None = None
    expiry: str | None = None
    lag_us: int = 0


def sides_of(
    condition: Condition, left: Scope, right: Scope, how: JoinHow
) -> tuple[SideState, SideState]:
    """What a condition says of both sides.

    Raises:
        DeclarationError: Rows without a match have to be given, and nothing says when.
    """
    made = (
        _side("l", condition, left, right),
        _side("r", condition, right, left),
    )
    needed: dict[str, tuple[int, ...]] = {"left": (0,), "semi": (0,), "right": (1,), "full": (0, 1)}
    for number in needed.get(how, ()):
        if made[number].expiry is None:
            raise _unbounded(how, number)
    return made


def timestamp_sql(microseconds: str) -> str:
    """SQL that makes a TIMESTAMPTZ of microseconds since 1970."""
    return f"timezone('UTC', make_timestamp({microseconds}))"


def _side(side: Side, condition: Condition, own: Scope, other: Scope) -> SideState:
    equal = _equal(condition, side, own, other)
    bounds = [item for item in condition.bounds if item.side == side and _closes(other, item.other)]
    expiry, lag = None, 0
    if equal is not None and _closes(other, _column(equal, side, other=True)):
        expiry = _end_us(equal, side)
        # In the result a window stands for its rows; rows themselves are older than its end.
        lag = 0 if equal.window else equal.width_us
    elif bounds:
        expiry, lag = _last(bounds)
    if equal is not None and _closes(own, _column(equal, side)):
        column = _column(equal, side)
        late = timestamp_sql(_end_us(equal, side)) if equal.width_us else quote_identifier(column)
        return SideState(column, late, expiry, lag)
    in_bounds = [
        *(item.column for item in condition.bounds if item.side == side),
        *(item.other for item in condition.bounds if item.side != side),
    ]
    column_found = next((name for name in in_bounds if _closes(own, name)), None)
    if column_found is None and own.closing is not None:
        column_found = own.closing.name
    by_row = None if column_found is None else quote_identifier(column_found)
    return SideState(column_found, by_row, expiry, lag)


def _last(bounds: list[Bound]) -> tuple[str, int]:
    """When a row can match no more: the latest moment of all its bounds, as in Spark."""
    moments: dict[str, int] = {}
    lag = 0
    for item in bounds:
        offset = item.offset_us + (0 if item.strict else 1)
        moments[item.column] = max(offset, moments.get(item.column, offset))
        lag = max(lag, item.offset_us + (0 if item.strict else _NEXT_MS))
    texts = [f"epoch_us({quote_identifier(name)}) + {us}" for name, us in moments.items()]
    return texts[0] if len(texts) == 1 else f"greatest({', '.join(texts)})", lag


def _equal(condition: Condition, side: Side, own: Scope, other: Scope) -> EqualTime | None:
    """The key that is event time, on this side or on the other."""
    for item in condition.equal:
        if _closes(own, _column(item, side)) or _closes(other, _column(item, side, other=True)):
            return item
    return None


def _column(equal: EqualTime, side: Side, *, other: bool = False) -> str:
    return equal.left if (side == "l") != other else equal.right


def _end_us(equal: EqualTime, side: Side) -> str:
    start = equal.left_start_us if side == "l" else equal.right_start_us
    return f"{start} + {equal.width_us}" if equal.width_us else start


def _closes(scope: Scope, name: str) -> bool:
    time = scope.time(name)
    return time is not None and time.closes


def _unbounded(how: JoinHow, number: int) -> DeclarationError:
    this, other = ("left", "right") if number == 0 else ("right", "left")
    what = (
        "nothing says how long its rows are kept"
        if how == "semi"
        else f"a {this} row without a match is given once none can come, and nothing says when "
        "that is"
    )
    return DeclarationError(
        f"join(how={how!r}) of two streams: {what}",
        remedy=f"put a watermark on the {other} stream (.with_watermark before the join), and in "
        'on either a range of time, e.g. "k = k2 AND rt BETWEEN lt AND lt + INTERVAL 5 SECONDS", '
        'or equal windows, e.g. on=["k", window("ts", "10 seconds")]',
    )
