"""Are two sets of Parquet files the same rows, as multisets, at any size?

First one pass over each side adds up two independent 64-bit hashes of every row: addition does
not mind the order, so equal counts and equal sums mean equal multisets (but for a chance of about
2⁻¹²⁸). Only where they differ are the rows grouped and held against each other, spilling to disk.

``NaN`` equals ``NaN`` and ``-0.0`` equals ``0.0``; everything else is exact, unless floating-point
sums are to be allowed their last bits (:mod:`orchestration.engine.tolerance`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.tolerance import greatest_sql, parts_of, settled_sql
from orchestration.streams.quoting import quote_identifier, quote_literal
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import duckdb
    import pyarrow as pa

__all__ = ["Comparison", "TableFile", "compare_files", "read_rows", "relation_sql"]

#: A local Parquet file and the values of its partition columns.
TableFile = tuple[str, dict[str, str | None]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two sides hold.

    Attributes:
        left_rows, right_rows: Rows of each.
        only_left, only_right: Rows of one side without a partner on the other.
        left_samples, right_samples: Some of those.
    """

    left_rows: int
    right_rows: int
    only_left: int
    only_right: int
    left_samples: pa.Table
    right_samples: pa.Table


def compare_files(
    connection: duckdb.DuckDBPyConnection,
    left: Sequence[TableFile],
    right: Sequence[TableFile],
    columns: pa.Schema,
    *,
    samples: int,
    close: Collection[str] = (),
) -> Comparison:
    """Compare two tables column for column of ``columns``.

    Args:
        connection: With its memory limit and spill directory set.
        left, right: Files of either side.
        columns: What to compare; columns that a file lacks are null in it.
        samples: Differing rows to give back, of each side.
        close: Columns whose floating-point values are equal when only their last bits differ.
    """
    sides = [relation_sql(files, columns) for files in (left, right)]
    sums = [_sums(connection, side, columns) for side in sides]
    nothing = columns.empty_table()
    if sums[0] == sums[1]:
        rows = sums[0][0]
        return Comparison(rows, rows, 0, 0, nothing, nothing)
    names = ", ".join(quote_identifier(name) for name in columns.names)
    grouped = (
        f"SELECT {names}, sum(headwater_side) AS headwater_surplus FROM ("
        f"SELECT {names}, 1 AS headwater_side FROM ({sides[0]}) UNION ALL "
        f"SELECT {names}, -1 FROM ({sides[1]})) "
        f"GROUP BY {names} HAVING sum(headwater_side) <> 0"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE headwater_differences AS {grouped}")
    try:
        _settle(connection, sides, columns, close)
        counts = connection.execute(
            "SELECT coalesce(sum(headwater_surplus) FILTER (headwater_surplus > 0), 0)::BIGINT, "
            "coalesce(-sum(headwater_surplus) FILTER (headwater_surplus < 0), 0)::BIGINT "
            "FROM headwater_differences"
        ).fetchall()[0]
        found = [
            connection.sql(
                f"SELECT {names} FROM headwater_differences WHERE headwater_surplus {sign} 0 "
                f"ORDER BY ALL LIMIT {int(samples)}"
            ).to_arrow_table()
            for sign in (">", "<")
        ]
    finally:
        connection.execute("DROP TABLE IF EXISTS headwater_differences")
    return Comparison(sums[0][0], sums[1][0], int(counts[0]), int(counts[1]), found[0], found[1])


def read_rows(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[TableFile],
    columns: pa.Schema,
    *,
    limit: int | None = None,
) -> pa.Table:
    """Rows of a table's files; for previews and tests, since all of them come into memory."""
    cut = "" if limit is None else f" LIMIT {int(limit)}"
    rows: pa.Table = connection.sql(relation_sql(files, columns) + cut).to_arrow_table()
    return rows


def relation_sql(files: Sequence[TableFile], columns: pa.Schema) -> str:
    """A SELECT that reads the files as one table of ``columns``.

    Partition columns are not in the files: a small join on the file's name brings them.
    """
    typed = ", ".join(
        f"CAST(NULL AS {duckdb_type(item.type)}) AS {quote_identifier(item.name)}"
        for item in columns
    )
    empty = f"SELECT {typed} WHERE false"
    if not files:
        return empty
    selected = ", ".join(
        f"CAST({quote_identifier(item.name)} AS {duckdb_type(item.type)}) "
        f"AS {quote_identifier(item.name)}"
        for item in columns
    )
    paths = ", ".join(quote_literal(path) for path, _ in files)
    partitions = [name for name in columns.names if name in files[0][1]]
    read = (
        f"SELECT * FROM read_parquet([{paths}], union_by_name = true, hive_partitioning = false, "
        "filename = 'headwater_file')"
    )
    if partitions:
        values = ", ".join(
            "(" + ", ".join([quote_literal(path), *(_value(given[p]) for p in partitions)]) + ")"
            for path, given in files
        )
        names = ", ".join(quote_identifier(name) for name in partitions)
        read = (
            f"SELECT * FROM ({read}) JOIN (VALUES {values}) AS headwater_parts"
            f"(headwater_file, {names}) USING (headwater_file)"
        )
    return f"SELECT {selected} FROM ({read} UNION ALL BY NAME {empty})"


def _settle(
    connection: duckdb.DuckDBPyConnection,
    sides: Sequence[str],
    columns: pa.Schema,
    close: Collection[str],
) -> None:
    """Take out of the table of differences what is none but for the last bits."""
    parts = parts_of(columns, close)
    if not parts.close:
        return
    both = " UNION ALL ".join(sides)
    listed = ", ".join(greatest_sql(parts))
    greatest = connection.execute(f"SELECT {listed} FROM ({both})").fetchall()[0]
    left = settled_sql(
        "headwater_differences", columns, parts, [float(v) for v in greatest], "headwater_surplus"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE headwater_settled AS {left}")
    connection.execute("DROP TABLE headwater_differences")
    connection.execute("ALTER TABLE headwater_settled RENAME TO headwater_differences")


def _sums(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: pa.Schema
) -> tuple[int, int, int]:
    names = ", ".join(quote_identifier(name) for name in columns.names)
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(hash({names})::HUGEINT), 0)::VARCHAR, "
        f"coalesce(sum(hash('headwater', {names})::HUGEINT), 0)::VARCHAR FROM ({relation})"
    ).fetchall()[0]
    return int(row[0]), int(row[1]), int(row[2])


def _value(value: str | None) -> str:
    return "NULL" if value is None else quote_literal(value)
