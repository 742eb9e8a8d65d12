"""Debezium's files to a Delta table: a whole query beside the bare engine.

Events of PostgreSQL without their schemas, nine columns, some 650 bytes each. The bare engine
(DuckDB) reads the same files once with ``read_json`` of a nested type, flattens and copies them; what
does not fit it rounds or makes null, and the order of changes it does not know. The query proves every
value, puts every change in its place, sets aside what cannot be read, and commits exactly once.

Rounds are paired in one process, so that a busy machine slows both::

    python -m benchmarks.change_files [--rows 500000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb

from benchmarks.measuring import Spent, median_ratio, spent
from orchestration import StreamingQuery, available_now, debezium, delta_sink, files, stream
from orchestration.config import Settings

__all__ = ["bare", "main", "query", "write_events"]

SCHEMA = {
    "id": "BIGINT",
    "customer_id": "BIGINT",
    "status": "VARCHAR",
    "amount": "DECIMAL(10,2)",
    "note": "VARCHAR",
    "created_at": "TIMESTAMPTZ",
    "updated_at": "TIMESTAMPTZ",
    "active": "BOOLEAN",
    "score": "DOUBLE",
}
_FILES = 10
_STATUS = ("new", "paid", "sent", "received")
_ROW = "STRUCT(" + ", ".join(f"{name} {kind}" for name, kind in SCHEMA.items()) + ")"
_SOURCE = 'STRUCT(ts_us BIGINT, "schema" VARCHAR, "table" VARCHAR, txId BIGINT, lsn BIGINT)'


def write_events(landing: Path, rows: int) -> int:
    """Write files of so many events in all; their bytes."""
    landing.mkdir(parents=True)
    each = -(-rows // _FILES)
    for number in range(_FILES):
        lines = [_event(n) for n in range(number * each, min(rows, (number + 1) * each))]
        (landing / f"{number:03d}.json").write_text("".join(lines), "utf-8")
    return sum(path.stat().st_size for path in landing.iterdir())


def _event(number: int) -> str:
    lsn, micros = 24_000_000 + 152 * number, 1_767_225_600_000_000 + 1_000 * number
    row = (
        f'{{"id":{number},"customer_id":{number * 7919 % 100_003},'
        f'"status":"{_STATUS[number % 4]}","amount":"{number % 9_973}.{number % 100:02d}",'
        f'"note":"told at the counter, für {number}","created_at":{micros},'
        f'"updated_at":"2026-01-31T12:{number % 60:02d}:00.{number % 1_000_000:06d}Z",'
        f'"active":{"true" if number % 3 else "false"},"score":{number % 1_000 / 8}}}'
    )
    source = (
        f'{{"version":"2.7.0.Final","connector":"postgresql","name":"shop","ts_ms":{micros // 1000},'
        f'"snapshot":"false","db":"shop","sequence":"[\\"{lsn - 96}\\",\\"{lsn}\\"]",'
        f'"ts_us":{micros},"ts_ns":{micros}000,"schema":"public","table":"orders",'
        f'"txId":{700 + number // 3},"lsn":{lsn},"xmin":null}}'
    )
    return (
        f'{{"before":null,"after":{row},"source":{source},"transaction":null,"op":"'
        f'{"u" if number % 4 else "c"}","ts_ms":{micros // 1000 + 250}}}\n'
    )


def bare(landing: Path, out: Path) -> None:
    """Flattened and copied, once over all files."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    wire = _ROW.replace("created_at TIMESTAMPTZ", "created_at BIGINT")
    columns = f"{{op: 'VARCHAR', \"after\": '{wire}', source: '{_SOURCE}'}}"
    names = ", ".join(
        "make_timestamp(after.created_at) AS created_at"
        if name == "created_at"
        else f"after.{name}"
        for name in SCHEMA
    )
    connection.execute(
        f"COPY (SELECT op, source.lsn, make_timestamp(source.ts_us) AS source_time, source.txId, "
        f"source.schema || '.' || source.table AS of, {names} FROM read_json('{landing}/*.json', "
        f"format = 'newline_delimited', columns = {columns})) TO '{out}/bare.parquet' "
        "(FORMAT parquet)"
    ).fetchall()
    connection.close()


def query(landing: Path, out: Path) -> int:
    """The whole query, from nothing, in one batch; its rows."""
    source = debezium(
        files(str(landing), timezone="UTC"),
        SCHEMA,
        keys=["id"],
        decimals="string",
        timestamps="us",
    )
    batches = StreamingQuery(
        "change_files",
        stream(source),
        sink=delta_sink("change_files"),
        settings=Settings.load(home=out, memory_limit="1GiB"),
    ).run(available_now())
    if any(batch.quarantined_rows for batch in batches):
        raise SystemExit("WRONG: records that can be read were set aside")
    return sum(batch.num_output_rows for batch in batches)


def _timed(way: str, landing: Path, rows: int) -> Spent:
    out = Path(tempfile.mkdtemp(prefix="headwater-changes-"))
    try:
        if way == "bare":
            return spent(lambda: bare(landing, out))
        given: list[int] = []
        took = spent(lambda: given.append(query(landing, out)))
        if given != [rows]:
            raise SystemExit(f"WRONG: {given[0]:,} rows of {rows:,} events")
        return took
    finally:
        shutil.rmtree(out)


def main() -> int:
    """Measure, and say how they compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="headwater-changes-"))
    try:
        landing = root / "landing"
        size = write_events(landing, options.rows)
        print(f"{options.rows:,} events of Debezium's in {_FILES} files, {size / 1e6:,.0f} MB")
        took: dict[str, list[Spent]] = {"bare": [], "query": []}
        for _ in range(options.rounds):
            for way, found in took.items():
                found.append(_timed(way, landing, options.rows))
        for way, found in took.items():
            best = min(item.wall for item in found)
            cpu = min(item.cpu for item in found)
            print(
                f"  {way:6} {best:6.2f} s  {options.rows / best:10,.0f} events/s  "
                f"{options.rows / cpu:10,.0f} a second and core"
            )
        ratio = median_ratio(
            [item.wall for item in took["query"]], [item.wall for item in took["bare"]]
        )
    finally:
        shutil.rmtree(root)
    print(f"change_files: {ratio:.2f} of the bare engine's speed; nothing is promised here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
