"""What the arguments of a stream's verbs come to, and the stream between group_by and agg."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.errors import DeclarationError
from orchestration.streams.grouping import AggregateStep, Keys, grouping_keys
from orchestration.streams.operators import ApplyWithState, WithWatermark
from orchestration.streams.showing import function_name
from orchestration.streams.steps import as_schema
from orchestration.streams.windows import SessionWindow, Window, duration_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    import pyarrow as pa

    from orchestration.streams.builder import Stream
    from orchestration.streams.scope import Scope
    from orchestration.streams.steps import Step

__all__ = [
    "GroupedStream",
    "apply_with_state_step",
    "check_function",
    "count_of",
    "group_keys",
    "names_of",
    "watermark_step",
]


@dataclass(frozen=True, slots=True)
class GroupedStream:
    """A stream whose rows are grouped. Made by :meth:`Stream.group_by`.

    Attributes:
        then: Gives the stream with one more step.
        keys: What it is grouped by.
    """

    then: Callable[[Step], Stream]
    keys: Keys

    def agg(self, **columns: str) -> Stream:
        """One row a group: its keys, and aggregates.

        Example::

            grouped.agg(views="count(*)", revenue="sum(amount) FILTER (WHERE paid)",
                        average="sum(amount) / count(*)")

        Args:
            **columns: Name to SQL expression over aggregates. Beside them it may name keys.

        Raises:
            DeclarationError: An expression is wrong, or there is none.
        """
        if not columns:
            raise DeclarationError(
                "agg(): there is no aggregate",
                remedy='write e.g. agg(n="count(*)"); for the distinct keys alone '
                "drop_duplicates(...)",
            )
        for name, text in columns.items():
            if not isinstance(text, str):
                raise DeclarationError(
                    f"agg({name}={text!r}): an aggregate is an SQL text",
                    remedy=f'write e.g. agg({name}="count(*)")',
                )
        return self.then(AggregateStep(self.keys, tuple(columns.items())))


def group_keys(keys: tuple[Any, ...], named: Mapping[str, Any], scope: Scope) -> Keys:
    """The keys of ``group_by``, checked.

    Raises:
        DeclarationError: A key is wrong.
    """
    for key in keys:
        if isinstance(key, list | tuple):
            raise DeclarationError(
                f"group_by({key!r}): keys are arguments of their own",
                remedy=f"write group_by({', '.join(map(repr, key))})",
            )
    made = Keys(tuple(keys), tuple(named.items()))
    grouping_keys(made, scope)
    return made


def watermark_step(
    column: str,
    delay: str | timedelta,
    idle_timeout: str | timedelta | None,
    max_future: str | timedelta | None,
) -> WithWatermark:
    """The step of ``with_watermark``, its lengths checked.

    Raises:
        DeclarationError: One of them is no length of time.
    """
    verb = "with_watermark"
    return WithWatermark(
        "",
        column,
        duration_us(verb, "delay", delay, zero=True),
        None if idle_timeout is None else duration_us(verb, "idle_timeout", idle_timeout),
        None if max_future is None else duration_us(verb, "max_future", max_future, zero=True),
    )


def apply_with_state_step(
    function: Callable[..., Any],
    keys: str | Sequence[str],
    state_schema: Mapping[str, str] | pa.Schema,
    output_schema: Mapping[str, str] | pa.Schema,
    timeout: str | None,
) -> ApplyWithState:
    """The step of ``apply_in_arrow_with_state``, its arguments checked.

    Raises:
        DeclarationError: One of them is wrong.
    """
    verb = "apply_in_arrow_with_state"
    check_function(verb, function)
    given = (keys,) if isinstance(keys, str) else tuple(keys)
    if not given:
        raise DeclarationError(
            f"{verb}(..., keys={keys!r}): there is no key to keep state for",
            remedy='name the columns that rows are grouped by, e.g. keys=["user_id"]',
        )
    if timeout not in {None, "event_time"}:
        raise DeclarationError(
            f"{verb}(..., timeout={timeout!r}): there is no such timeout",
            remedy='write "event_time", or leave it out; the machine\'s clock is none, because a '
            "batch that is run again would differ",
        )
    return ApplyWithState(
        "", function, given, as_schema(state_schema), as_schema(output_schema), timeout
    )


def check_function(verb: str, function: object) -> None:
    """Refuse what cannot be called with rows and return a table.

    Raises:
        DeclarationError: It cannot.
    """
    if not callable(function):
        raise DeclarationError(
            f"{verb}({function!r}, ...): this cannot be called",
            remedy="pass a function that takes a pyarrow.Table and returns one",
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DeclarationError(
            f"{verb}({function_name(function)}, ...): it returns no table at once, because it is "
            "async or a generator",
            remedy="pass a plain function that takes a pyarrow.Table and returns one",
        )


def names_of(verb: str, keys: tuple[Any, ...]) -> tuple[str, ...]:
    """Columns named one by one, or as one list.

    Raises:
        DeclarationError: Something else is among them.
    """
    if len(keys) == 1 and isinstance(keys[0], list | tuple):
        keys = tuple(keys[0])
    for key in keys:
        if isinstance(key, Window | SessionWindow) or not isinstance(key, str):
            raise DeclarationError(
                f"{verb}({key!r}): a key is a column, named by a text",
                remedy=f'write {verb}("user_id", "ts")',
            )
    return keys


def count_of(verb: str, count: object) -> int:
    """A number of rows.

    Raises:
        DeclarationError: It is not a positive number.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise DeclarationError(
            f"{verb}({count!r}): a number of rows is a whole number above 0",
            remedy=f"write e.g. {verb}(10)",
        )
    return count
