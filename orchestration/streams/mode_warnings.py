"""What a query may do, and what a person should know before it has run for a year."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.streams.aggregates import parse_aggregate
from orchestration.streams.expressions import columns_used
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    ExpressionKey,
    Limit,
    OrderBy,
    Where,
)
from orchestration.streams.plan import Chain, JoinRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["warnings_of"]


def warnings_of(chain: Chain, output_mode: str) -> tuple[str, ...]:
    """Sentences on state that never leaves, and on results that depend on chance.

    Args:
        chain: A plan that the mode can hold.
        output_mode: The mode.
    """
    found: list[str] = []
    for part in chain.walk():
        if isinstance(part.root, JoinRoot):
            found += _join(part.root, part)
        found += _operators(part, output_mode)
    return tuple(dict.fromkeys(found))


def _join(root: JoinRoot, part: Chain) -> Iterator[str]:
    if any(side.is_static for side in part.inputs):
        return
    for side, name in ((root.left, "left"), (root.right, "right")):
        if side.expiry_expression is None:
            yield (
                f"{_named('join', root.id)}: state grows for ever: nothing says when a row of the "
                f"{name} side can match no more. Put watermarks on both streams, and a range of "
                "time or equal windows in on"
            )


def _operators(part: Chain, mode: str) -> Iterator[str]:
    aggregated: Aggregate | None = None
    ordered = False
    for operator in part.operators:
        if isinstance(operator, Aggregate):
            aggregated = operator
            yield from _aggregate(operator, mode)
        elif isinstance(operator, DropDuplicates):
            yield from _drop_duplicates(operator)
        elif isinstance(operator, ApplyWithState) and operator.timeout is None:
            yield (
                f"{_named('apply_in_arrow_with_state', operator.id)}: state grows with the number "
                "of keys unless the function removes it"
            )
        elif isinstance(operator, OrderBy):
            ordered = True
        elif isinstance(operator, Limit) and aggregated is not None and not ordered:
            yield (
                f"{_named('limit', operator.id)}: without order_by before it, which groups are "
                "the first is left to chance"
            )
        elif isinstance(operator, Where) and aggregated is not None and mode == "update":
            keys = {"window_start", "window_end"} | {
                key.name.lower() for key in aggregated.keys if isinstance(key, ExpressionKey)
            }
            if any(name.lower() not in keys for name in columns_used(operator.expression)):
                yield (
                    f"where({operator.expression!r}) after an aggregation: a group that stops "
                    "meeting it keeps the row it had in the table"
                )


def _aggregate(operator: Aggregate, mode: str) -> Iterator[str]:
    name = _named("aggregate", operator.id)
    if mode == "complete" or not operator.watermarked:
        reason = (
            "complete mode forgets no group"
            if mode == "complete"
            else "no key of it is closed by a watermark"
        )
        if operator.keys:
            yield f"{name}: state grows with the number of groups: {reason}"
        values = [
            str(call)
            for _, text in operator.columns
            for call in parse_aggregate(text).calls
            if call.state == "values"
        ]
        if values:
            yield f"{name}: {', '.join(dict.fromkeys(values))} keeps all values, for ever"


def _drop_duplicates(operator: DropDuplicates) -> Iterator[str]:
    if operator.within_us is not None or operator.event_in_keys:
        return
    name = _named("drop_duplicates", operator.id)
    if operator.event_column is None:
        yield (
            f"{name}: state grows for ever: a key never leaves. Put the event-time column among "
            "the keys after with_watermark, or use drop_duplicates_within_watermark"
        )
    else:
        yield (
            f'{name}: state grows for ever, because "{operator.event_column}" is not among the '
            "keys; rows older than the watermark are dropped all the same. Add it, or use "
            "drop_duplicates_within_watermark"
        )


def _named(verb: str, operator: str) -> str:
    return (
        f"{operator} ({verb})" if operator and not operator.startswith(verb) else operator or verb
    )
