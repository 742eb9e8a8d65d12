"""The columns of a join's result, and which of them are event time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import DeclarationError
from orchestration.streams.columns import Columns
from orchestration.streams.join_conditions import qualified
from orchestration.streams.join_state import SideState, timestamp_sql
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.scope import TIMESTAMPTZ, Scope, TimeColumn

if TYPE_CHECKING:
    from orchestration.streams.join_using import Using
    from orchestration.streams.plan import JoinHow

__all__ = ["condition_columns", "output_scope", "using_columns"]

_ONE_SIDED = ("semi", "anti")
_Named = tuple[tuple[str, str], ...]


def condition_columns(left: Columns, right: Columns, how: JoinHow) -> _Named:
    """All columns of the left side, then of the right.

    Raises:
        DeclarationError: A name is on both sides.
    """
    if how in _ONE_SIDED:
        return _side(left, "l")
    _check_double(left, right, set())
    return (*_side(left, "l"), *_side(right, "r"))


def using_columns(using: Using, left: Columns, right: Columns, how: JoinHow) -> _Named:
    """Keys once, then what else there is; a window in place of its column.

    Raises:
        DeclarationError: Another name is on both sides.
    """
    if how in _ONE_SIDED:
        return _side(left, "l")
    keys = {name.lower() for name in using.names}
    window = using.window
    hidden = set() if window is None else {window.left.lower(), window.right.lower()}
    _check_double(left, right, keys | hidden)
    made: list[tuple[str, str]] = []
    for name in left:
        if window is not None and name.lower() == window.left.lower():
            made += _window_columns(using, how)
        elif name.lower() in keys:
            other = next(item for item in right if item.lower() == name.lower())
            made.append((name, _once(_l(name), _r(other), how)))
        else:
            made.append((name, _l(name)))
    made += [(name, _r(name)) for name in right if name.lower() not in keys | hidden]
    if len({name.lower() for name, _ in made}) < len(made):
        raise DeclarationError(
            "join(on=window(...)): a side has a column window_start or window_end already",
            remedy='join the windows themselves: on=["window_start", "window_end"]',
        )
    return tuple(made)


def output_scope(
    base: Scope,
    columns: _Named,
    sides: tuple[Scope, Scope],
    states: tuple[SideState, SideState],
    using: Using | None,
    how: JoinHow,
) -> Scope:
    """What is known after a join.

    Event time stays event time where a side's rows do not stay for ever: else rows as old as
    one likes could come out, and all of them would be late for what follows.
    """
    left, right = sides
    keys = set() if using is None else {name.lower() for name in using.names}
    window = None if using is None else using.window
    items: list[tuple[str, pa.Field[Any] | None]] = []
    for name, text in columns:
        if window is not None and name in {"window_start", "window_end"} and "epoch_us" in text:
            items.append((name, pa.field(name, TIMESTAMPTZ)))
            continue
        own = left if text.startswith(("l.", "coalesce(")) else right
        known = own.columns.field_of(name) if own.columns and name in own.columns else None
        items.append((name, known))
    one_static, two_static = left.static, right.static
    kept_left = one_static or two_static or states[0].expiry is not None
    kept_right = one_static or two_static or states[1].expiry is not None
    times: list[TimeColumn] = []
    if window is not None and how not in _ONE_SIDED:
        delays = [
            item.delay_us for item in (left.time(window.left), right.time(window.right)) if item
        ]
        known_delays = [delay for delay in delays if delay is not None]
        if known_delays and (kept_left or kept_right):
            delay = max(known_delays)
            times += [
                TimeColumn("window_end", "window_end", delay),
                TimeColumn("window_start", "window_start", delay),
            ]
    of_left = [item for item in left.times if kept_left]
    of_right = [item for item in right.times if kept_right and how not in _ONE_SIDED]
    names = {name.lower() for name, _ in columns}
    for item in [*of_right, *of_left] if how == "right" else [*of_left, *of_right]:
        low = item.name.lower()
        if low in names and not any(found.name.lower() == low for found in times):
            double = item in of_right and low in {n.lower() for n in left.columns or ()}
            if not double or low in keys:
                times.append(item)
    return base.then(columns=Columns(tuple(items)), times=tuple(times))


def _side(columns: Columns, side: str) -> _Named:
    return tuple((name, f"{side}.{quote_identifier(name)}") for name in columns)


def _l(name: str) -> str:
    return f"l.{quote_identifier(name)}"


def _r(name: str) -> str:
    return f"r.{quote_identifier(name)}"


def _once(left: str, right: str, how: JoinHow) -> str:
    return f"coalesce({left}, {right})" if how in {"right", "full"} else left


def _window_columns(using: Using, how: JoinHow) -> list[tuple[str, str]]:
    window = using.window
    assert window is not None  # noqa: S101 - as called
    made = []
    for name, more in (("window_start", 0), ("window_end", window.width_us)):
        left = timestamp_sql(f"{qualified(window.left_start_us, 'l')} + {more}")
        right = timestamp_sql(f"{qualified(window.right_start_us, 'r')} + {more}")
        made.append((name, _once(left, right, how)))
    return made


def _check_double(left: Columns, right: Columns, taken: set[str]) -> None:
    lower = {name.lower() for name in left}
    double = [n for n in right if n.lower() in lower and n.lower() not in taken]
    if double:
        raise DeclarationError(
            f'join: both sides have a column "{double[0]}"'
            + (f" ({', '.join(double)})" if len(double) > 1 else ""),
            remedy=f"rename it on one side before the join: "
            f'.select("* EXCLUDE ({double[0]})", other_{double[0]}="{double[0]}"); a column that '
            f'has to be equal is named once with on=["{double[0]}"]',
        )
