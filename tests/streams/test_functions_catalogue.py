"""Holds the lists of names against the DuckDB that is installed."""

from __future__ import annotations

import re

import duckdb
import pytest

from orchestration.errors import ExpressionError
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import check_expression
from orchestration.streams.functions import BATCH_TIME, RESERVED_WORDS, refusal

# Calls that sqlglot cannot read, or reads as something else: the price of a parser of its own.
PARSER_GAPS = {"apply", "array_cat", "array_concat", "list_concat", "reduce"}
# VOLATILE to DuckDB's optimizer only: it raises, each time the same.
HARMLESS = {"error"}


@pytest.fixture(scope="module")
def functions():
    with duckdb.connect() as connection:
        return connection.sql(
            "SELECT DISTINCT function_name, function_type, stability, len(parameters), "
            "coalesce(macro_definition, '') FROM duckdb_functions()"
        ).fetchall()


def taken(name, count):
    arguments = "abcdefghijkl"[:count]
    try:
        check_expression(
            f"{name}({', '.join(arguments)})", Columns(tuple((item, None) for item in arguments))
        )
    except ExpressionError:
        return False
    return True


def test_no_aggregate_or_window_function_gets_through(functions):
    through = [
        name
        for name, kind, _, count, _ in functions
        if kind in {"aggregate", "window"} and taken(name, count)
    ]
    assert through == []


def test_nothing_that_changes_from_call_to_call_gets_through(functions):
    through = {
        name
        for name, kind, stability, count, _ in functions
        if kind == "scalar" and stability != "CONSISTENT" and taken(name, count)
    }
    assert through - HARMLESS - BATCH_TIME.keys() == set()


def test_no_macro_hides_a_clock_an_aggregate_or_a_subquery(functions):
    hides = re.compile(
        r"\b(current_|now|random|uuid|sleep|unnest|select|(?<!list_)(?<!')\b(sum|avg|string_agg|list))\W",
        re.IGNORECASE,
    )
    through = [
        (name, body)
        for name, kind, _, count, body in functions
        if kind == "macro" and taken(name, count) and hides.search(body)
    ]
    assert {name for name, _ in through} <= {"format_type", "get_block_size"}


def test_every_plain_function_gets_through(functions):
    refused = {
        name
        for name, kind, stability, count, _ in functions
        if kind == "scalar"
        and stability == "CONSISTENT"
        and re.fullmatch(r"[a-z_][a-z0-9_]*", name)
        and refusal(name) is None
        and not (name == "age" and count == 1)
        and not taken(name, count)
    }
    assert refused <= PARSER_GAPS


def test_every_reserved_word_is_known():
    with duckdb.connect() as connection:
        words = connection.sql(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
        ).fetchall()
    assert {word for (word,) in words} <= RESERVED_WORDS
