"""What a pipeline says about itself to Dagster, checked when it is declared."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestration.config import parse_bytes
from orchestration.errors import DeclarationError
from orchestration.streams.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AssetOptions", "VerifyPolicy", "parse_interval", "parse_prefix", "parse_verify"]

_CRON = re.compile(r"@\w+|\S+(\s+\S+){4}")
_NEVER = -1.0


@dataclass(frozen=True, slots=True)
class VerifyPolicy:
    """When an incremental run also proves that its table equals a full reprocess.

    Attributes:
        up_to_bytes: As long as the whole input is no larger; infinite for always, -1 for never.
        cron: Besides, at these times.
    """

    up_to_bytes: float
    cron: str | None = None

    def allows(self, total_bytes: int) -> bool:
        """Whether a run over an input of this size proves it at once."""
        return total_bytes <= self.up_to_bytes


@dataclass(frozen=True, slots=True)
class AssetOptions:
    """Everything about a pipeline that only Dagster wants to know.

    Attributes:
        description: Markdown; by default made of the stream.
        column_descriptions: Column to description.
        group, full_group: Asset groups of the incremental asset and its twin.
        key_prefix: In front of the asset keys.
        owners: Email addresses and ``team:`` names.
        tags: Of the assets.
        kinds: Icons; by default those of format, engine and sink.
        max_duration: When a ``processing_time`` run ends, to be started again.
        verify: When a run proves incremental = full.
        sensor: Whether there is a sensor.
        sensor_interval: Seconds between its ticks, at least.
        schedule: Cron line for runs at fixed times.
        timezone: Of the schedules.
    """

    description: str | None = None
    column_descriptions: Mapping[str, str] = field(default_factory=dict)
    group: str = "incremental"
    full_group: str = "full_reprocess"
    key_prefix: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] | None = None
    max_duration: timedelta = timedelta(minutes=15)
    verify: VerifyPolicy = VerifyPolicy(256 * 1024 * 1024)
    sensor: bool = True
    sensor_interval: int = 5
    schedule: str | None = None
    timezone: str = "UTC"


def parse_verify(text: str) -> VerifyPolicy:
    """A policy as it is written: ``"256 MiB"``, ``"always"``, ``"manual"`` or a cron line.

    Raises:
        DeclarationError: It is none of these.
    """
    if text == "always":
        return VerifyPolicy(math.inf)
    if text == "manual":
        return VerifyPolicy(_NEVER)
    if _CRON.fullmatch(text.strip()):
        return VerifyPolicy(_NEVER, text.strip())
    try:
        return VerifyPolicy(parse_bytes(text))
    except ValueError:
        raise DeclarationError(
            f"verify={text!r} is not a time to verify",
            remedy='write a size of the whole input up to which every run verifies ("256 MiB"), '
            '"always", "manual", or a cron line ("0 3 * * *")',
        ) from None


def parse_interval(what: str, text: str) -> timedelta:
    """A duration above zero.

    Raises:
        DeclarationError: It is not.
    """
    length = parse_duration(text)
    if length <= timedelta(0):
        raise DeclarationError(f"{what}={text!r} is not a duration above zero")
    return length


def parse_prefix(prefix: str | Sequence[str]) -> tuple[str, ...]:
    """An asset key's prefix as its parts."""
    return (prefix,) if isinstance(prefix, str) else tuple(prefix)
