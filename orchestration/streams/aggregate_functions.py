"""The aggregates a stream takes, and what each keeps of a group between batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ALIASES", "FUNCTIONS", "INSTEAD", "AggregateFunction", "StateKind"]

StateKind = Literal["numbers", "row", "sketch", "values"]


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """One aggregate.

    Attributes:
        least, most: How many arguments it takes.
        state: What a group keeps: ``numbers`` (a count, a sum: a few bytes), ``row`` (one value,
            perhaps with what it is ordered by), ``sketch`` (a fixed number of bytes), ``values``
            (all values, or each different one with how often it came: it grows with the group).
        distinct: Whether it may stand with DISTINCT, for which the state is always ``values``.
        constant: What the last argument has to be, if it is a constant.
    """

    least: int
    most: int
    state: StateKind
    distinct: bool = False
    constant: Literal["quantile", "text"] | None = None


#: By canonical name.
FUNCTIONS: dict[str, AggregateFunction] = {
    "count": AggregateFunction(0, 1, "numbers", distinct=True),
    "sum": AggregateFunction(1, 1, "numbers", distinct=True),
    "avg": AggregateFunction(1, 1, "numbers", distinct=True),
    "min": AggregateFunction(1, 1, "row"),
    "max": AggregateFunction(1, 1, "row"),
    "min_by": AggregateFunction(2, 2, "row"),
    "max_by": AggregateFunction(2, 2, "row"),
    "first": AggregateFunction(1, 1, "row"),
    "last": AggregateFunction(1, 1, "row"),
    "any_value": AggregateFunction(1, 1, "row"),
    "stddev_samp": AggregateFunction(1, 1, "numbers"),
    "stddev_pop": AggregateFunction(1, 1, "numbers"),
    "var_samp": AggregateFunction(1, 1, "numbers"),
    "var_pop": AggregateFunction(1, 1, "numbers"),
    "bool_and": AggregateFunction(1, 1, "numbers"),
    "bool_or": AggregateFunction(1, 1, "numbers"),
    "bit_and": AggregateFunction(1, 1, "numbers"),
    "bit_or": AggregateFunction(1, 1, "numbers"),
    "bit_xor": AggregateFunction(1, 1, "numbers"),
    "approx_count_distinct": AggregateFunction(1, 1, "sketch"),
    "list": AggregateFunction(1, 1, "values", distinct=True),
    "string_agg": AggregateFunction(1, 2, "values", distinct=True, constant="text"),
    "median": AggregateFunction(1, 1, "values"),
    "quantile_cont": AggregateFunction(2, 2, "values", constant="quantile"),
    "quantile_disc": AggregateFunction(2, 2, "values", constant="quantile"),
    "mode": AggregateFunction(1, 1, "values"),
    "histogram": AggregateFunction(1, 1, "values"),
}

#: Other names of the same.
ALIASES = {
    "arg_max": "max_by",
    "arg_min": "min_by",
    "argmax": "max_by",
    "argmin": "min_by",
    "array_agg": "list",
    "mean": "avg",
    "stddev": "stddev_samp",
    "variance": "var_samp",
}

#: Aggregates of DuckDB that are not among them, and what to write.
INSTEAD = {
    "approx_quantile": "quantile_cont(x, 0.5)",
    "arbitrary": "any_value(x)",
    "count_if": "count(*) FILTER (WHERE x)",
    "count_star": "count(*)",
    "countif": "count(*) FILTER (WHERE x)",
    "favg": "avg(x)",
    "fsum": "sum(x)",
    "geomean": "exp(avg(ln(x)))",
    "geometric_mean": "exp(avg(ln(x)))",
    "group_concat": "string_agg(x, ',')",
    "kahan_sum": "sum(x)",
    "listagg": "string_agg(x, ',')",
    "quantile": "quantile_disc(x, 0.5)",
    "sem": "stddev_pop(x) / sqrt(count(x))",
    "sumkahan": "sum(x)",
    "wavg": "sum(x * weight) / sum(weight)",
    "weighted_avg": "sum(x * weight) / sum(weight)",
}
