"""``group_by(...).agg(...)`` as it was written, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import DeclarationError, ExpressionError, SchemaError
from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import check_parsed
from orchestration.streams.operators import Aggregate, ExpressionKey, SessionKey, WindowKey
from orchestration.streams.parsing import parse_expression, shown
from orchestration.streams.references import check_reference, plain_reference
from orchestration.streams.schema import check_names
from orchestration.streams.scope import TIMESTAMPTZ, Scope, TimeColumn, bare_column
from orchestration.streams.windows import SessionWindow, Window, WindowTime

if TYPE_CHECKING:
    from orchestration.streams.operators import GroupKey

__all__ = ["AggregateStep", "Keys", "grouping_keys"]

WINDOW_COLUMNS = ("window_start", "window_end")


@dataclass(frozen=True, slots=True)
class Keys:
    """Grouping keys as they were written.

    Attributes:
        positional: Windows and expressions; ``"page"``, ``"lower(page) AS page"``.
        named: Name to expression.
    """

    positional: tuple[str | Window | SessionWindow, ...] = ()
    named: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return ", ".join([*map(repr, self.positional), *(f"{n}={t!r}" for n, t in self.named)])


@dataclass(frozen=True, slots=True)
class AggregateStep:
    """An aggregation as it was written.

    Attributes:
        keys: What it groups by.
        columns: Name to expression over aggregates.
    """

    keys: Keys
    columns: tuple[tuple[str, str], ...]

    def resolve(self, scope: Scope) -> tuple[Aggregate, Scope]:
        """The operator, and what is known after it.

        Raises:
            ExpressionError: A key or an aggregate is wrong.
        """
        keys = grouping_keys(self.keys, scope)
        names = _key_columns(keys)
        columns = tuple((name, _aggregate(name, text, scope, names)) for name, text in self.columns)
        try:
            check_names([*names, *(name for name, _ in columns)])
        except SchemaError as error:
            raise ExpressionError(
                f"agg: {error.args[0]}",
                remedy='give a key another name in group_by (name="expression"), or the '
                'aggregate: agg(name="...")',
            ) from None
        window = next((key for key in keys if not isinstance(key, ExpressionKey)), None)
        closing = self._closing(scope)
        event_key = None if window is not None else _event_key(keys, scope)
        closes = closing is not None if window is not None else event_key is not None
        operator = Aggregate(
            "",
            keys,
            columns,
            event_key,
            closes,
            None if scope.closing is None else scope.closing.name,
        )
        return operator, self._after(operator, closing, scope)

    def _closing(self, scope: Scope) -> TimeColumn | None:
        """The column whose watermark closes the window among the keys."""
        window = next((key for key in self.keys.positional if not isinstance(key, str)), None)
        if window is None:
            return None
        if isinstance(window.time, WindowTime):
            found = scope.window_end
        elif scope.columns is not None and window.time in scope.columns:
            found = scope.time(window.time)
        else:
            found = scope.time(bare_column(window.time))
        return found if found is not None and found.closes else None

    def _after(self, operator: Aggregate, closing: TimeColumn | None, scope: Scope) -> Scope:
        items: list[tuple[str, pa.Field[Any] | None]] = []
        times: list[TimeColumn] = []
        for key in operator.keys:
            if not isinstance(key, ExpressionKey):
                items += [(name, pa.field(name, TIMESTAMPTZ)) for name in WINDOW_COLUMNS]
                delay = None if closing is None else closing.delay_us
                times = [
                    TimeColumn("window_end", "window_end", delay),
                    TimeColumn("window_start", "window_start", delay),
                    *times,
                ]
                continue
            items.append((key.name, _field(key, scope)))
            time = scope.time(bare_column(key.expression))
            if time is not None:
                times.append(TimeColumn(key.name, time.kind, time.delay_us))
        if operator.event_key is None:
            # Groups close by their window, or never: a moment of their rows says nothing then.
            times = [item for item in times if item.kind != "time"]
        items += [(name, None) for name, _ in operator.columns]
        return Scope(
            Columns(tuple(items)),
            tuple(times),
            stateful=(*scope.stateful, "aggregate"),
            measured=scope.measured,
            static=scope.static,
        )


def grouping_keys(keys: Keys, scope: Scope) -> tuple[GroupKey, ...]:
    """Grouping keys over the columns there are.

    Raises:
        ExpressionError: A key is wrong or nameless.
        DeclarationError: There are two windows, or a session and no other key.
    """
    made: list[GroupKey] = []
    for key in keys.positional:
        if isinstance(key, Window | SessionWindow):
            made.append(key.resolve(scope))
        elif isinstance(key, WindowTime):
            raise DeclarationError(
                "group_by(window_time()): a moment alone makes a group of each window",
                remedy='write group_by("window_start", "window_end"), or '
                'window(window_time(), "1 hour")',
            )
        else:
            made.append(_positional(key, scope))
    made += [_named(name, text, scope) for name, text in keys.named]
    windows = [key for key in made if not isinstance(key, ExpressionKey)]
    if len(windows) > 1:
        raise DeclarationError(
            "group_by: two windows stand among the keys, and a group has one",
            remedy="aggregate over one window, then over another: "
            ".group_by(window(...)).agg(...).group_by(window(window_time(), ...)).agg(...)",
        )
    if any(isinstance(key, SessionKey) for key in windows) and len(made) == 1:
        raise DeclarationError(
            "group_by(session_window(...)): sessions need a key that they belong to",
            remedy='name it: group_by(session_window("ts", "30 minutes"), "user_id")',
        )
    return tuple(made)


def _positional(key: object, scope: Scope) -> ExpressionKey:
    from sqlglot import exp

    if isinstance(key, str) and scope.columns is not None and key in scope.columns:
        name = next(item for item in scope.columns if item.lower() == key.lower())
        from orchestration.streams.quoting import quote_identifier

        return ExpressionKey(name, quote_identifier(name))
    parsed = parse_expression(key, "group_by")
    where = shown("group_by", key)
    check_parsed(parsed, scope.columns, where)
    if isinstance(parsed.tree, exp.Alias):
        return ExpressionKey(parsed.tree.alias, parsed.text[: parsed.alias_cut])
    reference = plain_reference(parsed.tree)
    if reference is None:
        if isinstance(parsed.tree, exp.Literal):
            raise ExpressionError(
                f"{where}: a constant puts all rows into one group",
                remedy="leave it out; group_by() without keys is one group",
            )
        raise ExpressionError(
            f"{where}: the key has no name",
            remedy=f'name it: group_by(name="{parsed.text}")',
        )
    name = reference.parts[-1]
    if scope.columns is not None and len(reference.parts) == 1:
        name = next(item for item in scope.columns if item.lower() == name.lower())
    return ExpressionKey(name, parsed.text)


def _named(name: str, text: object, scope: Scope) -> ExpressionKey:
    from sqlglot import exp

    place = f"group_by({name}="
    if isinstance(text, Window | SessionWindow):
        raise ExpressionError(
            f"{place}{text!r}): a window has the names window_start and window_end",
            remedy="write it without a name, and name its columns in a select after agg",
        )
    parsed = parse_expression(text, place)
    where = shown(place, text)
    if isinstance(parsed.tree, exp.Alias):
        raise ExpressionError(f"{where}: it is named twice", remedy="remove AS and the name")
    check_parsed(parsed, scope.columns, where)
    return ExpressionKey(name, parsed.text)


def _key_columns(keys: tuple[GroupKey, ...]) -> list[str]:
    names: list[str] = []
    for key in keys:
        names += [key.name] if isinstance(key, ExpressionKey) else WINDOW_COLUMNS
    return names


def _event_key(keys: tuple[GroupKey, ...], scope: Scope) -> str | None:
    """Name of the key that is event time with a watermark."""
    for key in keys:
        if isinstance(key, ExpressionKey):
            time = scope.time(bare_column(key.expression))
            if time is not None and time.closes:
                return key.name
    return None


def _aggregate(name: str, text: str, scope: Scope, keys: list[str]) -> str:
    place = f"agg({name}="
    parse_aggregate(text, scope.columns, keys, place=place)
    return parse_expression(text, place).text


def _field(key: ExpressionKey | WindowKey, scope: Scope) -> pa.Field[Any] | None:
    reference = plain_reference(parse_expression(key.expression).tree)
    if reference is None or scope.columns is None:
        return None
    found = check_reference(reference, scope.columns, key.expression)
    return None if found is None else found.with_name(getattr(key, "name", found.name))
