"""Newline JSON into Delta: a whole query, and its engine, beside a bare DuckDB loop.

The bare loop is ``COPY (SELECT * FROM read_json(...)) TO ...``, once per batch: no bookkeeping,
no quarantine, and lossy (it rounds 5.7 to 6 and takes the first of two equal keys). The query
reads exactly, with quarantine, write-ahead log, fsync and Delta commits; once over clean files and
once where every file has malformed lines and values of the wrong type, one line in a thousand of
each. The engine alone is shown beside it.

Rounds are paired in one process, so that a busy machine slows both::

    python -m benchmarks.ingest [--rows 2000000] [--batches 10] [--rounds 5]
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from orchestration import StreamingQuery, available_now, delta_sink, files, stream
from orchestration.config import Settings
from orchestration.engine.base import BatchJob, FileFormat, InputFile
from orchestration.engine.duckdb import DuckDBEngine
from orchestration.streams.schema import parse_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = {
    "event_id": "VARCHAR",
    "user_id": "BIGINT",
    "page": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "amount": "DECIMAL(10,2)",
    "device": "STRUCT(os VARCHAR, ver VARCHAR)",
}
FILES_PER_BATCH = 4
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def write_files(directory: Path, rows: int, files: int, *, faults: float) -> list[Path]:
    """Files of click events; ``faults`` of the lines malformed, and as many mismatched."""
    rng = random.Random(7)
    directory.mkdir(parents=True)
    found = []
    for number in range(files):
        lines = []
        for _ in range(rows // files):
            day, second = rng.randint(1, 28), rng.randint(0, 86_399)
            clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
            line = (
                f'{{"event_id":"{rng.getrandbits(128):032x}","user_id":{rng.randint(1, 10**6)},'
                f'"page":"/p/{rng.randint(0, 199)}",'
                f'"ts":"2026-01-{day:02d}T{clock}.{rng.randint(0, 999):03d}Z",'
                f'"amount":{rng.randint(0, 99_999) / 100:.2f},'
                f'"device":{{"os":"{rng.choice(["ios", "android"])}","ver":"{rng.randint(1, 20)}.0"}}}}'
            )
            chance = rng.random()
            if chance < faults:
                line = line[: rng.randint(1, 120)]
            elif chance < 2 * faults:
                line = line.replace(
                    '"user_id":', rng.choice(['"user_id":"x', '"user_id":5.7,"u":'])
                )
            lines.append(line + "\n")
        path = directory / f"part-{number:04d}.json"
        path.write_text("".join(lines))
        found.append(path)
    return found


class Batch:
    """Some of the files, as a source gives them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.schema = parse_schema(SCHEMA)
        self.format = FileFormat("json")
        self.partition_columns: tuple[str, ...] = ()
        self.missing: tuple[str, ...] = ()

    @contextmanager
    def _group(self) -> Iterator[list[InputFile]]:
        yield [InputFile(path, str(path), path.stat().st_size, NOW) for path in self.paths]

    def groups(self) -> Iterator[object]:
        """All of them at once."""
        yield self._group()


def bare(batches: list[list[Path]], out: Path) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    columns = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in SCHEMA.items()) + "}"
    for number, paths in enumerate(batches):
        files = "[" + ", ".join(f"'{path}'" for path in paths) + "]"
        connection.execute(
            f"COPY (SELECT * FROM read_json({files}, columns = {columns}, "
            f"format = 'newline_delimited')) TO '{out}/{number}.parquet' (FORMAT parquet)"
        ).fetchall()
    connection.close()


def engine(batches: list[list[Path]], out: Path) -> None:
    computing = DuckDBEngine("1GiB", None, out / "spill")
    schema = computing.describe(parse_schema(SCHEMA), ())
    for number, paths in enumerate(batches):
        given, prefix = Batch(paths), f"{number:06d}-bench"
        computing.run(BatchJob(given, (), schema, out / "t", out / "q", prefix, number, NOW))  # type: ignore[arg-type]
    computing.close()


def query(batches: list[list[Path]], out: Path) -> None:
    landing = batches[0][0].parent
    StreamingQuery(
        "bench",
        stream(files(str(landing), schema=SCHEMA)),
        sink=delta_sink("bench"),
        settings=Settings.load(home=out, memory_limit="1GiB"),
    ).run(available_now(max_files=FILES_PER_BATCH))


def seconds(work: Callable[[list[list[Path]], Path], None], batches: list[list[Path]]) -> float:
    out = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    try:
        start = time.perf_counter()
        work(batches, out)
        return time.perf_counter() - start
    finally:
        shutil.rmtree(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    count = options.batches * FILES_PER_BATCH
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as root:
        print(f"writing {options.rows:,} rows into {count} files, twice …", flush=True)
        sets = {
            "clean": write_files(Path(root) / "clean", options.rows, count, faults=0),
            "faulty": write_files(Path(root) / "faulty", options.rows, count, faults=0.001),
        }
        cut = {
            name: [paths[at : at + FILES_PER_BATCH] for at in range(0, count, FILES_PER_BATCH)]
            for name, paths in sets.items()
        }
        ratios: dict[str, list[float]] = {name: [] for name in sets}
        seconds(query, cut["clean"])  # imports are start-up, not work
        for number in range(1, options.rounds + 1):
            base = seconds(bare, cut["clean"])
            print(f"round {number}: bare DuckDB {options.rows / base / 1e6:.2f} M rows/s", end="")
            for name, batches in cut.items():
                took, alone = seconds(query, batches), seconds(engine, batches)
                ratios[name].append(base / took)
                print(
                    f", {name} {options.rows / took / 1e6:.2f} M ({base / took:.0%}, "
                    f"engine alone {base / alone:.0%})",
                    end="",
                )
            print(flush=True)
    passed = True
    for name, wanted in (("clean", 0.6), ("faulty", 0.3)):
        median = statistics.median(ratios[name])
        passed &= median >= wanted
        print(f"{name} files: {median:.0%} of the bare loop (at least {wanted:.0%} is promised)")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
