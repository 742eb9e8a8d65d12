"""A shop's orders, payments and ads as the demo writes them: always the same, a file an hour.

Payments are delivered by a system that sends some twice, and clicks come minutes after the
impressions they belong to, some of them too late.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["FIRST_HOUR", "LANDINGS", "ShopFiles", "write_shop_files"]

#: When the first file's hour begins.
FIRST_HOUR = datetime(2026, 3, 2, tzinfo=UTC)

#: Directories below the landing directory that are written to.
LANDINGS = ("orders", "payments", "ads/impressions", "ads/clicks")

_HOUR = timedelta(hours=1)
_CUSTOMERS = 80
_ADS = ("spring", "clearance", "loyalty", "newcomer")
_SITES = ("news.example", "weather.example", "search.example")
_TWICE = 0.08  # of the payments are delivered a second time, half of them an hour later
_CLICKED = 0.12  # of the impressions
_TOO_LONG = 0.05  # of the clicks come after the ten minutes


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """What was written: files, and lines of each kind."""

    files: int
    orders: int
    deliveries: int
    impressions: int
    clicks: int


def write_shop_files(landing: Path, hours: range, orders: int = 200) -> ShopFiles:
    """Write a file of each kind for some hours.

    Args:
        landing: The landing directory; :data:`LANDINGS` are made in it.
        hours: Which, counted from :data:`FIRST_HOUR`.
        orders: Orders an hour; there are twice as many impressions.
    """
    found = [0, 0, 0, 0]
    for hour in hours:
        payments = [*_payments(hour, orders, again=False), *_payments(hour - 1, orders, again=True)]
        shown, clicked = _ads(hour, 2 * orders)
        parts = (_orders(hour, orders), payments, shown, clicked)
        for number, (name, lines) in enumerate(zip(LANDINGS, parts, strict=True)):
            _write(landing / name, hour, lines)
            found[number] += len(lines)
    return ShopFiles(len(LANDINGS) * len(hours), *found)


def _orders(hour: int, count: int) -> list[str]:
    chance = _chance("orders", hour)
    return [
        f'{{"order_id":"o{hour:04d}-{number:05d}","customer_id":"c{_customer(chance):03d}",'
        f'"ordered_at":"{_at(hour, number / count)}","amount":"{_amount(chance)}"}}'
        for number in range(count)
    ]


def _payments(hour: int, count: int, *, again: bool) -> list[str]:
    """Deliveries of an hour's payments: the first ones, or the copies that come an hour later."""
    if hour < 0:
        return []
    chance = _chance("payments", hour)
    lines = []
    for number in range(count):
        amount, twice = _amount(chance), chance.random()
        payment = (
            f'{{"payment_id":"p{hour:04d}-{number:05d}","order_id":"o{hour:04d}-{number:05d}",'
            f'"paid_at":"{_at(hour, number / count)}","amount":"{amount}"'
        )
        if not again:
            lines.append(f'{payment},"attempt":1}}')
        if twice < _TWICE and again == (twice < _TWICE / 2):
            lines.append(f'{payment},"attempt":2}}')
    return lines


def _ads(hour: int, count: int) -> tuple[list[str], list[str]]:
    chance = _chance("ads", hour)
    shown, clicked = [], []
    for number in range(count):
        key = f"i{hour:04d}-{number:05d}"
        share = number / count
        ad, site = _ADS[int(chance.random() * 4)], _SITES[int(chance.random() * 3)]
        shown.append(
            f'{{"impression_id":"{key}","ad":"{ad}","site":"{site}","shown_at":"{_at(hour, share)}"}}'
        )
        if chance.random() < _CLICKED:
            wait = 600 * chance.random() ** 2
            if chance.random() < _TOO_LONG:
                wait += 600
            at = _at(hour, share, timedelta(seconds=round(wait)))
            clicked.append(
                f'{{"click_id":"k{hour:04d}-{number:05d}","clicked_id":"{key}","clicked_at":"{at}"}}'
            )
    return shown, clicked


def _write(directory: Path, hour: int, lines: Iterable[str]) -> None:
    begin = FIRST_HOUR + hour * _HOUR
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{begin:%Y-%m-%dT%H}.json"
    # Under a name that discovery ignores until it is whole, as writers of such files should.
    partial = path.with_name(f".{path.name}")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    end = int((begin + _HOUR).timestamp())
    os.utime(partial, (end, end))
    partial.rename(path)


def _chance(what: str, hour: int) -> random.Random:
    return random.Random(f"{what} {hour}")  # noqa: S311 - the same events every time


def _at(hour: int, share: float, later: timedelta = timedelta()) -> str:
    moment = FIRST_HOUR + hour * _HOUR + _HOUR * share + later
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


def _customer(chance: random.Random) -> int:
    return int(_CUSTOMERS * chance.random() ** 2)


def _amount(chance: random.Random) -> str:
    return f"{5 + 400 * chance.random() ** 4:.2f}"
