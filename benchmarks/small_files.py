"""Micro-batches of 100 rows, one commit each: does the table stay quick, and does maintenance help?

    python -m benchmarks.small_files [--batches 1000] [--every 0 200]

Each batch is one file of newline JSON. With ``--every 0`` the tables are never maintained. Printed are
the medians of the commit step and of whole batches for each hundred of them, the time that maintenance
took, and what lies there in the end; every row is counted before a time is believed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration import available_now, delta_sink, files, stream
from orchestration.config import Settings
from orchestration.runtime.query import StreamingQuery

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["land", "main", "measure"]

ROWS = 100
_CYCLE = 100


def land(landing: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        lines = (json.dumps({"id": number * ROWS + n, "v": f"v{n}"}) for n in range(ROWS))
        (landing / f"{number:08d}.json").write_text("".join(f"{line}\n" for line in lines))


def measure(root: Path, batches: int, every: int) -> dict[str, Any]:
    landing = root / "landing"
    landing.mkdir(parents=True)
    query = StreamingQuery(
        "small",
        stream(files(str(landing), schema={"id": "BIGINT", "v": "VARCHAR"})),
        sink=delta_sink("small"),
        settings=Settings.load(home=root / "home"),
    )
    step = every or batches
    progress = []
    maintained = 0.0
    for first in range(0, batches, step):
        count = min(step, batches - first)
        land(landing, first, count)
        progress += query.execute(available_now(max_files=1)).batches
        if every:
            started = time.perf_counter()
            query.maintain()
            maintained += time.perf_counter() - started
    from deltalake import DeltaTable

    uri = query.settings.tables_uri("small")
    table = DeltaTable(uri)
    if (len(progress), table.count()) != (batches, batches * ROWS):
        raise SystemExit(f"wrong: {len(progress)} batches, {table.count()} rows")
    return {
        "batches": batches,
        "maintained_every": every,
        "commit_ms": _medians([item.duration_ms["commit"] for item in progress]),
        "batch_ms": _medians([item.batch_duration_ms for item in progress]),
        "maintenance_s": round(maintained, 2),
        "files": len(table.file_uris()),
        "log_mb": round(
            sum(file.stat().st_size for file in Path(uri, "_delta_log").iterdir()) / 1e6, 2
        ),
    }


def _medians(values: Sequence[float]) -> list[float]:
    """Of each hundred: a checkpoint comes every hundred commits, so all of them are alike."""
    parts = [values[start : start + _CYCLE] for start in range(0, len(values), _CYCLE)]
    return [round(statistics.median(part), 1) for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--every", type=int, nargs="*", default=[0, 200])
    options = parser.parse_args()
    for every in options.every:
        with tempfile.TemporaryDirectory() as root:
            print(json.dumps(measure(Path(root), options.batches, every)), flush=True)


if __name__ == "__main__":
    main()
