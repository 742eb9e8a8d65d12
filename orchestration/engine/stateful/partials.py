"""Aggregates in three steps: of a batch's rows, of several batches' results, and the value.

Whatever has a small mergeable state keeps that; what needs the values themselves keeps them.
Integers and decimals never pass through floating point, and their sums are as wide as there is.

Sources: the merging of variances is Chan, Golub and LeVeque (1983); ``approx_count_distinct`` is
the k-minimum-values sketch of Bar-Yossef et al. (2002), over MD5 so that an upgrade of the engine
does not change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.errors import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.streams.aggregates import AggregateCall

__all__ = ["BATCH", "ORDERED", "SEQUENCE", "PartColumn", "Partial", "partial_of"]

#: Arrival order of a row in its batch, and the batch.
SEQUENCE, BATCH = "headwater_seq", "headwater_b"

#: Aggregates whose result depends on the order of rows, if only where values are equal.
ORDERED = frozenset(
    {
        *("any_value", "first", "histogram", "last", "list", "max_by", "median", "min_by"),
        *("mode", "quantile_cont", "quantile_disc", "string_agg"),
    }
)

_SKETCH = 1024  # hashes kept by approx_count_distinct: a standard error of about 3 %
_WIDEST = "DECIMAL(38,0)"


@dataclass(frozen=True, slots=True)
class PartColumn:
    """One column of an aggregate's state.

    Attributes:
        name: Unique in the operator.
        made: SQL over a group's rows.
        merged: SQL over the ``name`` of several states of one group, each with :data:`BATCH`.
    """

    name: str
    made: str
    merged: str


@dataclass(frozen=True, slots=True)
class Partial:
    """An aggregate.

    Attributes:
        columns: Its state.
        final: SQL of its value over those columns.
    """

    columns: tuple[PartColumn, ...]
    final: str


def partial_of(
    call: AggregateCall,
    number: int,
    types: Sequence[pa.DataType],
    *,
    batch_id: int,
    event_column: str | None,
    arrival: str = BATCH,
) -> Partial:
    """How to compute one aggregate.

    Args:
        call: The aggregate.
        number: Its place, for column names.
        types: Arrow types of its arguments.
        batch_id: The batch whose rows are aggregated.
        event_column: Quoted; orders ``first`` and ``last`` before arrival.
        arrival: Orders states of one group by when their rows came.

    Raises:
        ExpressionError: The argument's type does not go with the function.
    """
    build = _Builder(call, number, types, batch_id, event_column, arrival)
    return build.partial()


class _Builder:
    def __init__(
        self,
        call: AggregateCall,
        number: int,
        types: Sequence[pa.DataType],
        batch_id: int,
        event_column: str | None,
        arrival: str,
    ) -> None:
        self._call = call
        self._name = f"headwater_p{number}"
        self._types = types
        self._batch = batch_id
        self._event = event_column
        self._arrival = arrival
        self._arguments = [f"({text})" for text in call.arguments]

    def partial(self) -> Partial:
        name = self._call.function
        if self._call.distinct and name not in {"min", "max", "bool_and", "bool_or"}:
            return self._distinct()
        if name == "count":
            return self._count()
        if name in {"sum", "avg"}:
            return self._sum(average=name == "avg")
        if name in _FOLDED:
            value = self._only
            return self._one(f"{name}({value}){self._where()}", f"{name}({{0}})")
        if name in {"min_by", "max_by"}:
            return self._by(least=name == "min_by")
        if name in {"first", "last", "any_value"}:
            return self._first(last=name == "last", skip_null=name == "any_value")
        if name in _MOMENTS:
            return self._moments(_MOMENTS[name])
        if name == "approx_count_distinct":
            return self._sketch()
        if name in _OF_VALUES:
            return self._values(_OF_VALUES[name], keep_null=name == "list")
        raise self._refused("is not an aggregate that can be kept between batches")

    # -- small states -----------------------------------------------------------------------------

    def _count(self) -> Partial:
        counted = self._arguments[0] if self._arguments else "*"
        return self._one(
            f"count({counted}){self._where()}",
            "CAST(sum({0}) AS BIGINT)",
            "CAST(coalesce({0}, 0) AS BIGINT)",
        )

    def _sum(self, *, average: bool) -> Partial:
        wide = self._wide()
        made = f"sum({self._only}){self._where()}"
        total = PartColumn(
            f"{self._name}_s",
            f"CAST({made} AS {wide})",
            f"CAST(sum({self._name}_s) AS {wide})",
        )
        if not average:
            return Partial((total,), total.name)
        count = PartColumn(
            f"{self._name}_n",
            f"count({self._only}){self._where()}",
            f"CAST(sum({self._name}_n) AS BIGINT)",
        )
        value = f"CASE WHEN {count.name} > 0 THEN CAST({total.name} AS DOUBLE) / {count.name} END"
        return Partial((total, count), value)

    def _by(self, *, least: bool) -> Partial:
        """The argument at the least or greatest value; the earliest row where several have it."""
        argument, value = self._arguments
        where = self._where(f"{argument} IS NOT NULL", f"{value} IS NOT NULL")
        return self._picked(argument, value, where, least=least)

    def _first(self, *, last: bool, skip_null: bool) -> Partial:
        argument = self._only
        where = self._where(*([f"{argument} IS NOT NULL"] if skip_null else []))
        return self._picked(argument, self._event or "0", where, least=not last, last=last)

    def _picked(
        self, argument: str, value: str, where: str, *, least: bool, last: bool = False
    ) -> Partial:
        sign = "" if least or last else "-"
        place = f"struct_pack(o := {value}, b := {sign}{self._batch}, s := {sign}{SEQUENCE})"
        pick = "arg_min" if least else "arg_max"
        name = self._name
        made = f"{pick}(struct_pack(v := {argument}, p := {place}), {place}){where}"
        merged = f"{pick}({name}, {name}.p) FILTER (WHERE {name} IS NOT NULL)"
        return Partial((PartColumn(name, made, merged),), f"{name}.v")

    def _moments(self, final: str) -> Partial:
        if not _is_number(self._types[0]):
            raise self._refused(
                f"needs a number, and {self._call.arguments[0]} is {self._types[0]}"
            )
        value, where, name = f"CAST({self._only} AS DOUBLE)", self._where(), self._name
        count = f"count({value}){where}"
        made = (
            f"CASE WHEN {count} > 0 THEN struct_pack(n := CAST({count} AS DOUBLE), "
            f"m := avg({value}){where}, q := var_pop({value}){where} * {count}) END"
        )
        merged = (
            f"list_reduce(list({name}) FILTER (WHERE {name} IS NOT NULL), lambda a, b: "
            "struct_pack(n := a.n + b.n, m := a.m + (b.m - a.m) * b.n / (a.n + b.n), "
            "q := a.q + b.q + (b.m - a.m) * (b.m - a.m) * a.n * b.n / (a.n + b.n)))"
        )
        return Partial((PartColumn(name, made, merged),), final.format(name))

    def _sketch(self) -> Partial:
        name = self._name
        hashed = f"md5_number_lower(CAST({self._only} AS VARCHAR))"
        made = f"min(DISTINCT {hashed}, {_SKETCH}){self._where()}"
        merged = (
            f"list_sort(list_distinct(flatten(list({name}) FILTER (WHERE {name} IS NOT NULL))))"
            f"[1:{_SKETCH}]"
        )
        full = f"CAST(round({_SKETCH - 1} / (CAST({name}[{_SKETCH}] AS DOUBLE) / 2.0 ** 64)) AS BIGINT)"
        final = (
            f"CASE WHEN len({name}) >= {_SKETCH} THEN {full} "
            f"ELSE CAST(coalesce(len({name}), 0) AS BIGINT) END"
        )
        return Partial((PartColumn(name, made, merged),), final)

    # -- the values themselves --------------------------------------------------------------------

    def _distinct(self) -> Partial:
        final = {
            "count": "CAST(coalesce(len({0}), 0) AS BIGINT)",
            "sum": f"CAST(list_sum({{0}}) AS {self._wide() if self._sums else 'DOUBLE'})",
            "avg": "list_avg({0})",
            "list": "list_sort({0})",
            "string_agg": f"array_to_string(list_sort({{0}}), {self._separator})",
        }.get(self._call.function)
        if final is None:
            raise self._refused("does not go with DISTINCT")
        name, value = self._name, self._only_first
        made = f"list(DISTINCT {value}){self._where(f'{value} IS NOT NULL')}"
        merged = f"list_distinct(flatten(list({name}) FILTER (WHERE {name} IS NOT NULL)))"
        column = PartColumn(name, made, merged)
        return Partial((column,), _null_if_none(final, name, self._call.function))

    def _values(self, final: str, *, keep_null: bool) -> Partial:
        name, value = self._name, self._only_first
        where = self._where(*([] if keep_null else [f"{value} IS NOT NULL"]))
        made = f"list({value} ORDER BY {SEQUENCE}){where}"
        merged = f"flatten(list({name} ORDER BY {self._arrival}) FILTER (WHERE {name} IS NOT NULL))"
        more = self._separator if self._call.function == "string_agg" else ""
        if self._call.function.startswith("quantile"):
            more = self._arguments[1]
        return Partial(
            (PartColumn(name, made, merged),),
            f"CASE WHEN {name} IS NOT NULL THEN {final.format(name, more)} END",
        )

    # -- pieces -----------------------------------------------------------------------------------

    def _one(self, made: str, merged: str, final: str = "{0}") -> Partial:
        name = self._name
        return Partial((PartColumn(name, made, merged.format(name)),), final.format(name))

    @property
    def _only(self) -> str:
        if len(self._arguments) != 1:
            raise self._refused(f"takes one argument, not {len(self._arguments)}")
        return self._arguments[0]

    @property
    def _only_first(self) -> str:
        return self._arguments[0]

    @property
    def _separator(self) -> str:
        return self._arguments[1] if len(self._arguments) > 1 else "','"

    def _where(self, *more: str) -> str:
        given = [f"({self._call.filter})"] if self._call.filter else []
        conditions = [*given, *more]
        return f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""

    @property
    def _sums(self) -> bool:
        return self._call.function in {"sum", "avg"}

    def _wide(self) -> str:
        kind = self._types[0]
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            return _WIDEST
        if pa.types.is_decimal(kind):
            return f"DECIMAL(38,{kind.scale})"
        if pa.types.is_floating(kind):
            return "DOUBLE"
        raise self._refused(f"needs a number, and {self._call.arguments[0]} is {kind}")

    def _refused(self, what: str) -> ExpressionError:
        return ExpressionError(
            f"{self._call.function}({', '.join(self._call.arguments)}) {what}",
            remedy="see docs/queries.md for the aggregates there are",
        )


def _null_if_none(final: str, name: str, function: str) -> str:
    value = final.format(name)
    if function == "count":
        return value
    return f"CASE WHEN len({name}) > 0 THEN {value} END"


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


# Aggregates whose states are merged by the function itself.
_FOLDED = frozenset({"min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"})

_MOMENTS = {
    "var_pop": "{0}.q / {0}.n",
    "var_samp": "CASE WHEN {0}.n > 1 THEN {0}.q / ({0}.n - 1) END",
    "stddev_pop": "sqrt({0}.q / {0}.n)",
    "stddev_samp": "CASE WHEN {0}.n > 1 THEN sqrt({0}.q / ({0}.n - 1)) END",
}

_OF_VALUES = {
    "list": "{0}",
    "string_agg": "array_to_string({0}, {1})",
    "median": "list_aggregate({0}, 'median')",
    "mode": "list_aggregate({0}, 'mode')",
    "histogram": "list_aggregate({0}, 'histogram')",
    "quantile_cont": "list_aggregate({0}, 'quantile_cont', {1})",
    "quantile_disc": "list_aggregate({0}, 'quantile_disc', {1})",
}
