"""A query on a copy of its input, in a home of its own: what may be killed without harm."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestration.config import Settings
from orchestration.errors import DeclarationError, HeadwaterError, SourceUnavailable
from orchestration.objects import Place, PlaceError
from orchestration.redaction import redact
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.base import CopiesItself
from orchestration.sources.discovery import Discovery
from orchestration.sources.file_source import FileSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.clock import Clock
    from orchestration.cursors.records import FileEntry
    from orchestration.sources.base import Backlog, Source

__all__ = ["InputCopy", "copy_input", "in_scratch", "scratch_environment"]

#: Batches to aim for, so that a crash in the second one has something before and behind it.
_BATCHES = 4
#: What would point a scratch process at the real home.
_PLACES = ("HOME", "TABLES", "STATE", "CURSORS", "SCRATCH")


@dataclass(frozen=True, slots=True)
class InputCopy:
    """A copy of a query's input.

    Attributes:
        directory: Where it lies.
        files, bytes: What was copied.
        left_out: Files beyond the bound, the newest.
        max_files: Files of each source a batch, so that there are several batches.
        largest: Files of the source that has the most.
    """

    directory: Path
    files: int
    bytes: int
    left_out: int
    max_files: int
    largest: int

    @property
    def batches(self) -> int:
        """Batches it makes at least."""
        return math.ceil(self.largest / self.max_files)


class _NoHistory:
    """A source's past before its first run."""

    offset: dict[str, object] = {}  # noqa: RUF012 - never written to
    listing: dict[str, object] = {}  # noqa: RUF012

    def seen(self) -> Mapping[str, FileEntry]:
        return {}


def copy_input(
    query: StreamingQuery, directory: Path, *, max_bytes: int, clock: Clock
) -> InputCopy:
    """Copy the files a first run of the query would read, the oldest first.

    Local files are linked where they lie on the same disk, so that a copy costs nothing.

    Args:
        query: Its sources have to be files.
        directory: Where to, made by this.
        max_bytes: Stop before the copy is larger; at least one file is taken.
        clock: The time, for ``min_age``.

    Raises:
        DeclarationError: A source is not files.
        HeadwaterError: There is no file.
        SourceUnavailable: A source does not answer.
    """
    total = number = left_out = largest = 0
    for name, source in _files_of(query).items():
        place, backlog = _everything(source, query.settings, clock)
        below = _below(query, directory, name)
        taken = 0
        for entry in backlog.files:
            if number and total + entry.size > max_bytes:
                break
            etag = None if isinstance(source, CopiesItself) else entry.etag
            _copy(place, replace(entry, etag=etag), below / entry.path)
            total += entry.size
            number += 1
            taken += 1
        if taken and isinstance(source, CopiesItself):
            source.complete_copy(below, backlog.files[:taken], settings=query.settings)
        left_out += len(backlog.files) - taken
        largest = max(largest, taken)
    if not number:
        raise HeadwaterError(
            f"there is nothing to prove yet: no file in {redact(query.reads)}",
            remedy="put files there first",
        )
    limit = max(1, math.ceil(largest / _BATCHES))
    return InputCopy(directory, number, total, left_out, limit, largest)


def in_scratch(query: StreamingQuery, directory: Path, home: Path) -> StreamingQuery:
    """The same query over a copy of its input, with tables and cursor store below ``home``.

    Raises:
        DeclarationError: A source is not files.
    """
    moved = {
        name: _moved(source, _below(query, directory, name))
        for name, source in _files_of(query).items()
    }
    sink = query.sink
    if sink.is_location:
        sink = replace(sink, table=query.name)
    settings = Settings.load(
        home=home,
        tables=str(home / "tables"),
        state=str(home / "state"),
        cursors=f"sqlite:///{home / 'cursors.db'}",
        scratch=str(home / "scratch"),
    )
    return StreamingQuery(
        query.name,
        query.stream.with_sources(moved),
        sink=sink,
        trigger=query.trigger,
        settings=settings,
        watermark_policy=query.watermark_policy,
        no_data_batches=query.no_data_batches,
    )


def scratch_environment(settings: Settings) -> dict[str, str]:
    """This process's environment without what would lead a child to the real home."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {f"HEADWATER_{place}" for place in _PLACES} | {"HEADWATER_CRASH_AT"}
    }
    if settings.root is not None:
        environment["HEADWATER_ROOT"] = str(settings.root)
    # Also where the package is used from its directory, uninstalled.
    package = str(Path(__file__).parent.parent.parent)
    paths = [package, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
    return environment


def _everything(
    source: FileSource | CopiesItself, settings: Settings, clock: Clock
) -> tuple[Place, Backlog]:
    """Where the files of a source lie, and what a first run would read."""
    if isinstance(source, CopiesItself):
        return source.everything(clock=clock, settings=settings)
    whole = replace(source, discovery=replace(source.discovery, include_existing=True))
    backlog = whole.poll(_NoHistory(), clock=clock, settings=settings)
    return Place.open(settings.resolve_input(source.path)), backlog


def _moved(source: FileSource | CopiesItself, directory: Path) -> Source:
    """The same source over a copy."""
    if isinstance(source, CopiesItself):
        return source.moved(directory)
    # The copy is complete and does not change: nothing has to wait or to be remembered.
    discovery = Discovery(on_rewrite=source.discovery.on_rewrite)
    return replace(source, path=str(directory), discovery=discovery)


def _files_of(query: StreamingQuery) -> dict[str, FileSource | CopiesItself]:
    found: dict[str, FileSource | CopiesItself] = {}
    for name, source in query.sources.items():
        if not isinstance(source, FileSource | CopiesItself):
            raise DeclarationError(
                f"query {query.name!r} reads {redact(source.description)}, which cannot be copied "
                "for another process to read",
                remedy="only queries over files and Delta tables can be proved; test others with "
                "orchestration.testing.StreamTest and its crash_at",
            )
        found[name] = source
    return found


def _below(query: StreamingQuery, directory: Path, source: str) -> Path:
    """Where the copy of one source lies."""
    return directory if len(query.sources) == 1 else directory / quote(source, safe="")


def _copy(place: Place, entry: FileEntry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if place.is_local:
            origin = (place.local_path / entry.path).resolve()
            try:
                os.link(origin, target)  # the very file: its time is right, and nothing is written
                return
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(origin, target)
        else:
            place.download(entry.path, target, entry.etag)
        # The order of files is that of their times.
        os.utime(target, ns=(entry.modified_us * 1000, entry.modified_us * 1000))
    except (OSError, PlaceError) as error:
        raise SourceUnavailable(
            f"{redact(place.full_name(entry.path))} cannot be copied: {redact(str(error))}",
            remedy="check that it is there and may be read, and try again",
        ) from error
