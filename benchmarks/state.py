"""Does a small batch cost more when there is more state?

Batches of 100 rows against 10 thousand, 1 million and 10 million keys in the state, for each
operator that remembers: by the engine alone, and as whole batches of a query, with lease, logs,
fsync and Delta commits. Now and then a batch merges runs of state; those are shown apart. Then a
million new rows are deduplicated against ten million keys within 1 GiB of memory::

    python -m benchmarks.state [--keys 10000 1000000 10000000] [--batches 20]

A batch is measured in processor seconds: on a busy machine these say more than the clock. The
verdict is on the median of batches that merge nothing, without the first one of the process, which
reads the footers of the state's files; a process that runs one batch and ends pays that every time.
Of ``totals``, in output mode ``update``, it is on the engine alone: its keys are spread over the whole
table, so that a batch writes most of the table's files anew, whatever the state does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from deltalake import DeltaTable

from benchmarks.measuring import child_peak, own_peak
from orchestration import StreamingQuery, available_now, delta_sink, files, stream, window
from orchestration.config import Settings
from orchestration.engine.duckdb import DuckDBEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestration import Stream

_SCHEMA = {"id": "VARCHAR", "ts": "TIMESTAMPTZ", "v": "BIGINT"}
_ROWS = 100
_ALLOWED = 2.0  # times as long with the most keys as with the fewest
_MEMORY = "1GiB"
_NEW = 1_000_000

# A hundred keys come in a second of event time, and each small batch is a second later. With the
# long delay nothing ever leaves. With a short one half of the keys have left before, and every batch
# evicts a second's keys: as many as it brings, however many there are.
_PER_SECOND = 100
_LONG = "30 days"


def _short(keys: int) -> str:
    return f"{keys // _PER_SECOND // 2} seconds"


@dataclass(frozen=True, slots=True)
class Case:
    """A query, and what its state is filled with.

    Attributes:
        name: What to call it.
        query: From a directory of files, and how many keys there are, to the stream.
        mode: Output mode.
    """

    name: str
    query: Callable[[Path, int], Stream]
    mode: Any = "append"


def _rows(landing: Path, name: str = "rows") -> Stream:
    return stream(files(str(landing / name), name=name, format="parquet", schema=_SCHEMA))


def _once(landing: Path, delay: str) -> Stream:
    return _rows(landing).with_watermark("ts", delay).drop_duplicates_within_watermark("id")


def _joined(landing: Path, delay: str) -> Stream:
    left = _rows(landing).with_watermark("ts", delay)
    right = _rows(landing, "others").with_watermark("ts", delay)
    right = right.select(other="id", other_ts="ts")
    return left.join(
        right,
        on="id = other AND other_ts BETWEEN ts AND ts + INTERVAL 10 MINUTES",
        how="left",
    )


CASES = {
    case.name: case
    for case in (
        Case(
            "totals",
            lambda at, _: _rows(at).group_by("id").agg(n="count(*)", total="sum(v)"),
            "update",
        ),
        Case("distinct", lambda at, _: _rows(at).drop_duplicates("id")),
        Case("distinct for a while", lambda at, _: _once(at, _LONG)),
        Case("distinct, evicting", lambda at, keys: _once(at, _short(keys))),
        Case(
            "windows",
            lambda at, _: (
                _rows(at)
                .with_watermark("ts", "30 days")
                .group_by(window("ts", "1 hour"), "id")
                .agg(n="count(*)", total="sum(v)")
            ),
        ),
        Case("join", lambda at, _: _joined(at, _LONG)),
        Case("join, evicting", lambda at, keys: _joined(at, _short(keys))),
    )
}


@dataclass(slots=True)
class Batch:
    """Processor milliseconds of one batch, and whether it merged runs."""

    whole: float
    engine: float
    merged: bool
    seconds: float


@dataclass(slots=True)
class _Watch:
    """Takes down what the engine does in each batch."""

    batches: list[Batch] = field(default_factory=list)
    _engine: float = 0.0
    _merged: bool = False
    _last: float = 0.0
    _at: float = 0.0

    def watching(self, engine: type[DuckDBEngine]) -> Iterator[None]:
        run = engine.run_stateful

        def run_stateful(this: DuckDBEngine, job: Any) -> Any:
            started = time.process_time()
            output = run(this, job)
            self._engine = time.process_time() - started
            self._merged = any("-m" in Path(name).stem for name in output.new_state)
            return output

        engine.run_stateful = run_stateful  # type: ignore[method-assign]
        try:
            yield
        finally:
            engine.run_stateful = run  # type: ignore[method-assign]

    def begin(self) -> None:
        self._last, self._at = time.process_time(), time.perf_counter()

    def batch(self, _: object) -> None:
        now, at = time.process_time(), time.perf_counter()
        self.batches.append(
            Batch((now - self._last) * 1e3, self._engine * 1e3, self._merged, at - self._at)
        )
        self._last, self._at = now, at


def fill(landing: Path, keys: int) -> None:
    """A file of so many keys."""
    for name in ("rows", "others"):
        (landing / name).mkdir(parents=True)
    _write(
        landing / "rows" / "000000.parquet", f"range({keys}) r(i)", "i", f"i * 1.0 / {_PER_SECOND}"
    )


def add(landing: Path, number: int, rows: int, keys: int, *, known: int) -> None:
    """A file of so many rows at the end of that time, ``known`` of a hundred of known keys."""
    where = f"range({rows}) r(i)"
    fresh = f"{keys + number * rows} + i"
    old = f"CAST(hash(i, {number}) % {keys} AS BIGINT)"
    key = f"CASE WHEN hash(i, {number}, 1) % 100 < {known} THEN {old} ELSE {fresh} END"
    for name in ("rows", "others"):
        second = keys / _PER_SECOND + number
        _write(landing / name / f"{number:06d}.parquet", where, key, f"{second}")


def _write(path: Path, rows: str, key: str, second: str) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"COPY (SELECT 'key-' || ({key}) AS id, make_timestamptz(1767225600000000 + "
        f"CAST(({second}) * 1e6 AS BIGINT)) AS ts, i AS v FROM {rows}) TO '{path}'"
    )
    connection.close()


def run(case: Case, root: Path, keys: int) -> list[Batch]:
    """Run what is there, a file of each source a batch."""
    query = StreamingQuery(
        "state",
        case.query(root / "landing", keys),
        sink=delta_sink("state", output_mode=case.mode),
        settings=Settings.load(home=root / "home", memory_limit=_MEMORY),
        no_data_batches=False,
    )
    watch = _Watch()
    watching = watch.watching(DuckDBEngine)
    next(watching)
    try:
        watch.begin()
        query.run(available_now(max_files=1), on_batch=watch.batch)
    finally:
        watching.close()
    return watch.batches


def _measure(case: Case, keys: int, batches: int, root: Path) -> tuple[float, float]:
    """Print a line; median processor milliseconds of the engine and of a whole batch."""
    fill(root / "landing", keys)
    for number in range(1, batches + 1):
        add(root / "landing", number, _ROWS, keys, known=50)
    built, *found = run(case, root, keys)
    plain = [batch for batch in found[1:] if not batch.merged]  # the first one opens the files
    merging = [batch.whole for batch in found if batch.merged]
    engine = statistics.median(batch.engine for batch in plain)
    whole = statistics.median(batch.whole for batch in plain)
    merges = f"{len(merging)} with a merge {max(merging):,.0f}" if merging else "no merge"
    print(
        f"  {case.name:21}{keys:>11,} keys: engine {engine:6.0f} ms, whole batch {whole:6.0f} ms; "
        f"the first {found[0].whole:,.0f}, {merges}; filled in {built.seconds:.1f} s",
        flush=True,
    )
    return engine, whole


def _large(root: Path, keys: int) -> bool:
    """A million new rows against the keys there are, in a process of its own."""
    number = 10**5
    add(root / "landing", number, _NEW, keys, known=10)
    started = time.perf_counter()
    peak = child_peak(["-m", "benchmarks.state", "--only", str(root)], root)
    seconds = time.perf_counter() - started
    rows, different = _distinct(
        f"read_parquet({DeltaTable(root / 'home/tables/state').file_uris()})"
    )
    _, wanted = _distinct(f"'{root}/landing/rows/*.parquet'")
    right = rows == different == wanted
    good = right and peak < 1.5 * 2**30  # DuckDB's limit, and Python with Arrow beside it
    print(
        f"state: {_NEW:,} rows deduplicated against {keys:,} keys in {seconds:.1f} s, start-up "
        f"included, {peak / 1e6:,.0f} MB of memory at most (memory_limit {_MEMORY}), "
        f"{rows:,} rows of {wanted:,} keys: {'good' if good else 'WRONG or too large'}"
    )
    return good


def _distinct(table: str) -> tuple[int, int]:
    """Rows of a table, and different keys among them."""
    with duckdb.connect() as connection:
        found: Any = connection.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}")
        return tuple(found.fetchone())  # type: ignore[return-value]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        run(CASES["distinct"], given.only, max(given.keys))
        print(own_peak())
        return 0
    passed = True
    print(f"state: batches of {_ROWS} rows, half of their keys in the state; processor time")
    for name in given.case:
        case = CASES[name]
        costs = []
        for keys in given.keys:
            with tempfile.TemporaryDirectory(prefix="headwater-state-") as directory:
                root = Path(directory)
                costs.append(_measure(case, keys, given.batches, root))
                if name == "distinct" and keys == max(given.keys):
                    passed &= _large(root, keys)
        grown = costs[-1][0] / costs[0][0]
        whole = costs[-1][1] / costs[0][1]
        # An update writes anew what the table holds beside its keys: that is the sink's, not state.
        good = max(grown, whole if case.mode == "append" else 0.0) <= _ALLOWED
        passed &= good
        print(
            f"state: {name}: with {given.keys[-1] // given.keys[0]:,} times the keys a small batch "
            f"takes the engine {grown:.1f} times as long, the query {whole:.1f} times "
            f"(at most {_ALLOWED:.0f}): {'good' if good else 'GROWS'}",
            flush=True,
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
