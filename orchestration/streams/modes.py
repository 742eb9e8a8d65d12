"""What each output mode can hold (semantics §4), decided when a query is declared.

``append`` gives every row once and never takes one back; ``update`` gives the groups that a
batch changed; ``complete`` gives the whole result anew with every batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from orchestration.errors import OutputModeError
from orchestration.streams.mode_warnings import warnings_of
from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    ExpressionKey,
    Limit,
    MapBatches,
    OrderBy,
    Select,
    SessionKey,
    WithWatermark,
)
from orchestration.streams.plan import Chain, JoinRoot, OutputMode, UnionRoot
from orchestration.streams.scope import bare_column

if TYPE_CHECKING:
    from orchestration.streams.operators import Operator

__all__ = ["check_output_mode", "needs_no_data_batch", "update_keys"]


def check_output_mode(chain: Chain, output_mode: str) -> tuple[str, ...]:
    """Refuse what an output mode cannot hold.

    Args:
        chain: The query's plan. One over static tables alone runs at once and has no mode.
        output_mode: ``append``, ``update`` or ``complete``.

    Returns:
        What works, but not for ever: a sentence each.

    Raises:
        OutputModeError: It cannot; names the operation, the mode, and what to do instead.
    """
    if output_mode not in get_args(OutputMode):
        raise OutputModeError(
            f"output_mode={output_mode!r}: there is no such mode",
            remedy=f"one of {', '.join(get_args(OutputMode))}",
        )
    if chain.is_static:
        return ()
    found = _Checker(output_mode).walk(chain)
    if output_mode == "complete" and "aggregate" not in found:
        raise _refused(
            _first(found),
            output_mode,
            "it gives the whole result anew with every batch, and without an aggregation that "
            "would be every row there ever was",
            'write output_mode="append"',
        )
    if output_mode == "update":
        update_keys(chain)
    return warnings_of(chain, output_mode)


def needs_no_data_batch(chain: Chain, output_mode: str) -> bool:
    """Whether a watermark that moves can close something, so that a batch without input is due."""
    if output_mode == "complete" or chain.is_static:
        return False
    return any(_evicts(part) for part in chain.walk())


def update_keys(chain: Chain) -> tuple[str, ...] | None:
    """Columns of the result that tell one group from another, in update mode.

    Returns:
        ``()`` for one group in all; ``None`` without an aggregation: rows are appended.

    Raises:
        OutputModeError: A select after the aggregation loses or changes one of them.
    """
    at = next((i for i, item in enumerate(chain.operators) if isinstance(item, Aggregate)), None)
    if at is None:
        below = [isinstance(item, Aggregate) for part in chain.walk() for item in part.operators]
        if any(below):
            raise _refused(
                "union or join after an aggregation",
                "update",
                "the groups that come out cannot be told apart",
                "do it before the aggregation, or in a query on the output table",
            )
        return None
    aggregate = chain.operators[at]
    assert isinstance(aggregate, Aggregate)  # noqa: S101 - as found
    names: dict[str, tuple[str, ...]] = {}
    for key in aggregate.keys:
        if isinstance(key, ExpressionKey):
            names[key.name] = (key.name,)
        else:
            names["window_start"] = ("window_start", "window_end")
    current = {name: name for group in names.values() for name in group}
    for operator in chain.operators[at + 1 :]:
        if isinstance(operator, MapBatches):
            raise _refused(
                "map_batches after an aggregation",
                "update",
                "nobody knows which of the rows it returns belongs to which group",
                "call it before group_by, or in a query on the output table",
            )
        if isinstance(operator, Select):
            current = _renamed(current, operator)
    kept: list[str] = []
    for name, group in names.items():
        found = [current[item] for item in group if item in current]
        if not found:
            raise _refused(
                f'select after an aggregation, without its key "{name}"',
                "update",
                "a changed group has to be found again in the table by its keys",
                f'keep it: .select("{name}", ...), under another name if you like; or write '
                'output_mode="complete"',
            )
        kept += found
    return tuple(kept)


class _Checker:
    """Holds one operation after another against a mode."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def walk(self, chain: Chain) -> list[str]:
        """Check a chain; the kinds of its stateful operations in order."""
        before: list[str] = []
        for item in chain.inputs:
            before += self.walk(item)
        root = chain.root
        if isinstance(root, JoinRoot):
            if any(side.is_static for side in chain.inputs):
                self._static_join(before)
            else:
                self._join(root, before)
                before.append("join")
        elif isinstance(root, UnionRoot) and "aggregate" in before and self._mode != "append":
            raise self._refuse(
                "union after an aggregation",
                "groups of several aggregations would stand in one result",
                "aggregate after the union",
            )
        for operator in chain.operators:
            kind = self._operator(operator, before)
            if kind:
                before.append(kind)
        return before

    def _operator(self, operator: Operator, before: list[str]) -> str:
        if isinstance(operator, Aggregate):
            self._aggregate(operator, before)
            return "aggregate"
        if isinstance(operator, DropDuplicates):
            verb = (
                "drop_duplicates"
                if operator.within_us is None
                else "drop_duplicates_within_watermark"
            )
            self._after_aggregate(verb, before)
            if self._mode == "complete":
                raise self._refuse(
                    verb,
                    "it remembers which rows were given, and this mode gives them all again",
                    'write output_mode="update", or deduplicate in a query of its own first',
                )
            return "drop_duplicates"
        if isinstance(operator, ApplyWithState):
            self._after_aggregate("apply_in_arrow_with_state", before)
            if self._mode == "complete":
                raise self._refuse(
                    "apply_in_arrow_with_state",
                    "what the function gave in earlier batches is not kept",
                    'write output_mode="append"',
                )
            return "apply"
        if isinstance(operator, Limit):
            self._limit(before)
            return "limit"
        if isinstance(operator, OrderBy):
            self._order_by(before)
        return ""

    def _aggregate(self, operator: Aggregate, before: list[str]) -> None:
        if "aggregate" in before and self._mode != "append":
            raise self._refuse(
                "aggregation of an aggregation",
                "groups of the first change, and the second would count each change as a row",
                'write output_mode="append" (windows with a watermark), or make the second one a '
                "query on the output table",
            )
        if self._mode == "update" and any(isinstance(k, SessionKey) for k in operator.keys):
            raise self._refuse(
                "session aggregation",
                "a session that grows has other bounds, so it is another group",
                'write output_mode="append" or "complete"',
            )
        if self._mode == "append" and not operator.watermarked:
            windowed = any(not isinstance(k, ExpressionKey) for k in operator.keys)
            raise self._refuse(
                "aggregation without a watermarked key",
                "a group is given once, when nothing can change it any more, and nothing says "
                "when that is",
                (
                    'put .with_watermark("ts", "10 minutes") on the window\'s column before '
                    "group_by, and keep it a plain column up to there"
                    if windowed
                    else 'write .with_watermark("ts", "10 minutes") and group by '
                    'window("ts", "5 minutes") or "ts"'
                )
                + '; or write output_mode="update" or "complete"',
            )
        if self._mode == "complete" and "limit" in before:
            raise self._refuse(
                "limit before an aggregation",
                "only a complete result has first rows",
                "write limit after agg",
            )

    def _join(self, root: JoinRoot, before: list[str]) -> None:
        self._after_aggregate("join of two streams", before)
        if self._mode == "complete":
            raise self._refuse(
                "join of two streams",
                "the rows it gave are not kept",
                'write output_mode="append", and aggregate in a query on the output table',
            )
        if self._mode == "update" and root.how != "inner":
            raise self._refuse(
                f"{root.how} join of two streams",
                "a row without a match so far may still get one, and would be taken back then",
                'write output_mode="append"',
            )

    def _static_join(self, before: list[str]) -> None:
        if "aggregate" in before and self._mode == "update":
            raise self._refuse(
                "join with a static table after an aggregation",
                "one group may become several rows there, and could not be found again in the table",
                'join before group_by, or write output_mode="append" or "complete"',
            )

    def _limit(self, before: list[str]) -> None:
        if self._mode == "update":
            raise self._refuse(
                "limit",
                "which rows are the first is decided once, and here they change",
                'write output_mode="complete" after an aggregation, or "append"',
            )
        if self._mode == "complete" and "aggregate" not in before:
            raise self._refuse(
                "limit before an aggregation",
                "only a complete result has first rows",
                "write limit after agg",
            )

    def _order_by(self, before: list[str]) -> None:
        if self._mode != "complete" or "aggregate" not in before:
            raise self._refuse(
                "order_by",
                "rows are given as they come, and only a complete result of an aggregation has "
                "an order",
                'order in the query that reads the table; or write output_mode="complete" and '
                "order_by after agg",
            )

    def _after_aggregate(self, verb: str, before: list[str]) -> None:
        if "aggregate" in before and self._mode != "append":
            raise self._refuse(
                f"{verb} after an aggregation",
                "the groups it would see change",
                'write output_mode="append", do it before the aggregation, or in a query on the '
                "output table",
            )

    def _refuse(self, operation: str, reason: str, remedy: str) -> OutputModeError:
        return _refused(operation, self._mode, reason, remedy)


def _refused(operation: str, mode: str, reason: str, remedy: str) -> OutputModeError:
    return OutputModeError(
        f'{operation}: output_mode="{mode}" cannot hold it: {reason}', remedy=remedy
    )


def _first(found: list[str]) -> str:
    names = {
        "drop_duplicates": "drop_duplicates",
        "join": "join of two streams",
        "apply": "apply_in_arrow_with_state",
        "limit": "limit",
    }
    return next((names[kind] for kind in found if kind in names), "a query without aggregation")


def _renamed(current: dict[str, str], select: Select) -> dict[str, str]:
    """Keys under the names that a select gives them."""
    by_lower: dict[str, str] = {}
    for name, text in select.columns:
        column = bare_column(text)
        if column is not None:
            by_lower.setdefault(column.lower(), name)
    return {
        key: by_lower[name.lower()] for key, name in current.items() if name.lower() in by_lower
    }


def _evicts(chain: Chain) -> bool:
    """Whether an operator runs again once the watermark has moved, as in Spark.

    There every aggregation and deduplication with a watermark before it does, whether it can
    let go of anything or not.
    """
    root = chain.root
    if isinstance(root, JoinRoot) and any(
        side.expiry_expression is not None for side in (root.left, root.right)
    ):
        return True
    marked = any(item.watermarks() for item in chain.inputs)
    for operator in chain.operators:
        marked = marked or isinstance(operator, WithWatermark)
        if marked and isinstance(operator, Aggregate | DropDuplicates):
            return True
        if isinstance(operator, ApplyWithState) and operator.timeout is not None:
            return True
    return False
