"""Click events as newline JSON, in order of time but for one in twenty that comes late."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SCHEMA", "START", "write_clicks"]

SCHEMA = {
    "event_id": "VARCHAR",
    "user_id": "BIGINT",
    "page": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "amount": "DECIMAL(10,2)",
    "device": "STRUCT(os VARCHAR, ver VARCHAR)",
}
START = datetime(2026, 1, 1, tzinfo=UTC)

_PAGES = 200
_LATE = 0.05
_LATE_SECONDS = 20 * 60


def write_clicks(directory: Path, rows: int, files: int, *, per_second: int = 500) -> list[Path]:
    """Write ``rows`` clicks into so many files, ``per_second`` of them per second of event time."""
    rng = random.Random(7)
    directory.mkdir(parents=True)
    found, number = [], 0
    for place in range(files):
        lines = []
        for _ in range(rows // files):
            seconds = number / per_second
            if rng.random() < _LATE:
                seconds -= rng.random() * _LATE_SECONDS
            moment = (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
            lines.append(
                f'{{"event_id":"{rng.getrandbits(128):032x}","user_id":{rng.randint(1, 10**6)},'
                f'"page":"/p/{rng.randrange(_PAGES)}","ts":"{moment[:-6]}Z",'
                f'"amount":{rng.randint(0, 99_999) / 100:.2f},'
                f'"device":{{"os":"{rng.choice(["ios", "android"])}","ver":"{rng.randint(1, 20)}.0"}}}}\n'
            )
            number += 1
        path = directory / f"part-{place:04d}.json"
        path.write_text("".join(lines), encoding="utf-8")
        found.append(path)
    return found
