"""Web server logs as the demo writes them: always the same, some late, some faulty."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["FIRST", "PERIOD", "LogFiles", "write_log_files"]

#: When the first file's period begins, and how much time one file covers.
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
PERIOD = timedelta(minutes=10)

_METHODS = ("GET",) * 12 + ("POST",) * 3 + ("PUT", "DELETE")
_PATHS = (
    *("/", "/pricing", "/docs", "/docs/quickstart", "/docs/guarantees", "/blog", "/login"),
    *("/api/v1/orders", "/api/v1/items", "/search?q=delta%20lake", "/assets/app.js", "/healthz"),
)
_STATUSES = (200,) * 40 + (304,) * 6 + (301, 302, 404, 404, 403, 500, 503)
_COUNTRIES = ("DE", "US", "FR", "BR", "IN", "JP", "NG", "SE", "AU", "CA")
_DEVICES = (
    '{"os":"Linux","version":"6.8"}',
    '{"os":"macOS","version":"15.3"}',
    '{"os":"Windows","version":"11"}',
    '{"os":"iOS","version":"18.4"}',
    '{"os":"Android","version":"15"}',
)
_REFERRERS = ("null", "null", '"https://news.example/"', '"https://search.example/?q=b%C3%BCcher"')
_NAMES = ("Zoë", "Łukasz", "Ngọc", "Ana", "Yusuf", "Mei")
_FAULTY_FILES = 5  # every so many files holds faults
_FAULT = 0.004  # part of their lines


@dataclass(frozen=True, slots=True)
class LogFiles:
    """What was written.

    Attributes:
        files, bytes: How much.
        valid: Lines that are records.
        faulty: Lines that are none.
    """

    files: int
    bytes: int
    valid: int
    faulty: int

    def __add__(self, other: LogFiles) -> LogFiles:
        return LogFiles(
            self.files + other.files,
            self.bytes + other.bytes,
            self.valid + other.valid,
            self.faulty + other.faulty,
        )


def write_log_files(
    directory: Path, numbers: range, lines: int, *, faults: bool = True
) -> LogFiles:
    """Write some log files, each named and dated by the period it covers.

    Args:
        directory: Where to; a directory per day is made in it.
        numbers: Which periods, counted from :data:`FIRST`; negative ones are before it.
        lines: Lines a file.
        faults: Whether every fifth file holds lines that are no records.
    """
    written = LogFiles(0, 0, 0, 0)
    for number in numbers:
        faulty = faults and number % _FAULTY_FILES == 2
        written += _write(directory, number, lines, _FAULT if faulty else 0.0)
    return written


def _write(directory: Path, number: int, lines: int, share: float) -> LogFiles:
    chance = random.Random(f"web logs {number}")  # noqa: S311 - the same logs every time
    begin = FIRST + number * PERIOD
    text: list[bytes] = []
    faulty = 0
    for line in range(lines):
        record = _record(chance, begin + PERIOD * line / lines, number, line)
        if share and chance.random() < share:
            text.append(_spoil(chance, record))
            faulty += 1
        else:
            text.append(record.encode())
    data = b"\n".join(text) + b"\n"
    path = directory / f"{begin:%Y-%m-%d}" / f"{begin:%H%M}-{number % 1000:03d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name that discovery ignores until it is whole, as writers of such files should.
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(data)
    end = int((begin + PERIOD).timestamp())
    os.utime(partial, (end, end))
    partial.rename(path)
    return LogFiles(1, len(data), lines - faulty, faulty)


def _record(chance: random.Random, moment: datetime, number: int, line: int) -> str:
    pick = chance.random
    user = f'"{_NAMES[int(pick() * 6)]}-{int(pick() * 5000):04d}"' if pick() < 0.7 else "null"
    more = ',"trace":{"sampled":true}' if pick() < 0.01 else ""  # a field that nobody declared
    return (
        f'{{"request_id":"{number & 0xFFFF:04x}-{line:06x}-{int(pick() * 2**32):08x}",'
        f'"ts":"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z",'
        f'"method":"{_METHODS[int(pick() * len(_METHODS))]}",'
        f'"path":"{_PATHS[int(pick() * len(_PATHS))]}",'
        f'"status":{_STATUSES[int(pick() * len(_STATUSES))]},'
        f'"bytes":{int(pick() ** 3 * 2_000_000)},'
        f'"duration_ms":{int(pick() ** 4 * 40_000) / 10},'
        f'"user_id":{user},'
        f'"country":"{_COUNTRIES[int(pick() * len(_COUNTRIES))]}",'
        f'"device":{_DEVICES[int(pick() * len(_DEVICES))]},'
        f'"referrer":{_REFERRERS[int(pick() * len(_REFERRERS))]}{more}}}'
    )


def _spoil(chance: random.Random, record: str) -> bytes:
    """One of the things that happen to log lines."""
    kind = chance.randrange(5)
    if kind == 0:  # the disk was full
        return record[: chance.randrange(20, len(record) - 20)].encode()
    if kind == 1:  # another program wrote into the same file
        return b"upstream timed out (110: Connection timed out) while reading response header"
    if kind == 2:
        return record.replace('"status":', '"status":"unknown","was":').encode()
    if kind == 3:
        return record.replace('"bytes":', '"bytes":0.5,"was":').encode()
    return record.encode().replace(b'"method":"', b'"method":"\xff\xfe')  # not UTF-8
