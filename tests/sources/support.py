"""A ledger in memory, and short ways to make files and plan them."""

import os
from datetime import UTC, datetime

from orchestration.clock import ManualClock
from orchestration.config import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Ledger:
    """What the cursor store tells a source: grows by the slices that were planned."""

    def __init__(self):
        self.offset = {}
        self.listing = {}
        self.files = {}

    def seen(self):
        return self.files

    def log(self, part, listing):
        self.offset = part.end
        self.listing = listing
        self.files.update({entry.path: entry for entry in part.files})

    def keep(self, backlog):
        """What a runner does with a poll that planned nothing."""
        self.listing = backlog.listing


class Planner:
    """Polls a source and plans its batches, as the runner does."""

    def __init__(self, source, tmp_path, **settings):
        self.source = source
        self.ledger = Ledger()
        self.clock = ManualClock(NOW)
        self.settings = Settings.load(root=tmp_path, home=tmp_path / "home", **settings)

    def poll(self):
        return self.source.poll(self.ledger, clock=self.clock, settings=self.settings)

    def take(self, backlog, limits=None):
        return self.source.take(backlog, limits or self.source.limits, settings=self.settings)

    def drain(self, limits=None):
        """Plan everything there is now; the slices."""
        backlog = self.poll()
        if backlog.empty:
            self.ledger.keep(backlog)
        parts = []
        while not backlog.empty:
            part, backlog = self.take(backlog, limits)
            self.ledger.log(part, backlog.listing)
            parts.append(part)
        return parts

    def paths(self, limits=None):
        """The same as lists of paths."""
        return [[entry.path for entry in part.files] for part in self.drain(limits)]

    def open(self, part, schema=None):
        return self.source.open(part, schema=schema, settings=self.settings)


def write(directory, name, content=b"{}\n", at=0):
    """A file, modified ``at`` seconds after a fixed moment."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    touch(path, at)
    return path


def touch(path, at):
    moment = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) + at
    os.utime(path, (moment, moment))


def read(files_input):
    """Name to content of every file an engine would read, group by group."""
    return [
        {item.name: item.local.read_bytes() for item in group} for group in _entered(files_input)
    ]


def _entered(files_input):
    for group in files_input.groups():
        with group as files:
            yield files
