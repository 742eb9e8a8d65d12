"""Changes of rows into a table that follows them: a whole query beside a bare DuckDB copy-on-write.

A million changes, in random order of keys, go into a million rows: four of five are updates, the
others inserts and deletes. The bare loop takes the newest change of each key by a window and
writes it and the rows of all other keys into new files: no sequence guard against what the table
holds, no memory of deletes, no log, no commit. The query does all that, and it alone is watched
for memory, in a process of its own. History (type 2) is shown beside it.

Then ten thousand changes of recent keys go into ten million rows, and the files that are
rewritten are counted::

    python -m benchmarks.changes [--rows 1000000] [--large 10000000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from benchmarks.measuring import Spent, child_peak, median_ratio, own_peak, spent
from orchestration import (
    StreamingQuery,
    available_now,
    files,
    scd1_sink,
    scd2_sink,
    stream,
)
from orchestration.config import Settings

_SCHEMA = {
    "_op": "VARCHAR",
    "_sequence": "VARCHAR",
    "id": "BIGINT",
    "name": "VARCHAR",
    "city": "VARCHAR",
    "balance": "DECIMAL(18,2)",
    "updated": "TIMESTAMPTZ",
    "note": "VARCHAR",
}
_COLUMNS = ", ".join(list(_SCHEMA)[2:])
_MEMORY = "450MB"  # DuckDB's limit; Python, Arrow and Delta come on top
_PEAK = 800_000_000
_RATIO = 0.7
_SMALL = 10_000
_FILES = 4  # that the changes come in
_SINKS = {"scd1": scd1_sink, "scd2": scd2_sink}


def write_changes(path: Path, first: int, rows: int, key: str, op: str = "'insert'") -> None:
    """A file of changes with the places ``first``, ``first + 1``, … in the source's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"COPY (SELECT {op} AS _op, printf('%016x/%010d', place, 0) AS _sequence, id, "
            "'customer ' || (id % 700001) AS name, 'city ' || hash(place) % 1000 AS city, "
            "CAST(hash(place, 1) % 10000000 / 100 AS DECIMAL(18, 2)) AS balance, "
            "make_timestamptz(1767225600000000 + place * 1000) AS updated, "
            "left(md5(CAST(place AS VARCHAR)), 20) AS note "
            f"FROM (SELECT *, CAST({key} AS BIGINT) AS id FROM "
            f"(SELECT {first} + i AS place, i FROM range({rows}) r(i)))) TO '{path}'"
        )


def query(root: Path, kind: str) -> StreamingQuery:
    """The query whose files and table are below a directory."""
    source = files(str(root / "landing"), name="changes", format="parquet", schema=_SCHEMA)
    return StreamingQuery(
        "changes",
        stream(source),
        sink=_SINKS[kind]("changes", keys="id"),
        settings=Settings.load(home=root / "home", memory_limit=_MEMORY),
    )


def run(root: Path, kind: str) -> Spent:
    """Run what is there."""
    following = query(root, kind)
    return spent(lambda: following.run(available_now(max_files=_FILES)))


def fill(root: Path, kind: str, rows: int) -> None:
    """A table of so many rows, and a million changes that wait."""
    write_changes(root / "landing/0.parquet", 0, rows, "i")
    run(root, kind)
    op = "CASE hash(place, 2) % 10 WHEN 0 THEN 'insert' WHEN 1 THEN 'delete' ELSE 'update' END"
    key = f"CASE WHEN hash(place, 2) % 10 = 0 THEN place ELSE hash(place, 3) % {rows} END"
    part = rows // _FILES
    for number in range(_FILES):
        path = root / f"waiting/{number + 1}.parquet"
        write_changes(path, rows + number * part, part, key, op)


def bare(root: Path, table: list[str], out: Path) -> None:
    """The least that has to be done."""
    newest = (
        f"SELECT * FROM read_parquet('{root}/waiting/*.parquet') "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY _sequence DESC) = 1"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = '{out}.spill'")
        connection.execute(f"CREATE TEMP TABLE newest AS {newest}")
        connection.execute(
            f"COPY (SELECT {_COLUMNS}, _sequence FROM newest WHERE _op <> 'delete' UNION ALL "
            f"SELECT {_COLUMNS}, __sequence FROM read_parquet({table}) AS t "
            f"ANTI JOIN newest AS n ON t.id = n.id) "
            f"TO '{out}' (FORMAT parquet, FILE_SIZE_BYTES 134217728)"
        )


def right(root: Path) -> bool:
    """Whether the table of type 1 is what the files say."""
    table = DeltaTable(root / "home/tables/changes").file_uris()
    wanted = (
        f"SELECT {_COLUMNS}, _sequence FROM (SELECT * FROM read_parquet('{root}/landing/*.parquet') "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY _sequence DESC) = 1) "
        "WHERE _op <> 'delete'"
    )
    found = f"SELECT {_COLUMNS}, __sequence FROM read_parquet({table})"
    with duckdb.connect() as connection:
        count, differing = connection.execute(
            f"SELECT (SELECT count(*) FROM ({found})), (SELECT count(*) FROM (({wanted}) "
            f"EXCEPT ({found})))"
        ).fetchall()[0]
        (expected,) = connection.execute(f"SELECT count(*) FROM ({wanted})").fetchall()[0]
    return differing == 0 and count == expected


def _child(root: Path, kind: str) -> int:
    """Peak bytes of the changes' batch, in a process of its own; prints its seconds beside it."""
    return child_peak(["-m", "benchmarks.changes", "--only", str(root), "--kind", kind], root)


def restore(root: Path) -> None:
    """Everything as it was before the changes came."""
    shutil.rmtree(root / "home", ignore_errors=True)
    shutil.copytree(root / "filled", root / "home")
    shutil.copytree(root / "waiting", root / "landing", dirs_exist_ok=True)


def _into_million(root: Path, kind: str, rows: int, rounds: int) -> bool:
    fill(root, kind, rows)
    (root / "home").rename(root / "filled")
    table = [str(path) for path in (root / "filled/tables/changes").glob("*.parquet")]
    ours, theirs = [], []
    good = True
    for number in range(1, rounds + 1):
        restore(root)
        if kind == "scd1":
            theirs.append(spent(partial(bare, root, table, root / f"bare-{number}")))
        ours.append(run(root, kind))
        if kind == "scd1":
            good &= right(root)
            print(
                f"  round {number}: bare DuckDB {rows / theirs[-1].wall:,.0f} changes/s "
                f"({theirs[-1].cpu:.1f} s of processor time), query {rows / ours[-1].wall:,.0f} "
                f"({ours[-1].cpu:.1f} s)",
                flush=True,
            )
    restore(root)
    peak = _child(root, kind)
    speed = rows / statistics.median(one.wall for one in ours)
    small = peak < _PEAK
    memory = f"{peak / 1e6:,.0f} MB of memory at most (goal {_PEAK / 1e6:,.0f})"
    if kind == "scd2":
        print(
            f"changes: history of {rows:,} changes of {rows:,} rows: {speed:,.0f} changes/s, "
            f"{peak / 1e6:,.0f} MB of memory at most",
            flush=True,
        )
        return True
    ratio = median_ratio([one.wall for one in ours], [one.wall for one in theirs])
    enough = ratio >= _RATIO
    passed = small and enough and good
    print(
        f"changes: {rows:,} changes into {rows:,} rows: {speed:,.0f} changes/s, {ratio:.0%} of a "
        f"bare copy-on-write (goal {_RATIO:.0%}), {memory}, "
        f"{'rows right' if good else 'ROWS WRONG'}: {'good' if passed else 'NOT AS PROMISED'}",
        flush=True,
    )
    return passed


def _recent(root: Path, rows: int) -> bool:
    """Few changes of the newest keys of a large table."""
    write_changes(root / "landing/0.parquet", 0, rows, "i")
    filled = run(root, "scd1")
    table = DeltaTable(root / "home/tables/changes")
    before = table.file_uris()
    recent = f"{rows} - 1 - hash(place, 3) % {rows // 100}"
    write_changes(root / "landing/1.parquet", rows, _SMALL, recent, "'update'")
    with duckdb.connect() as connection:
        (holding,) = connection.execute(
            f"SELECT count(DISTINCT filename) FROM read_parquet({before}, filename = true) "
            f"WHERE id IN (SELECT id FROM '{root}/landing/1.parquet')"
        ).fetchall()[0]
    again = run(root, "scd1")
    table.update_incremental()
    log = root / f"home/tables/changes/_delta_log/{table.version():020d}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    removed = sum("remove" in action for action in actions)
    good = 0 < removed == holding
    print(
        f"changes: {_SMALL:,} changes of recent keys in {rows:,} rows: {removed} of {len(before)} "
        f"files rewritten, {holding} hold them, in {again.wall:.1f} s (filled in {filled.wall:.1f} s): "
        f"{'good' if good else 'NOT AS PROMISED'}",
        flush=True,
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=_SINKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        run(given.only, given.kind)
        print(own_peak())
        return 0
    passed = True
    for kind in _SINKS:
        with tempfile.TemporaryDirectory(prefix="headwater-changes-") as directory:
            passed &= _into_million(Path(directory), kind, given.rows, given.rounds)
    with tempfile.TemporaryDirectory(prefix="headwater-changes-") as directory:
        passed &= _recent(Path(directory), given.large)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
