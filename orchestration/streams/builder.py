"""The stream a user writes: a source, and what is done to its rows one after another."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import DeclarationError, SchemaError
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import (
    check_condition,
    columns_used,
    uses_batch_timestamp,
)
from orchestration.streams.operators import MapBatches, Operator, Select, Where
from orchestration.streams.parsing import parse_expression
from orchestration.streams.projection import project
from orchestration.streams.schema import check_names, field_type, parse_schema, schema_to_json
from orchestration.streams.source import StreamSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Stream", "stream"]


@dataclass(frozen=True, slots=True)
class _SelectStep:
    """A select as it was written; what it comes to depends on the columns before it."""

    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...]


_Step = Where | _SelectStep | MapBatches


def stream(source: StreamSource) -> Stream:
    """The unbounded table of a source's rows.

    Example::

        clicks = stream(files("landing/clicks/", format="json",
                              schema={"page": "VARCHAR", "amount": "DECIMAL(10,2)"}))
        paid = clicks.where("amount > 0").select("page", cents="amount * 100")

    Args:
        source: Where the rows come from, e.g. ``files(...)``.

    Raises:
        DeclarationError: It is not a source.
    """
    if not isinstance(source, StreamSource):
        raise DeclarationError(
            f"stream({source!r}): this is not a source",
            remedy='write e.g. stream(files("landing/clicks/", schema={...}))',
        )
    return Stream(source, (), source.schema)


class Stream:
    """An unbounded table. Immutable: every verb gives a new one, checked as far as it goes.

    Made by :func:`stream`.

    Attributes:
        source: Where its rows come from.
        input_schema: The source's columns, once known.
    """

    __slots__ = ("_columns", "_operators", "_steps", "input_schema", "source")

    input_schema: pa.Schema | None
    source: StreamSource

    def __init__(
        self, source: StreamSource, steps: tuple[_Step, ...], schema: pa.Schema | None
    ) -> None:
        start = None if schema is None else Columns.from_schema(schema)
        operators: list[Operator | None] = []
        columns = start
        for step in steps:
            operator, columns = _apply(step, columns)
            operators.append(operator)
        for name, value in (
            ("source", source),
            ("input_schema", schema),
            ("_steps", steps),
            ("_operators", tuple(operators)),
            ("_columns", columns),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a stream is immutable; its verbs give new ones ({name})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a stream is immutable; its verbs give new ones ({name})")

    def where(self, condition: str) -> Stream:
        """Keep the rows for which a condition is true; null counts as not true.

        Example::

            clicks.where("amount >= 0 AND device.os <> 'bot'")

        Raises:
            ExpressionError: The condition is wrong; the message says what and where.
        """
        check_condition(condition, self._columns)
        return self._then(Where(parse_expression(condition, "where").text))

    def select(self, *columns: str, **named: str) -> Stream:
        """Replace the columns.

        Example::

            clicks.select("page", "device.os", cents="CAST(amount * 100 AS BIGINT)")
            clicks.select("*", day="CAST(ts AS DATE)")         # all, and one more
            clicks.select("* EXCLUDE (device)", "device.*")    # a struct's fields as columns
            clicks.select("*", page="lower(page)")             # one of them replaced

        Args:
            *columns: Columns, struct fields (``"device.os"`` is named ``os``), stars, or
                ``"expression AS name"``.
            **named: Name to expression. After a star, a name the star gave is replaced in place.

        Raises:
            ExpressionError: An expression is wrong or nameless, or a name is there twice.
        """
        project(columns, named, self._columns)
        return self._then(_SelectStep(columns, tuple(named.items())))

    def map_batches(
        self, function: Callable[[pa.Table], pa.Table], schema: Mapping[str, str] | pa.Schema
    ) -> Stream:
        """Replace the rows by what a Python function makes of them.

        Example::

            def add_country(rows: pa.Table) -> pa.Table:
                return rows.append_column("country", lookup(rows["ip"]))

            clicks.map_batches(add_country, schema={"ip": "VARCHAR", "country": "VARCHAR"})

        Args:
            function: Called with Arrow tables of bounded size. Where they are cut is not its
                choice, and a batch may be run again: the same rows in must give the same out.
            schema: The columns it returns.

        Raises:
            DeclarationError: It is not a function, or the schema is wrong.
        """
        if not callable(function):
            raise DeclarationError(
                f"map_batches({function!r}, ...): this cannot be called",
                remedy="pass a function that takes a pyarrow.Table and returns one",
            )
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise DeclarationError(
                f"map_batches({_name(function)}, ...): it returns no table at once, because it is "
                "async or a generator",
                remedy="pass a plain function that takes a pyarrow.Table and returns one",
            )
        return self._then(MapBatches(function, _as_schema(schema)))

    def bind(self, schema: pa.Schema) -> Stream:
        """The same stream over columns that are known now, everything checked against them.

        Args:
            schema: What the source gives, where it was still to be inferred.

        Raises:
            ExpressionError: An expression names a column that there is not.
            SchemaError: The schema has names or types that no table can hold.
        """
        _as_schema(schema)
        return Stream(self.source, self._steps, schema)

    def with_source(self, source: StreamSource) -> Stream:
        """The same verbs over another source, such as a copy of this one's data.

        Raises:
            ExpressionError: A verb does not fit what the other source gives.
        """
        return Stream(source, self._steps, source.schema)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of its columns in order; ``None`` as long as they depend on an unknown schema."""
        return None if self._columns is None else self._columns.names

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What an engine has to do, in order; stars are spelled out.

        Raises:
            DeclarationError: A star cannot be spelled out before the schema is known.
        """
        known = tuple(operator for operator in self._operators if operator is not None)
        if len(known) < len(self._operators):
            raise DeclarationError(
                f'the columns of source "{self.source.name}" are not known yet, so select("*") '
                "cannot be spelled out",
                remedy="bind the stream to the inferred schema first, or declare the schema",
            )
        return known

    def volatile_columns(self) -> tuple[str, ...]:
        """Output columns that depend on when their batch ran: what no reprocess can repeat.

        After ``map_batches`` over such a column every column may depend on it.
        """
        return tuple(self._volatile()[0].values())

    def volatile_filters(self) -> tuple[str, ...]:
        """Conditions that depend on when the batch ran: which rows pass cannot be repeated."""
        return self._volatile()[1]

    @property
    def where_is_volatile(self) -> bool:
        """Whether a condition depends on when the batch ran: no reprocess can be equal then."""
        return bool(self.volatile_filters())

    def describe(self) -> dict[str, Any]:
        """The stream as JSON, for plans and for people; no secrets, no schema it lacks."""
        return {
            "source": {"name": self.source.name, **self.source.describe()},
            "operators": [_describe(step) for step in self._shown_steps()],
            "columns": None if self.columns is None else list(self.columns),
        }

    def __repr__(self) -> str:
        steps = "".join(f"\n  {_show(step)}" for step in self._shown_steps())
        columns = "to be inferred" if self.columns is None else ", ".join(self.columns)
        return f"stream({self.source!r}){steps}\n  -> {columns}"

    def _then(self, step: _Step) -> Stream:
        return Stream(self.source, (*self._steps, step), self.input_schema)

    def _shown_steps(self) -> tuple[_Step | Select, ...]:
        """Steps as the engine gets them, as written where that is not known yet."""
        return tuple(
            step if operator is None else operator
            for step, operator in zip(self._steps, self._operators, strict=True)
        )

    def _volatile(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Volatile columns at the end by lower-case name, and volatile conditions."""
        columns: dict[str, str] = {}
        filters: list[str] = []
        for step in self._shown_steps():
            if isinstance(step, Where):
                if _depends(step.expression, columns):
                    filters.append(step.expression)
            elif isinstance(step, MapBatches):
                columns = {n.lower(): n for n in step.schema.names} if columns else {}
            elif isinstance(step, Select):
                columns = {n.lower(): n for n, text in step.columns if _depends(text, columns)}
            else:  # a star not spelled out yet passes on what it gets
                columns |= {n.lower(): n for n, text in step.named if _depends(text, columns)}
        return columns, tuple(filters)

    # Declared for the type checker; set once in __init__.
    _columns: Columns | None
    _operators: tuple[Operator | None, ...]
    _steps: tuple[_Step, ...]


def _apply(step: _Step, columns: Columns | None) -> tuple[Operator | None, Columns | None]:
    """What a step comes to, checked, and the columns after it."""
    if isinstance(step, Where):
        check_condition(step.expression, columns)
        return step, columns
    if isinstance(step, MapBatches):
        return step, Columns.from_schema(step.schema)
    projection = project(step.positional, dict(step.named), columns)
    operator = None if projection.columns is None else Select(projection.columns)
    return operator, projection.output


def _as_schema(schema: Mapping[str, str] | pa.Schema) -> pa.Schema:
    if not isinstance(schema, pa.Schema):
        return parse_schema(schema)
    if not schema.names:
        raise SchemaError("the schema has no columns", remedy="name at least one")
    check_names(schema.names)
    for field in schema:
        field_type(field)
    return schema


def _depends(expression: str, volatile: Mapping[str, str]) -> bool:
    return uses_batch_timestamp(expression) or any(
        name.lower() in volatile for name in columns_used(expression)
    )


def _name(function: Callable[..., object]) -> str:
    module = getattr(function, "__module__", None) or type(function).__module__
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{name}"


def _describe(step: _Step | Select) -> dict[str, Any]:
    if isinstance(step, Where):
        return {"where": step.expression}
    if isinstance(step, MapBatches):
        return {"map_batches": _name(step.function), "schema": schema_to_json(step.schema)}
    if isinstance(step, Select):
        return {"select": [{"name": name, "expression": text} for name, text in step.columns]}
    unnamed = [{"expression": text} for text in step.positional]
    return {"select": [*unnamed, *({"name": n, "expression": t} for n, t in step.named)]}


def _show(step: _Step | Select) -> str:
    if isinstance(step, Where):
        return f".where({step.expression!r})"
    if isinstance(step, MapBatches):
        return f".map_batches({_name(step.function)})"
    if isinstance(step, Select):
        return f".select({', '.join(_show_column(name, text) for name, text in step.columns)})"
    written = [repr(text) for text in step.positional]
    return f".select({', '.join([*written, *(f'{n}={t!r}' for n, t in step.named)])})"


def _show_column(name: str, text: str) -> str:
    return repr(name) if text in {name, f'"{name}"'} else f"{name}={text!r}"
