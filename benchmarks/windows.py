"""Windows by event time, newline JSON to Delta: a whole query beside the bare engine.

Clicks, one in twenty up to 20 minutes late; count and sum per page and five minutes, a watermark
of ten minutes, append mode, ten batches. The bare engine (DuckDB) aggregates the same files once,
with one ``read_json``, ``GROUP BY`` and ``COPY``: no batches, no state, no watermark, no late rows,
and what it cannot read it bends. The query does all that, with write-ahead log, fsync and Delta
commits. What it gave is held against an oracle before any time counts.

Rounds are paired in one process, so that a busy machine slows both; memory is measured in
processes of their own::

    python -m benchmarks.windows [--rows 10000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.clicks import SCHEMA, write_clicks
from benchmarks.measuring import Spent, child_peak, median_ratio, own_peak, spent
from orchestration import StreamingQuery, available_now, delta_sink, files, stream, window
from orchestration.config import Settings
from orchestration.runtime.contents import table_rows

__all__ = ["main", "oracle", "query_rows"]

_BATCHES, _FILES_PER_BATCH = 10, 20
_PER_SECOND = (
    2_500  # clicks: a batch of a million is less than the seven minutes that make rows late
)
_WINDOW_US, _DELAY_US = 5 * 60 * 10**6, 10 * 60 * 10**6
_PROMISED = 0.5
_ALLOWED_MEMORY = 1.25  # with twice the rows: allocators keep what they had

_COLUMNS = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in SCHEMA.items()) + "}"


def bare(landing: Path, out: Path) -> None:
    """The aggregation alone, once over all files."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"COPY (SELECT time_bucket(INTERVAL 5 MINUTES, ts) AS window_start, page, "
        f"count(*) AS views, sum(amount) AS revenue FROM {_read(landing)} GROUP BY ALL) "
        f"TO '{out}/bare.parquet' (FORMAT parquet)"
    ).fetchall()
    connection.close()


def query(landing: Path, out: Path) -> None:
    """The whole query, from nothing, in ten batches."""
    clicks = stream(files(str(landing), schema=SCHEMA)).with_watermark("ts", "10 minutes")
    StreamingQuery(
        "windows",
        clicks.group_by(window("ts", "5 minutes"), "page").agg(
            views="count(*)", revenue="sum(amount)"
        ),
        sink=delta_sink("windows"),
        settings=Settings.load(home=out, memory_limit="1GiB"),
    ).run(available_now(max_files=_FILES_PER_BATCH))


def query_rows(out: Path) -> tuple[dict[tuple[int, str], tuple[int, str]], int]:
    """What the query's tables hold: (window start in seconds, page) to views and revenue; late rows."""
    rows = table_rows(str(out / "tables" / "windows"))
    found = {
        (int(row["window_start"].timestamp()), row["page"]): (row["views"], str(row["revenue"]))
        for row in rows
    }
    if len(found) != len(rows):
        raise RuntimeError("a window of a page is in the table more than once")
    late = out / "tables" / "windows__late"
    return found, len(table_rows(str(late))) if late.exists() else 0


def oracle(landing: Path) -> tuple[dict[tuple[int, str], tuple[int, str]], int]:
    """The same, by semantics §1 and plain SQL over all rows at once."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE TABLE clicks AS SELECT epoch_us(ts) AS us, page, amount, "
        f"us - us % {_WINDOW_US} + {_WINDOW_US} AS closes, (dense_rank() OVER (ORDER BY filename) "
        f"- 1) // {_FILES_PER_BATCH} AS batch FROM {_read(landing, 'filename = true')}"
    )
    # The watermark after each batch, and the one that its rows were held against: that of the
    # batch before the one before.
    connection.execute(
        "CREATE TABLE marks AS SELECT batch, greatest(0, (max(max(us)) OVER (ORDER BY batch) - "
        f"{_DELAY_US}) // 1000 * 1000) AS next FROM clicks GROUP BY batch"
    )
    connection.execute(
        "CREATE TABLE judged AS SELECT *, closes <= coalesce((SELECT next FROM marks AS m WHERE "
        "m.batch = c.batch - 2), 0) AS late FROM clicks AS c"
    )
    rows: list[Any] = connection.execute(
        f"SELECT (closes - {_WINDOW_US}) // 1000000, page, count(*), sum(amount)::VARCHAR "
        "FROM judged WHERE NOT late AND closes <= (SELECT max(next) FROM marks) GROUP BY ALL"
    ).fetchall()
    late: Any = connection.execute("SELECT count(*) FROM judged WHERE late").fetchone()
    connection.close()
    return {(start, page): (views, revenue) for start, page, views, revenue in rows}, late[0]


def _read(landing: Path, more: str = "") -> str:
    options = ", ".join(filter(None, [f"columns = {_COLUMNS}", more]))
    return f"read_json('{landing}/*.json', format = 'newline_delimited', {options})"


_WAYS = {"bare": bare, "query": query}


def _timed(way: str, landing: Path, *, checked: Any = None) -> Spent:
    out = Path(tempfile.mkdtemp(prefix="headwater-windows-"))
    try:
        took = spent(lambda: _WAYS[way](landing, out))
        if checked is not None and query_rows(out) != checked:
            raise SystemExit("WRONG: the query's tables are not what the rules say")
        return took
    finally:
        shutil.rmtree(out)


def _memory(way: str, landing: Path) -> int:
    home = Path(tempfile.mkdtemp(prefix="headwater-windows-"))
    try:
        arguments = ["-m", "benchmarks.windows", "--only", way, str(landing), str(home)]
        return child_peak(arguments, home)
    finally:
        shutil.rmtree(home)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs=3, metavar=("WAY", "LANDING", "OUT"))
    given = parser.parse_args()
    if given.only:
        way, landing, out = given.only
        _WAYS[way](Path(landing), Path(out))
        print(own_peak())
        return 0
    with tempfile.TemporaryDirectory(prefix="headwater-windows-") as name:
        return _compare(Path(name), given.rows, given.rounds)


def _compare(root: Path, rows: int, rounds: int) -> int:
    print(
        f"windows: writing {rows:,} clicks into {_BATCHES * _FILES_PER_BATCH} files …", flush=True
    )
    landing = root / "clicks"
    paths = write_clicks(landing, rows, _BATCHES * _FILES_PER_BATCH, per_second=_PER_SECOND)
    expected = oracle(landing)
    _timed("query", landing, checked=expected)  # imports are start-up, not work
    groups, late = expected
    print(f"  right: {len(groups):,} groups and {late:,} late rows, as the oracle has them")
    pairs = []
    for number in range(1, rounds + 1):
        base, ours = _timed("bare", landing), _timed("query", landing, checked=expected)
        pairs.append((ours, base))
        print(
            f"  round {number}: bare {rows / base.wall / 1e6:.2f} M rows/s "
            f"({base.cpu:.1f} s of processor), query {rows / ours.wall / 1e6:.2f} M "
            f"({ours.cpu:.1f} s), {base.wall / ours.wall:.0%}",
            flush=True,
        )
    ratio = median_ratio([o.wall for o, _ in pairs], [b.wall for _, b in pairs])
    cpu = median_ratio([o.cpu for o, _ in pairs], [b.cpu for _, b in pairs])
    peaks = {way: _memory(way, landing) for way in _WAYS}
    half = root / "half"
    half.mkdir()
    for path in paths[: len(paths) // 2]:
        (half / path.name).hardlink_to(path)
    grown = peaks["query"] / _memory("query", half)
    print(
        f"  memory at most: bare {peaks['bare'] / 1e6:.0f} MB, query {peaks['query'] / 1e6:.0f} MB, "
        f"{grown:.2f} times what half of the rows take"
    )
    passed = ratio >= _PROMISED and grown < _ALLOWED_MEMORY
    print(
        f"windows: {ratio:.0%} of the bare engine by the clock, {cpu:.0%} by processor seconds "
        f"(at least {_PROMISED:.0%} is promised): {'good' if passed else 'TOO SLOW or too large'}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
