"""What is done to a stream's rows, as the user wrote it, and what each step comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.errors import DeclarationError, ExpressionError, SchemaError
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import check_condition, check_expression
from orchestration.streams.grouping import AggregateStep
from orchestration.streams.operators import (
    ApplyWithState,
    DropDuplicates,
    Limit,
    MapBatches,
    OrderBy,
    Select,
    Where,
    WithWatermark,
)
from orchestration.streams.pieces import Pieces
from orchestration.streams.projection import project
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.schema import check_names, field_type, parse_schema
from orchestration.streams.scope import Scope, TimeColumn, check_time, column_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.streams.operators import Operator

__all__ = [
    "DropDuplicatesStep",
    "SelectStep",
    "Step",
    "apply_step",
    "as_schema",
    "order_term",
]


@dataclass(frozen=True, slots=True)
class SelectStep:
    """A select as it was written; what it comes to depends on the columns before it."""

    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DropDuplicatesStep:
    """A deduplication as it was written.

    Attributes:
        keys: Columns; none for all.
        within: Whether a key is remembered for the watermark's delay only.
    """

    keys: tuple[str, ...]
    within: bool = False


Step = (
    Where
    | SelectStep
    | MapBatches
    | WithWatermark
    | AggregateStep
    | DropDuplicatesStep
    | Limit
    | OrderBy
    | ApplyWithState
)


def apply_step(step: Step, scope: Scope) -> tuple[Operator | None, Scope]:
    """What a step comes to, checked, and what is known after it.

    The operator is ``None`` as long as it depends on columns that are not known. Ids are not
    given here: they depend on the whole query.

    Raises:
        DeclarationError: The step cannot stand here.
    """
    if isinstance(step, Where):
        check_condition(step.expression, scope.columns)
        return step, scope
    if isinstance(step, SelectStep):
        return _select(step, scope)
    if isinstance(step, MapBatches):
        made = Columns.from_schema(step.schema)
        return step, scope.then(columns=made, times=(), types={})
    if isinstance(step, WithWatermark):
        return _watermark(step, scope)
    if isinstance(step, AggregateStep):
        _check_before(scope, "group_by(...).agg(...)")
        return step.resolve(scope)
    if isinstance(step, DropDuplicatesStep):
        return _drop_duplicates(step, scope)
    if isinstance(step, ApplyWithState):
        return _apply(step, scope)
    if isinstance(step, OrderBy):
        for term in step.terms:
            order_term(term, scope)
        return step, scope
    return step, scope.then(stateful=(*scope.stateful, "limit"))


def as_schema(schema: Mapping[str, str] | pa.Schema) -> pa.Schema:
    """An Arrow schema of what a user declared, checked.

    Raises:
        SchemaError: It has names or types that no table can hold.
    """
    if not isinstance(schema, pa.Schema):
        return parse_schema(schema)
    if not schema.names:
        raise SchemaError("the schema has no columns", remedy="name at least one")
    check_names(schema.names)
    for field in schema:
        field_type(field)
    return schema


def order_term(term: object, scope: Scope) -> str:
    """One term of ``order_by``, checked: an expression, perhaps with ASC, DESC, NULLS FIRST, LAST.

    Returns:
        The expression alone.

    Raises:
        ExpressionError: It is wrong.
    """
    if not isinstance(term, str) or not term.strip():
        raise ExpressionError(
            f"order_by({term!r}): a term is a text", remedy='write e.g. order_by("views DESC")'
        )
    pieces = Pieces(term)
    last = len(pieces.tokens)
    words = [pieces.word(i) for i in range(last)]
    if words[-2:-1] == ["nulls"] and words[-1] in {"first", "last"}:
        last -= 2
    if last > 1 and words[last - 1] in {"asc", "desc"}:
        last -= 1
    text = pieces.between(0, last)
    if scope.columns is not None and text in scope.columns:
        return quote_identifier(text)
    check_expression(text, scope.columns, place="order_by")
    return text


def _select(step: SelectStep, scope: Scope) -> tuple[Operator | None, Scope]:
    from orchestration.streams.parsing import parse_expression
    from orchestration.streams.scope import bare_column

    projection = project(step.positional, dict(step.named), scope.columns)
    if projection.columns is not None:
        return Select(projection.columns), scope.selected(projection.columns, projection.output)
    from sqlglot import exp

    stars = []
    beside = list(step.named)
    for text in step.positional:
        tree = parse_expression(text).tree
        if isinstance(tree, exp.Star):
            stars.append(text)
        elif isinstance(tree, exp.Alias):
            beside.append((tree.alias, tree.this.sql(dialect="duckdb")))
        elif (name := bare_column(text)) is not None:
            beside.append((name, text))
    if not stars:
        return None, scope.selected(beside, None)
    return None, scope.starred(beside, stars)


def _watermark(step: WithWatermark, scope: Scope) -> tuple[Operator, Scope]:
    where = f"with_watermark({step.column!r}, ...)"
    if "aggregate" in scope.stateful:
        raise DeclarationError(
            f"{where}: it stands after an aggregation, and such a query would never give a row: "
            "the watermark of its input closes windows before this one is measured",
            remedy="write with_watermark once, before the first group_by; what comes after goes "
            "by window_end, and windows of windows are window(window_time(), ...)",
        )
    lost = "apply" in scope.stateful
    if scope.measured or lost:
        raise DeclarationError(
            f"{where}: event time is measured before it already"
            + (", and lost in apply_in_arrow_with_state" if lost else ""),
            remedy="write with_watermark once for each source, before joins and other operators "
            "that keep state",
        )
    name = column_name(
        step.column,
        scope.columns,
        "with_watermark",
        instead=f'make it a column before: .select("*", ts="{step.column}")'
        '.with_watermark("ts", ...)',
    )
    check_time(quote_identifier(name), scope, "with_watermark")
    made = WithWatermark("", name, step.delay_us, step.idle_timeout_us, step.max_future_us)
    times = (TimeColumn(name, "time", step.delay_us),)
    return made, scope.then(times=times, measured=True)


def _drop_duplicates(step: DropDuplicatesStep, scope: Scope) -> tuple[Operator | None, Scope]:
    verb = "drop_duplicates_within_watermark" if step.within else "drop_duplicates"
    _check_before(scope, verb)
    time = scope.closing
    if step.within and time is None:
        raise DeclarationError(
            f"{verb}: there is no column with a watermark here, so nothing says how long a key is "
            "remembered",
            remedy='write .with_watermark("ts", "10 minutes") before it, and keep the column; '
            "drop_duplicates remembers keys for ever",
        )
    after = scope.then(stateful=(*scope.stateful, verb))
    if scope.columns is None and not step.keys:
        return None, after
    keys = tuple(
        column_name(
            key,
            scope.columns,
            verb,
            instead=f'make it a column before: .select("*", key="{key}").{verb}("key")',
        )
        for key in step.keys or scope.columns or ()
    )
    try:
        check_names(keys)
    except SchemaError as error:
        raise DeclarationError(f"{verb}: {error.args[0]}", remedy="name it once") from None
    lower = {key.lower() for key in keys}
    among = next((item for item in scope.times if item.closes and item.name.lower() in lower), None)
    if among is not None and not step.within:
        time = among
    made = DropDuplicates(
        "",
        keys,
        None if time is None else time.name,
        among is not None,
        (time.delay_us if time is not None else None) if step.within else None,
    )
    return made, after


def _apply(step: ApplyWithState, scope: Scope) -> tuple[Operator, Scope]:
    verb = "apply_in_arrow_with_state"
    _check_before(scope, verb)
    keys = tuple(
        column_name(
            key, scope.columns, verb, instead=f'make it a column before: .select("*", key="{key}")'
        )
        for key in step.keys
    )
    if step.timeout == "event_time" and scope.closing is None:
        raise DeclarationError(
            f"{verb}(..., timeout='event_time'): there is no column with a watermark here, so "
            "event time never passes",
            remedy='write .with_watermark("ts", "10 minutes") before it, and keep the column',
        )
    made = ApplyWithState(
        "",
        step.function,
        keys,
        step.state_schema,
        step.output_schema,
        step.timeout,
        None if scope.closing is None else scope.closing.name,
    )
    after = scope.then(
        columns=Columns.from_schema(step.output_schema),
        times=(),
        types={},
        stateful=(*scope.stateful, "apply"),
    )
    return made, after


def _check_before(scope: Scope, verb: str) -> None:
    if "apply" in scope.stateful:
        raise DeclarationError(
            f"{verb}: it stands after apply_in_arrow_with_state, whose rows have no event time, "
            "so no operator after it can tell what is late",
            remedy="do it before, or in a query on the output table",
        )
