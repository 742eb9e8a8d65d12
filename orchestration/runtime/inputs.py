"""All sources of a query as one: looked at, cut and remembered together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.cursors.records import Slice
from orchestration.runtime.history import StoredHistory
from orchestration.sources.base import Backlog, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.cursors.records import Generation
    from orchestration.cursors.store import CursorStore
    from orchestration.runtime.progress import Stopwatch
    from orchestration.runtime.session import Session
    from orchestration.runtime.triggers import Trigger
    from orchestration.sources.base import Source

__all__ = ["Backlogs", "Inputs", "NextBatch"]

_EVERYTHING = Limits()


@dataclass(frozen=True, slots=True)
class Backlogs:
    """What the sources of a query have that no plan covers yet.

    Attributes:
        parts: Source to its backlog.
    """

    parts: Mapping[str, Backlog]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to plan."""
        return all(part.empty for part in self.parts.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities worth telling, with the source's name where there are several."""
        if len(self.parts) == 1:
            return self._only.notes
        return tuple(f"{name}: {note}" for name, part in self.parts.items() for note in part.notes)

    @property
    def merged(self) -> Backlog:
        """One backlog with the sums; of a single source its own.

        Offsets are by source then. The place exists when any of them does.
        """
        if len(self.parts) == 1:
            return self._only
        parts = self.parts.values()
        return Backlog(
            start={name: part.start for name, part in self.parts.items()},
            end={name: part.end for name, part in self.parts.items()},
            files=tuple(entry for part in parts for entry in part.files),
            bytes=sum(part.bytes for part in parts),
            rows=sum(part.rows for part in parts),
            seen=sum(part.seen for part in parts),
            notes=self.notes,
            must_record=any(part.must_record for part in parts),
            exists=any(part.exists for part in parts),
        )

    @property
    def _only(self) -> Backlog:
        (part,) = self.parts.values()
        return part


@dataclass(frozen=True, slots=True)
class NextBatch:
    """What the next batch is to be.

    Attributes:
        watch: Its time so far.
        slices: One per source.
        rest: What the sources have beyond them; ``None`` where nobody looked.
        no_data: Whether it only closes what the watermark has passed.
        flush_us: Close whatever ends by then, microseconds since 1970.
    """

    watch: Stopwatch
    slices: tuple[Slice, ...]
    rest: Backlogs | None = None
    no_data: bool = False
    flush_us: int | None = None


class Inputs:
    """The sources of a query, with what the cursor store remembers of them.

    Args:
        store: The cursor store.
        generation: The generation in force; ``None`` before the first run.
        sources: By name.
        clock: The time.
        settings: Where things live.
    """

    def __init__(
        self,
        store: CursorStore,
        generation: Generation | None,
        sources: Mapping[str, Source],
        *,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._settings = settings
        self._histories = {name: StoredHistory(store, generation, name) for name in sources}

    @classmethod
    def of(cls, session: Session, generation: Generation | None) -> Inputs:
        """Those of an opened query."""
        return cls(
            session.store,
            generation,
            session.sources,
            clock=session.clock,
            settings=session.settings,
        )

    def poll(self) -> Backlogs:
        """Look how far every source goes, without reading data.

        Raises:
            SourceUnavailable: One does not answer.
            FileRewritten: A file read before is another now, with ``on_rewrite="fail"``.
        """
        return Backlogs(
            {
                name: source.poll(self._histories[name], clock=self._clock, settings=self._settings)
                for name, source in self._sources.items()
            }
        )

    def take(self, waiting: Backlogs, trigger: Trigger) -> tuple[tuple[Slice, ...], Backlogs]:
        """The next batch's slice of every source, and what is left.

        Each source's limits are its own, tightened by the trigger's. One that has nothing gives
        an empty slice.
        """
        slices: list[Slice] = []
        rest: dict[str, Backlog] = {}
        for name, source in self._sources.items():
            part = waiting.parts[name]
            if part.empty:
                slices.append(_nothing(name, part))
                rest[name] = part
                continue
            limits = _EVERYTHING if trigger.kind == "once" else source.limits.tightened(trigger)
            taken, rest[name] = source.take(part, limits, settings=self._settings)
            slices.append(taken)
        return tuple(slices), Backlogs(rest)

    def nothing(self, waiting: Backlogs | None = None) -> tuple[Slice, ...]:
        """An empty slice of every source, where its last plan ended."""
        if waiting is not None:
            return tuple(_nothing(name, part) for name, part in waiting.parts.items())
        offsets = {name: history.offset for name, history in self._histories.items()}
        return tuple(Slice(name, at, at, latest=at) for name, at in offsets.items())

    def listings(self, slices: Iterable[Slice], rest: Backlogs) -> dict[str, dict[str, Any]]:
        """What to remember of their listings with a plan of these slices, by source."""
        return {
            part.source: rest.parts[part.source].listing
            for part in slices
            if part.start != part.end
        }

    def advance(self, slices: Iterable[Slice], listings: Mapping[str, dict[str, Any]]) -> None:
        """Follow a plan that was just logged."""
        for part in slices:
            self._histories[part.source].advance(part, listings.get(part.source))

    def new_listings(self, waiting: Backlogs) -> dict[str, dict[str, Any]]:
        """Listings that changed at sources with nothing to plan."""
        return {
            name: part.listing
            for name, part in waiting.parts.items()
            if part.empty and part.listing != self._histories[name].listing
        }

    def remember(self, name: str, listing: dict[str, Any]) -> None:
        """Follow a listing that was just kept."""
        self._histories[name].remember(listing)


def _nothing(name: str, backlog: Backlog) -> Slice:
    return Slice(name, backlog.start, backlog.start, latest=backlog.end)
