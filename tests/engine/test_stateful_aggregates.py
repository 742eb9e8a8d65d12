"""Every aggregate over batches equals DuckDB's own over all rows at once, exactly."""

import math
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.engine.stateful.keyed import FANOUT
from orchestration.streams.operators import Aggregate, ExpressionKey
from orchestration.streams.plan import Chain, SourceRoot
from tests.engine.stateful_support import StatefulQuery, schema

ROWS = schema(k="VARCHAR", i="BIGINT", d="DECIMAL(12,2)", f="DOUBLE", s="VARCHAR", b="BOOLEAN")

# Name to what the user writes, and what DuckDB is asked over all rows, n being arrival order.
SAME = {
    "count_all": "count(*)",
    "count_i": "count(i)",
    "sum_d": "sum(d)",
    "avg_d": "avg(d)",
    "min_s": "min(s)",
    "max_f": "max(f)",
    "some": "bool_or(b)",
    "every": "bool_and(b)",
    "bits_and": "bit_and(i)",
    "bits_or": "bit_or(i)",
    "bits_xor": "bit_xor(i)",
    "distinct_s": "count(distinct s)",
    "median_i": "median(i)",
    "quantile": "quantile_cont(i, 0.25)",
    "quantile_disc": "quantile_disc(i, 0.75)",
    "filtered": "count(*) filter (where i > 0)",
    "filtered_sum": "sum(d) filter (where b)",
    "of_several": "max(i) - min(i) + count(*)",
    "hist": "histogram(s)",
    "sketch_small": "approx_count_distinct(s)",
}
CHANGED = {
    "sum_i": ("sum(i)", "CAST(sum(i) AS DECIMAL(38,0))"),
    "first_s": ("first(s)", "first(s ORDER BY n)"),
    "last_s": ("last(s)", "last(s ORDER BY n)"),
    "any_s": ("any_value(s)", "any_value(s ORDER BY n)"),
    "least": ("min_by(s, i)", "first(s ORDER BY i, n) FILTER (i IS NOT NULL AND s IS NOT NULL)"),
    "most": (
        "max_by(s, i)",
        "first(s ORDER BY i DESC, n) FILTER (i IS NOT NULL AND s IS NOT NULL)",
    ),
    "items": ("list(s)", "list(s ORDER BY n)"),
    "joined": ("string_agg(s, '-')", "string_agg(s, '-' ORDER BY n)"),
    "sketch_small": ("approx_count_distinct(s)", "count(distinct s)"),
    "items_distinct": (
        "list(distinct s)",
        "list_sort(list(distinct s) filter (where s is not null))",
    ),
    "sum_distinct": ("sum(distinct i)", "CAST(sum(distinct i) AS DECIMAL(38,0))"),
}
CLOSE = {
    "avg_i": "avg(i)",
    "sum_f": "sum(f)",
    "deviation": "stddev(i)",
    "deviation_pop": "stddev_pop(f)",
    "variance": "var_samp(i)",
    "variance_pop": "var_pop(i)",
}

values = st.fixed_dictionaries(
    {
        "k": st.sampled_from(["a", "b", None]),
        "i": st.one_of(st.none(), st.integers(-1000, 1000)),
        "d": st.one_of(st.none(), st.decimals(-9999, 9999, places=2)),
        "f": st.one_of(st.none(), st.floats(-1e3, 1e3)),
        "s": st.one_of(st.none(), st.text("abc", max_size=2)),
        "b": st.one_of(st.none(), st.booleans()),
    }
)


def aggregation(expressions):
    return Chain(
        SourceRoot("rows", ROWS),
        (Aggregate("aggregate-0", (ExpressionKey("k", "k"),), tuple(expressions.items())),),
    )


@settings(max_examples=12, deadline=None)
@given(batches=st.lists(st.lists(values, min_size=1, max_size=12), min_size=1, max_size=FANOUT + 3))
def test_equals_all_rows_at_once(batches, tmp_path_factory):
    written = {**SAME, **{n: pair[0] for n, pair in CHANGED.items()}, **CLOSE}
    asked = {**SAME, **CLOSE, **{n: pair[1] for n, pair in CHANGED.items()}}
    query = StatefulQuery(tmp_path_factory.mktemp("q"), aggregation(written), "complete")
    for rows in batches:
        query.batch(rows=rows)
    everything = [row | {"n": n} for n, row in enumerate(row for rows in batches for row in rows)]
    everything = pa.Table.from_pylist(everything, schema=ROWS.append(pa.field("n", pa.int64())))
    listed = ", ".join(f"{text} AS {name}" for name, text in asked.items())
    expected = by_key(duckdb.sql(f"SELECT k, {listed} FROM everything GROUP BY k").to_arrow_table())
    found = by_key(query.table())
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for name, value in row.items():
            if name in CLOSE:
                assert close(found[key][name], value), name
            else:
                assert found[key][name] == value, name


def by_key(table):
    return {row.pop("k"): row for row in table.to_pylist()}


def close(left, right):
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)


def test_sums_are_exact_beyond_64_bits_and_beyond_doubles(tmp_path):
    query = StatefulQuery(tmp_path, aggregation({"s": "sum(i)", "t": "sum(d)"}), "complete")
    for _ in range(3):
        rows = query.batch(rows=[{"k": "a", "i": 2**63 - 1, "d": Decimal("9999999999.99")}] * 2)
    assert rows == [{"k": "a", "s": Decimal(6 * (2**63 - 1)), "t": Decimal("59999999999.94")}]


def test_variance_of_far_away_values_does_not_cancel(tmp_path):
    query = StatefulQuery(tmp_path, aggregation({"v": "var_pop(f)"}), "complete")
    for value in (1e9 + 1, 1e9 + 2, 1e9 + 3):
        (row,) = query.batch(rows=[{"k": "a", "f": value}])
    assert row["v"] == pytest.approx(2 / 3, rel=1e-9)


def test_the_sketch_is_near_and_does_not_depend_on_the_batches(tmp_path):
    numbers = [{"k": "a", "i": n} for n in range(20_000)]
    plan = aggregation({"n": "approx_count_distinct(i)"})
    once = StatefulQuery(tmp_path / "once", plan, "complete")
    (whole,) = once.batch(rows=numbers)
    often = StatefulQuery(tmp_path / "often", plan, "complete")
    for start in range(0, 20_000, 2_000):
        (parts,) = often.batch(rows=numbers[start : start + 3_000])
    assert whole == parts
    assert whole["n"] == pytest.approx(20_000, rel=0.12)


def test_a_type_that_has_no_sum_is_refused_with_the_expression(tmp_path):
    from orchestration.errors import ExpressionError

    with pytest.raises(ExpressionError, match=r"sum\(s\) needs a number"):
        StatefulQuery(tmp_path, aggregation({"x": "sum(s)"}), "complete")
