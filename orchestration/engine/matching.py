"""Is a copy of a table what its source is? By count and hash of key ranges, then row by row.

Keys that are on their way, changed at the source and not yet applied to the copy, are left out on
both sides: everything else has to be the same to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.engine.compare import TableFile, relation_sql
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

__all__ = ["KeyRange", "MatchJob", "Matched", "match_files"]

_RANGES = 32


@dataclass(frozen=True, slots=True)
class MatchJob:
    """What to hold against each other.

    Attributes:
        source, copy: Files of either side.
        moving: Files with the keys that are on their way.
        columns: What to compare, the keys among them.
        keys: What names a row.
        deleted: Column of the copy that marks deleted rows, which are left out.
        samples: Rows that differ to give back.
    """

    source: Sequence[TableFile]
    copy: Sequence[TableFile]
    moving: Sequence[TableFile]
    columns: pa.Schema
    keys: tuple[str, ...]
    deleted: str | None = None
    samples: int = 10


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A range of keys in which the two sides differ.

    Attributes:
        first, last: Its smallest and greatest first key column, as texts.
        source_rows, copy_rows: Rows of either side.
    """

    first: str
    last: str
    source_rows: int
    copy_rows: int


@dataclass(frozen=True, slots=True)
class Matched:
    """How a copy compares with its source.

    Attributes:
        source_rows, copy_rows: Rows compared, of either side.
        moving_keys: Keys left out.
        unknown_moves: Rows on their way that name no key: a truncate.
        ranges: Ranges of keys that there are.
        differing: Those in which the sides differ.
        only_source, only_copy, different: Keys that one side lacks, and keys whose rows differ.
        samples: Some of these rows, with ``side`` in front.
    """

    source_rows: int
    copy_rows: int
    moving_keys: int
    unknown_moves: int
    ranges: int
    differing: tuple[KeyRange, ...]
    only_source: int
    only_copy: int
    different: int
    samples: pa.Table


def match_files(connection: duckdb.DuckDBPyConnection, job: MatchJob) -> Matched:
    """Compare; only ranges of keys whose count or hash differs are looked at row by row."""
    keys = [quote_identifier(name) for name in job.keys]
    listed, names = ", ".join(keys), ", ".join(map(quote_identifier, job.columns.names))
    moving = relation_sql(job.moving, pa.schema([job.columns.field(key) for key in job.keys]))
    connection.execute(f"CREATE TEMP TABLE hw_moving AS SELECT DISTINCT {listed} FROM ({moving})")
    known = " AND ".join(f"{key} IS NOT NULL" for key in keys)
    moves, unknown = connection.execute(
        f"SELECT count(*) FILTER ({known}), count(*) FILTER (NOT ({known})) FROM hw_moving"
    ).fetchall()[0]
    sides = {"source": relation_sql(job.source, job.columns), "copy": _copy(job)}
    for side, rows in sides.items():
        connection.execute(
            f"CREATE TEMP TABLE hw_{side} AS SELECT {listed}, hash({names}) AS hw_hash "
            f"FROM ({rows}) ANTI JOIN hw_moving USING ({listed})"
        )
    counts = connection.execute(
        "SELECT (SELECT count(*) FROM hw_source), (SELECT count(*) FROM hw_copy)"
    ).fetchall()[0]
    ranges = _compare_ranges(connection, keys[0])
    differing = [row for row in ranges if not row[4]]
    found = (0, 0, 0)
    connection.execute(f"CREATE TEMP TABLE hw_differing AS SELECT {listed} FROM hw_source LIMIT 0")
    if differing:
        found = _compare_rows(connection, listed)
    samples = connection.sql(
        " UNION ALL ".join(
            f"(SELECT '{side}' AS side, {names} FROM ({rows}) SEMI JOIN (SELECT * FROM "
            f"hw_differing ORDER BY ALL LIMIT {int(job.samples)}) USING ({listed}))"
            for side, rows in sides.items()
        )
        + f" ORDER BY {listed}, side DESC"
    ).to_arrow_table()
    return Matched(
        source_rows=int(counts[0]),
        copy_rows=int(counts[1]),
        moving_keys=int(moves),
        unknown_moves=int(unknown),
        ranges=len(ranges),
        differing=tuple(KeyRange(str(row[0]), str(row[1]), row[2], row[3]) for row in differing),
        only_source=found[0],
        only_copy=found[1],
        different=found[2],
        samples=samples,
    )


def _copy(job: MatchJob) -> str:
    if job.deleted is None:
        return relation_sql(job.copy, job.columns)
    columns = job.columns.append(pa.field(job.deleted, pa.bool_()))
    left = quote_identifier(job.deleted)
    return f"SELECT * EXCLUDE ({left}) FROM ({relation_sql(job.copy, columns)}) WHERE {left} IS NOT TRUE"


def _compare_ranges(
    connection: duckdb.DuckDBPyConnection, key: str
) -> list[tuple[object, object, int, int, bool]]:
    """Smallest and greatest key, rows of either side, and whether they are the same."""
    both = f"SELECT {key} FROM hw_source UNION ALL SELECT {key} FROM hw_copy"
    parts = ", ".join(str(n / _RANGES) for n in range(1, _RANGES))
    connection.execute(
        f"CREATE TEMP TABLE hw_bounds AS SELECT DISTINCT unnest(quantile_disc({key}, [{parts}])) "
        f"AS hw_bound FROM ({both})"
    )
    sides = " UNION ALL ".join(
        f"SELECT {key} AS hw_key, hw_hash, {n} AS hw_side FROM hw_{side}"
        for n, side in enumerate(("source", "copy"))
    )
    return connection.execute(
        "SELECT min(hw_key)::VARCHAR, max(hw_key)::VARCHAR, count(*) FILTER (hw_side = 0), "
        "count(*) FILTER (hw_side = 1), count(*) FILTER (hw_side = 0) = count(*) FILTER "
        "(hw_side = 1) AND coalesce(sum(hw_hash::HUGEINT) FILTER (hw_side = 0), 0) = "
        "coalesce(sum(hw_hash::HUGEINT) FILTER (hw_side = 1), 0) "
        f"FROM ({sides}) ASOF LEFT JOIN hw_bounds ON hw_key >= hw_bound "
        "GROUP BY hw_bound ORDER BY min(hw_key)"
    ).fetchall()


def _compare_rows(connection: duckdb.DuckDBPyConnection, listed: str) -> tuple[int, int, int]:
    """Keys that differ, into a table; how many lack on the one side, the other, or differ."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE hw_pairs AS SELECT {listed}, s.hw_hash AS hw_s, "
        f"c.hw_hash AS hw_c FROM hw_source s FULL JOIN hw_copy c USING ({listed}) "
        "WHERE s.hw_hash IS DISTINCT FROM c.hw_hash"
    )
    connection.execute(
        f"INSERT INTO hw_differing SELECT {listed} FROM hw_pairs UNION SELECT {listed} FROM hw_copy "
        f"GROUP BY {listed} HAVING count(*) > 1"
    )
    row = connection.execute(
        "SELECT count(*) FILTER (hw_c IS NULL), count(*) FILTER (hw_s IS NULL), "
        "count(*) FILTER (hw_s IS NOT NULL AND hw_c IS NOT NULL) FROM hw_pairs"
    ).fetchall()[0]
    return int(row[0]), int(row[1]), int(row[2])
