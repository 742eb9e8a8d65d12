"""What a source may know of the past: the ledger of the generation in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.cursors.records import FileEntry, Generation, Slice
    from orchestration.cursors.store import CursorStore

__all__ = ["NewHistory", "StoredHistory"]


class StoredHistory:
    """A source's history, read from the cursor store once and kept up to date in memory.

    Args:
        store: The cursor store.
        generation: The generation in force; ``None`` before the first run.
        source: The source's name.
    """

    def __init__(self, store: CursorStore, generation: Generation | None, source: str) -> None:
        self._store = store
        self._generation = generation
        self._source = source
        self._offset: dict[str, Any] | None = None
        self._listing: dict[str, Any] | None = None

    @property
    def offset(self) -> dict[str, Any]:
        """End of the last planned range; empty at the start."""
        if self._offset is None:
            last = self._generation and self._store.batches.last(self._generation, with_files=False)
            ends = {part.source: part.end for part in last.plan.slices} if last else {}
            if self._generation is not None and last and self._source not in ends:
                # It was left out of the query for a while, or is new.
                ends[self._source] = self._store.ledger.offset(self._generation, self._source)
            self._offset = ends.get(self._source, {})
        return self._offset

    def seen(self) -> Mapping[str, FileEntry]:
        """The newest known version of every file, by path."""
        if self._generation is None:
            return {}
        # The ledger keeps what it has read and fetches the rest: cheap however often it is asked.
        return self._store.ledger.seen(self._generation, self._source)

    @property
    def listing(self) -> dict[str, Any]:
        """What the source wants to remember of its listings."""
        if self._listing is None:
            self._listing = (
                self._store.ledger.listing(self._generation, self._source)
                if self._generation
                else {}
            )
        return self._listing

    def advance(self, part: Slice, listing: dict[str, Any] | None) -> None:
        """Follow a plan that was just logged."""
        self._offset = part.end
        if listing is not None:
            self.remember(listing)

    def remember(self, listing: dict[str, Any]) -> None:
        """Follow a listing that was just kept."""
        self._listing = listing


class NewHistory:
    """A source's past at the start of a generation: nothing is planned yet.

    Args:
        listing: What outlives a reset.
    """

    def __init__(self, listing: dict[str, Any]) -> None:
        self.offset: dict[str, Any] = {}
        self.listing = listing

    def seen(self) -> Mapping[str, FileEntry]:
        """No file."""
        return {}
