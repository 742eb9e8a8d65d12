"""Sources: where rows come from, read so that the same offsets always give the same rows."""

from __future__ import annotations

__all__: list[str] = []
