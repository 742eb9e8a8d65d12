"""``on=["k", window("ts", "10 seconds")]``: keys that both sides have under one name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.errors import DeclarationError, ExpressionError
from orchestration.streams.join_conditions import Condition
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.scope import Scope, bare_column, check_time, column_name
from orchestration.streams.time_terms import EqualTime, window_start_us
from orchestration.streams.windows import Window, WindowTime

if TYPE_CHECKING:
    from orchestration.streams.columns import Columns

__all__ = ["Using", "check_on", "read_using"]


@dataclass(frozen=True, slots=True)
class Using:
    """Keys of one name on both sides.

    Attributes:
        condition: The same as a condition.
        names: Keys as the left side spells them, that stand once in the result.
        window: Column that a window stands for in the result; ``None`` without one.
    """

    condition: Condition
    names: tuple[str, ...]
    window: EqualTime | None


def check_on(on: object) -> str | tuple[str | Window, ...]:
    """A condition, or the keys of one name.

    Raises:
        DeclarationError: It is neither.
    """
    if isinstance(on, Window):
        return (on,)
    if isinstance(on, str) and on.strip():
        return on if bare_column(on) is None else (on,)
    if isinstance(on, list | tuple) and on and all(isinstance(k, str | Window) for k in on):
        keys = tuple(on)
        if sum(isinstance(key, Window) for key in keys) > 1:
            raise DeclarationError(
                "join(on=...): two windows stand among the keys", remedy="keep one of them"
            )
        wrong = next((k for k in keys if isinstance(k, str) and bare_column(k) is None), None)
        if wrong is not None:
            raise DeclarationError(
                f"join(on=[{wrong!r}, ...]): in a list stand columns that both sides have, and "
                "this is an expression",
                remedy='write one condition: on="left.a = right.a AND b < c"',
            )
        return keys
    raise DeclarationError(
        f"join(on={on!r}): nothing says which rows match",
        remedy='write on="page", on=["page", "day"], or a condition: on="page = shown_page"',
    )


def read_using(keys: tuple[str | Window, ...], left: Scope, right: Scope) -> Using:
    """Keys over columns that are known.

    Raises:
        ExpressionError: A side has no such column.
    """
    if left.columns is None or right.columns is None:
        raise ExpressionError("join(on=...): columns are not known", remedy="declare the schema")
    names: list[str] = []
    pairs: list[tuple[str, str]] = []
    equal: list[EqualTime] = []
    for key in keys:
        if isinstance(key, Window):
            time = _window(key, left, right)
            equal.append(time)
            pairs.append((time.left_start_us, time.right_start_us))
            continue
        one = _column(key, left.columns, "left")
        two = _column(key, right.columns, "right")
        names.append(one)
        pairs.append((quote_identifier(one), quote_identifier(two)))
        first, second = (f"epoch_us({text})" for text in pairs[-1])
        equal.append(EqualTime(one, two, first, second))
    window = next((item for item in equal if item.window), None)
    condition = Condition(
        tuple(one for one, _ in pairs),
        tuple(two for _, two in pairs),
        None,
        tuple(equal),
        (),
        nonnull_left=tuple(item.left for item in equal),
        nonnull_right=tuple(item.right for item in equal),
    )
    return Using(condition, tuple(names), window)


def _column(key: str, columns: Columns, side: str) -> str:
    try:
        return column_name(key, columns, "join(on=", instead="write a condition")
    except ExpressionError as error:
        raise ExpressionError(
            f"{error.args[0]} (the {side} side)",
            remedy='where the columns have two names, write a condition: on="page = shown_page"',
        ) from None


def _window(key: Window, left: Scope, right: Scope) -> EqualTime:
    if key.slide_us != key.length_us:
        raise DeclarationError(
            f"join(on={key!r}): with a slide a row is in several windows, and which are equal is "
            "not one value",
            remedy="leave the slide out; or write a range of time: "
            '"rt BETWEEN lt AND lt + INTERVAL 5 SECONDS"',
        )
    columns = []
    for scope, side in ((left, "left"), (right, "right")):
        if isinstance(key.time, WindowTime):
            raise DeclarationError(
                "join(on=window(window_time(), ...)): windows are joined by their columns",
                remedy='write on=["window_start", "window_end"]',
            )
        assert scope.columns is not None  # noqa: S101 - the caller has made sure
        name = _column(key.time, scope.columns, side)
        check_time(quote_identifier(name), scope, "join(on=window(")
        columns.append(name)
    left_start, right_start = (
        window_start_us(name, key.length_us, key.offset_us) for name in columns
    )
    return EqualTime(columns[0], columns[1], left_start, right_start, key.length_us, window=True)
