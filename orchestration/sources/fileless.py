"""What a source without files answers where it is asked of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry

__all__ = ["Fileless"]


class Fileless:
    """A part of a :class:`~orchestration.sources.base.Source`."""

    __slots__ = ()

    def whole(
        self, wanted: tuple[FileEntry, ...], *, clock: Clock, settings: Settings
    ) -> tuple[tuple[FileEntry, ...], tuple[str, ...]]:
        """There are no files."""
        del clock, settings
        return wanted, ()

    def lasting(self, listing: dict[str, Any]) -> dict[str, Any]:
        """There is no listing."""
        del listing
        return {}

    def file_name(self, entry: FileEntry) -> str:
        """There are no files."""
        return entry.path
