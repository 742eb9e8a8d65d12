"""What DuckDB's functions mean for a stream: which of them no row-by-row expression may call.

The names are those of DuckDB 1.5 and 2.0; a test holds them against the catalogue of the DuckDB
that is installed, so that a function new in a later version does not slip through unseen.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "AGGREGATES",
    "BARE_WORDS",
    "BATCH_TIME",
    "GENERATORS",
    "RESERVED_WORDS",
    "WINDOWS",
    "BatchTimeType",
    "refusal",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BatchTimeType = Literal["TIMESTAMPTZ", "DATE", "TIMESTAMP"]

#: Functions that stand for the batch timestamp, and the type of what they give.
BATCH_TIME: dict[str, BatchTimeType] = {
    "now": "TIMESTAMPTZ",
    "current_timestamp": "TIMESTAMPTZ",
    "get_current_timestamp": "TIMESTAMPTZ",
    "transaction_timestamp": "TIMESTAMPTZ",
    "current_date": "DATE",
    "today": "DATE",
    "localtimestamp": "TIMESTAMP",
    "current_localtimestamp": "TIMESTAMP",
}

#: Words that call a function without parentheses, unless a column has that name.
BARE_WORDS = frozenset(
    {
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "session_user",
    }
)

AGGREGATES = _words("""
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
    arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and
    bit_or bit_xor bitstring_agg bool_and bool_or combine_aggr corr count count_if count_star
    countif covar_pop covar_samp decimal_average entropy favg first fsum geomean geometric_mean
    group_concat grouping grouping_id histogram histogram_exact json_group_array json_group_object
    json_group_structure kahan_sum kurtosis kurtosis_pop last list listagg lttb mad max max_by mean
    median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem
    skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp
    variance variant_group_array variant_group_object wavg weighted_avg
""")

WINDOWS = _words("""
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
    rank_dense row_number
""")

GENERATORS = frozenset({"generate_subscripts", "regexp_split_to_table", "unnest"})

_RANDOM = (
    "gives another value each time, so a batch that is run again after a crash would differ",
    "derive the value from the data, e.g. hash(event_id) % 100",
)
_UUID = (
    "gives another value each time, so a batch that is run again after a crash would differ",
    "derive a key from the data, e.g. md5(concat_ws('|', user_id, ts))",
)
_SEQUENCE = (
    "reads or moves a counter of the database, which has no meaning in a stream",
    "derive the value from the data",
)
_ENVIRONMENT = (
    "depends on the process that runs the batch, so running it again elsewhere would differ",
    "read the value in Python when you declare the query, and write it as a constant",
)
_CLOCK = (
    "is a time of day of type TIME, which a table cannot keep",
    "start from now(), the batch's timestamp: e.g. extract(hour FROM now())",
)
_EFFECT = ("does something besides giving a value", "leave it out")
_TABLE = (
    "gives rows of its own, and an expression gives one value for each row of the stream",
    "make what it reads the source of a stream, or look it up in map_batches",
)

_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("random", "rand", "setseed"), _RANDOM),
    **dict.fromkeys(("uuid", "gen_random_uuid", "uuidv4", "uuidv7"), _UUID),
    **dict.fromkeys(("nextval", "currval", "setval", "lastval"), _SEQUENCE),
    **dict.fromkeys(
        _words("""
        getenv current_setting getvariable current_catalog current_connection_id current_database
        current_query current_query_id current_role current_schema current_schemas
        current_transaction_id current_user has_any_column_privilege in_search_path inet_client_addr
        inet_client_port inet_server_addr inet_server_port session_user stats txid_current user
        vector_type version
        """),
        _ENVIRONMENT,
    ),
    **dict.fromkeys(("current_time", "get_current_time", "localtime", "current_localtime"), _CLOCK),
    **dict.fromkeys(("sleep_ms", "write_log", "add_parquet_key"), _EFFECT),
    "ago": ("counts back from the machine's clock", "write now() - INTERVAL ..."),
    **dict.fromkeys(
        _words("""
        glob sniff_csv query query_table json_each json_tree json_execute_serialized_sql seq_scan
        pandas_scan arrow_scan python_map_function repeat_row summary test_all_types
        test_vector_types histogram_values icu_calendar_names which_secret checkpoint
        force_checkpoint
        """),
        _TABLE,
    ),
}
_REFUSED_PREFIXES = {
    "read_": _TABLE,
    "parquet_": _TABLE,
    "duckdb_": _TABLE,
    "pragma_": _TABLE,
    "pg_": _ENVIRONMENT,
}


def refusal(name: str) -> tuple[str, str] | None:
    """Why a function may not be called in a stream, and what to write instead.

    Args:
        name: In lower case.

    Returns:
        Reason and remedy; ``None`` where it may be called.
    """
    found = _REFUSED.get(name)
    if found is None:
        found = next(
            (reason for start, reason in _REFUSED_PREFIXES.items() if name.startswith(start)), None
        )
    return found


#: Words that DuckDB never takes for a column unless they are in double quotes.
RESERVED_WORDS = _words("""
    all analyse analyze and any array as asc asymmetric both case cast check collate column
    constraint create default deferrable desc describe distinct do else end except false fetch for
    foreign from group having in initially intersect into lambda lateral leading limit not null
    offset on only or order pivot pivot_longer pivot_wider placing primary qualify references
    returning select show some summarize symmetric table then to trailing true union unique unpivot
    using variadic when where window with
""")
