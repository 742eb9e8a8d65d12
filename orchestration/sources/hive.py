"""Columns written into directory names, as Hive does: ``dt=2026-01-31/country=S%C3%A3o/…``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NULL_PARTITION", "partition_values"]

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def partition_values(path: str, columns: Iterable[str]) -> dict[str, str | None]:
    """The values of ``columns`` on a file's path, percent-decoded.

    ``None`` is null: the directory says ``__HIVE_DEFAULT_PARTITION__``. A column that no
    directory names is left out of the result. Where one is named twice, the inner one counts.

    Args:
        path: Relative to the source's root.
        columns: The columns that were declared; other ``key=value`` directories mean nothing.
    """
    found: dict[str, str | None] = {}
    for part in path.split("/")[:-1]:
        name, sign, value = part.partition("=")
        if sign:
            found[unquote(name)] = None if value == NULL_PARTITION else unquote(value)
    return {name: found[name] for name in columns if name in found}
