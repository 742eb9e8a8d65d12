"""Click events as newline JSON, in order of time but for one in twenty that comes late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SCHEMA", "write_clicks"]

SCHEMA = {
    "event_id": "VARCHAR",
    "user_id": "BIGINT",
    "page": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "amount": "DECIMAL(10,2)",
    "device": "STRUCT(os VARCHAR, ver VARCHAR)",
}

_PAGES = 200
_LATE_PERCENT = 5
_LATE_SECONDS = 20 * 60

# Numbers out of the row's own: the same clicks every time.
_CLICK = """
SELECT '{"event_id":"' || md5(CAST(i AS VARCHAR)) || '","user_id":' || 1 + hash(i, 1) % 1000000
    || ',"page":"/p/' || hash(i, 2) % $pages || '","ts":"'
    || strftime(make_timestamp(1767225600000000 + 1000 * CAST(i * 1000 // $per_second
        - CASE WHEN hash(i, 3) % 100 < $late THEN hash(i, 4) % ($seconds * 1000) ELSE 0 END
        AS BIGINT)), '%Y-%m-%dT%H:%M:%S.%g')
    || 'Z","amount":' || CAST(hash(i, 5) % 100000 / 100 AS DECIMAL(10,2))
    || ',"device":{"os":"' || CASE WHEN hash(i, 6) % 2 = 0 THEN 'ios' ELSE 'android' END
    || '","ver":"' || 1 + hash(i, 7) % 20 || '.0"}}'
FROM range($first, $last) r(i)
"""


def write_clicks(directory: Path, rows: int, files: int, *, per_second: int) -> list[Path]:
    """Write ``rows`` clicks into so many files, ``per_second`` of them per second of event time."""
    directory.mkdir(parents=True)
    found = []
    connection = duckdb.connect()
    for number in range(files):
        path = directory / f"part-{number:04d}.json"
        values = {
            "pages": _PAGES,
            "late": _LATE_PERCENT,
            "seconds": _LATE_SECONDS,
            "per_second": per_second,
            "first": rows * number // files,
            "last": rows * (number + 1) // files,
        }
        lines = _CLICK
        for name, value in sorted(values.items(), reverse=True):
            lines = lines.replace(f"${name}", str(value))
        connection.execute(
            f"COPY ({lines}) TO '{path}' "
            "(FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01')"
        ).fetchall()
        found.append(path)
    connection.close()
    return found
