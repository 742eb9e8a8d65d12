"""DuckDB connections: memory bounded, spilling, in UTC, and shut in.

A user's expression must not reach files, the network or the environment, so a connection that
runs one has no access to anything but the directories that its batch writes to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.streams.schema import quote_literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import duckdb

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may use.

    Attributes:
        memory: As DuckDB takes it, such as ``"1GiB"``; ``None`` for its default.
        threads: ``None`` for one per core.
        spill_dir: Where it writes what does not fit the memory.
    """

    memory: str | None
    threads: int | None
    spill_dir: Path

    def divided(self, parts: int) -> Limits:
        """A share of the memory, for connections that work at the same time."""
        if parts <= 1 or self.memory is None:
            return self
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z%]*)\s*", self.memory)
        if found is None:
            return self
        share = max(1.0, float(found[1]) / parts)
        return Limits(f"{share:.3f}{found[2]}", self.threads, self.spill_dir)

    def connect(self, directories: Iterable[Path] = ()) -> duckdb.DuckDBPyConnection:
        """A fresh in-memory database for expressions of users.

        Args:
            directories: What it may read and write.
        """
        connection = self.connect_unguarded()
        own = [str(path) for path in directories]
        within = ", ".join(quote_literal(f"{path.rstrip('/')}/") for path in own)
        exactly = ", ".join(quote_literal(path) for path in own)
        for setting in (
            f"allowed_directories = [{within}]",
            f"allowed_paths = [{exactly}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        return connection

    def connect_unguarded(self) -> duckdb.DuckDBPyConnection:
        """A fresh in-memory database for statements of our own only."""
        import duckdb

        self.spill_dir.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(":memory:")
        settings = [
            "TimeZone = 'UTC'",
            f"temp_directory = {quote_literal(str(self.spill_dir))}",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "preserve_insertion_order = false",
            "python_enable_replacements = false",
            "enable_progress_bar = false",  # it writes to the standard output of a shell
        ]
        if self.memory is not None:
            settings.append(f"memory_limit = {quote_literal(self.memory)}")
        if self.threads is not None:
            settings.append(f"threads = {int(self.threads)}")
        for setting in settings:
            connection.execute(f"SET {setting}")
        return connection
