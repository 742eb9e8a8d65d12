"""What users declare: sources with operators on them, checked before anything runs."""

from __future__ import annotations

__all__: list[str] = []
