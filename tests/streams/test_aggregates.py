from __future__ import annotations

import pytest

from orchestration.errors import ExpressionError
from orchestration.streams.aggregate_functions import ALIASES, FUNCTIONS
from orchestration.streams.aggregates import AggregateCall, parse_aggregate
from orchestration.streams.columns import Columns

COLUMNS = Columns(tuple((name, None) for name in ("x", "y", "ok", "page", "p")))


def taken(text):
    found = parse_aggregate(text, COLUMNS, ["page"])
    return found.final, [str(call) for call in found.calls]


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("count(*)", "count(*)"),
        ("count()", "count(*)"),
        ("count(x)", "count(x)"),
        ("COUNT(DISTINCT x)", "count(DISTINCT x)"),
        ("count(distinct (x, y))", "count(DISTINCT (x, y))"),
        ("sum(x)", "sum(x)"),
        ("sum(all x)", "sum(x)"),
        ("sum(distinct x)", "sum(DISTINCT x)"),
        ("avg(x)", "avg(x)"),
        ("mean(x)", "avg(x)"),
        ("avg(distinct x)", "avg(DISTINCT x)"),
        ("min(x + 1)", "min(x + 1)"),
        ("max(x)", "max(x)"),
        ('"max"(x)', "max(x)"),
        ("min_by(x, y)", "min_by(x, y)"),
        ("arg_min(x, y)", "min_by(x, y)"),
        ("argmin(x, y)", "min_by(x, y)"),
        ("max_by(x, y)", "max_by(x, y)"),
        ("arg_max(x, y)", "max_by(x, y)"),
        ("argmax(x, y)", "max_by(x, y)"),
        ("first(x)", "first(x)"),
        ("last(x)", "last(x)"),
        ("any_value(x)", "any_value(x)"),
        ("stddev(x)", "stddev_samp(x)"),
        ("stddev_samp(x)", "stddev_samp(x)"),
        ("stddev_pop(x)", "stddev_pop(x)"),
        ("var_samp(x)", "var_samp(x)"),
        ("variance(x)", "var_samp(x)"),
        ("var_pop(x)", "var_pop(x)"),
        ("bool_and(ok)", "bool_and(ok)"),
        ("bool_or(ok)", "bool_or(ok)"),
        ("bit_and(x)", "bit_and(x)"),
        ("bit_or(x)", "bit_or(x)"),
        ("bit_xor(x)", "bit_xor(x)"),
        ("approx_count_distinct(x)", "approx_count_distinct(x)"),
        ("list(x)", "list(x)"),
        ("array_agg(distinct x)", "list(DISTINCT x)"),
        ("string_agg(x)", "string_agg(x, ',')"),
        ("string_agg(distinct x, '; ')", "string_agg(DISTINCT x, '; ')"),
        ("median(x)", "median(x)"),
        ("quantile_cont(x, 0.9)", "quantile_cont(x, 0.9)"),
        ("quantile_disc(x, [0.1, 0.5])", "quantile_disc(x, [0.1, 0.5])"),
        ("mode(x)", "mode(x)"),
        ("histogram(x)", "histogram(x)"),
        ("count(*) filter (where x > (1))", "count(*) FILTER (WHERE x > (1))"),
        ("sum(x) FILTER (ok)", "sum(x) FILTER (WHERE ok)"),
        ("sum(abs(x /* why */))", "sum(abs(x /* why */))"),
    ],
)
def test_every_aggregate_there_is(text, call):
    assert taken(text) == ('"headwater_agg_0"', [call])


def test_every_function_is_in_that_table_and_every_alias_leads_to_one():
    marks = next(
        m for m in test_every_aggregate_there_is.pytestmark if m.name == "parametrize"
    ).args[1]
    assert {call.split("(")[0] for _, call in marks} == set(FUNCTIONS)
    assert {text.split("(")[0] for text, _ in marks} >= set(ALIASES)
    assert set(ALIASES.values()) <= set(FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "final", "calls"),
    [
        ("sum(x) / count(*)", "$0 / $1", ["sum(x)", "count(*)"]),
        ("sum(x) - sum(x)", "$0 - $0", ["sum(x)"]),
        ("sum(x) - sum(distinct x)", "$0 - $1", ["sum(x)", "sum(DISTINCT x)"]),
        ("coalesce(sum(x), 0)::BIGINT", "coalesce($0, 0)::BIGINT", ["sum(x)"]),
        ("count(*)::VARCHAR || '%'", "$0::VARCHAR || '%'", ["count(*)"]),
        ("page || count(*)", "page || $0", ["count(*)"]),
        ("histogram(x)[1]", "$0[1]", ["histogram(x)"]),
        ("list(distinct x)[1:3]", "$0[1:3]", ["list(DISTINCT x)"]),
        ("(-count(*))", "(-$0)", ["count(*)"]),
        ("list_sum(list(x))", "list_sum($0)", ["list(x)"]),
        ("struct_pack(a := sum(x))", "struct_pack(a := $0)", ["sum(x)"]),
        ("{'a': min(x), 'b': max(x)}", "{'a': $0, 'b': $1}", ["min(x)", "max(x)"]),
        ("list_transform(list(x), lambda e: e + 1)", "list_transform($0, lambda e: e + 1)", None),
        (
            "case when sum(x) between count(*) and max(y) then 1 end",
            "case when $0 between $1 and $2 then 1 end",
            ["sum(x)", "count(*)", "max(y)"],
        ),
        (
            "count(*) filter (where ok) * 100.0 / count(*)",
            "$0 * 100.0 / $1",
            ["count(*) FILTER (WHERE ok)", "count(*)"],
        ),
        ("'sum(x)' || any_value(x)", "'sum(x)' || $0", ["any_value(x)"]),
    ],
)
def test_expressions_over_aggregates_keep_the_users_text(text, final, calls):
    found, made = taken(text)
    for number in range(9):
        found = found.replace(f'"headwater_agg_{number}"', f"${number}")
    assert found == final
    assert calls is None or made == calls


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        ("x + 1", "there is no aggregate in it", "count"),
        ("summ(x)", 'did you mean "sum"', "count"),
        ("std(x)", 'did you mean "stddev"', "count"),
        ("percentile_cont(0.5) within group (order by x)", "quantile_cont", "count"),
        ("quantile_cont(x, 0.5) within group (order by x)", "WITHIN GROUP", "quantile_cont"),
        ("kurtosis(x)", "kurtosis is not among the aggregates", "any_value, approx_count"),
        ("stddev_sam(x)", 'did you mean "stddev_samp"', ""),
        ("count_if(ok)", "count_if is not among", "count(*) FILTER (WHERE x)"),
        ("quantile(x, 0.5)", "quantile is not among", "quantile_disc"),
        ("approx_quantile(x, 0.5)", "approx_quantile is not among", "quantile_cont"),
        ("group_concat(x)", "group_concat is not among", "string_agg"),
        ("sum(sum(x))", "an aggregate (sum) stands inside an aggregate (sum)", "aggregate twice"),
        ("sum(x) filter (where max(y) > 0)", "(max) stands inside", "aggregate twice"),
        ("sum(lag(x))", "stands inside an aggregate", "aggregate twice"),
        ("max(x) over ()", "is a window function", "output table"),
        ("row_number() over () + count(*)", "is a window function", "output table"),
        ("random() + sum(x)", "another value each time", "hash"),
        ("sum(random())", "another value each time", "hash"),
        ("count(*) + (select 1)", "subquery", "map_batches"),
        ("sum(unnest(x))", "several rows of one", ""),
        ("list(x order by y)", "takes no ORDER BY", "list_sort"),
        ("first(x order by y)", "takes no ORDER BY", "min_by"),
        ("min(x, 3)", "min has 2 arguments", "min(x)"),
        ("max_by(x, y, 3)", "max_by has 3 arguments", "greatest y"),
        ("count(distinct x, y)", "count has 2 arguments", "count(DISTINCT (a, b))"),
        ("count(distinct *)", "does not stand with DISTINCT", "count(DISTINCT x)"),
        ("min(distinct x)", "does not stand with DISTINCT", "count, sum, avg, list, string_agg"),
        ("sum(*)", "sum has 0 arguments", "sum(x)"),
        ("quantile_cont(x, p)", "a number from 0 to 1", "quantile_cont(x, 0.9)"),
        ("quantile_cont(x, 2)", "a number from 0 to 1", "quantile_cont(x, 0.9)"),
        ("quantile_disc(x, 'a')", "a number from 0 to 1", "quantile_disc"),
        ("quantile_disc(x)", "has 1 arguments", "quantile_disc"),
        ("string_agg(x, y)", "a text, and a constant", "string_agg(x, ', ')"),
        ("x.sum()", "not called with a dot", "list_aggregate"),
        ("sum(x) AS total", "named before the equals sign", "remove AS"),
        ("x + count(*)", 'column "x" stands outside of an aggregate', "any_value(x)"),
        ("sum(xx)", 'no column "xx"; did you mean "x"', ""),
        ("sum(x) + headwater_agg_1", "are taken", "rename"),
        ("sum(x", "Expecting )", ""),
        ("count(*) filter ()", "", ""),
    ],
)
def test_what_no_state_can_be_kept_for_is_refused(text, says, remedy):
    with pytest.raises(ExpressionError) as caught:
        parse_aggregate(text, COLUMNS, ["page"])
    assert says in str(caught.value)
    assert caught.value.remedy
    assert remedy in caught.value.remedy


def test_calls_say_what_state_they_keep():
    assert AggregateCall("sum", ("x",)).state == "numbers"
    assert AggregateCall("max", ("x",)).state == "row"
    assert AggregateCall("approx_count_distinct", ("x",)).state == "sketch"
    assert AggregateCall("approx_count_distinct", ("x",)).approximate
    assert AggregateCall("median", ("x",)).state == "values"
    assert AggregateCall("sum", ("x",), distinct=True).state == "values"


def test_names_stay_unchecked_while_columns_are_not_known():
    assert parse_aggregate("sum(anything) + whatever").final == '"headwater_agg_0" + whatever'
