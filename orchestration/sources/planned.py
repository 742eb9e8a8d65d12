"""The files of one slice on their way to an engine: what local and fetched ones share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestration.errors import FileChanged, FileMissing
from orchestration.sources.hive import partition_values
from orchestration.sources.inputs import FileFormat, InputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pyarrow as pa

    from orchestration.cursors.records import FileEntry
    from orchestration.objects import Place

__all__ = ["GROUP_FILES", "OnMissing", "PlannedFiles", "cut"]

OnMissing = Literal["fail", "quarantine"]

GROUP_FILES = 1000  # so that little time lies between looking at a file and reading it

_KEEP_STILL = (
    "files must be complete when they appear: write them under a name that starts with '_' or '.' "
    "and rename them, or declare min_age. To go on, put the planned content back and run "
    "'headwater retry', or set the batch aside with 'headwater skip --to-quarantine'"
)


@dataclass(slots=True)
class PlannedFiles(ABC):
    """A ``FilesInput`` over the files of one slice.

    Attributes:
        place: Where they lie.
        files: Exactly those to read, in order.
        format: How to read them.
        schema: Columns to read, partition columns among them.
        partition_columns: Columns that come from the path.
        on_missing: What becomes of a file that vanished.
        file_name: What the user calls a file.
        missing: Names of those that vanished, with ``on_missing="quarantine"``.
    """

    place: Place
    files: tuple[FileEntry, ...]
    format: FileFormat
    schema: pa.Schema
    partition_columns: tuple[str, ...]
    on_missing: OnMissing
    file_name: Callable[[FileEntry], str]
    missing: list[str] = field(default_factory=list)

    @abstractmethod
    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """Groups of files in planned order; see :class:`FilesInput`."""

    def input_file(self, entry: FileEntry, local: Path) -> InputFile:
        """A planned file whose bytes are at ``local``."""
        found = partition_values(entry.path, self.partition_columns)
        return InputFile(
            local,
            self.file_name(entry),
            entry.size,
            entry.modified,
            {name: found.get(name) for name in self.partition_columns},
        )

    def vanished(self, entry: FileEntry) -> None:
        """Note a file that is gone, or refuse to go on.

        Raises:
            FileMissing: With ``on_missing="fail"``.
        """
        name = self.file_name(entry)
        if self.on_missing == "fail":
            raise FileMissing(
                f"{name} was planned ({entry.size} bytes, modified "
                f"{entry.modified.isoformat()}) and is not there any more",
                remedy="bring it back and run 'headwater retry'; or declare "
                "on_missing='quarantine', which notes its name in the quarantine and goes on",
            )
        if name not in self.missing:
            self.missing.append(name)

    def changed(self, entry: FileEntry, found: str) -> FileChanged:
        """The error for a file that is not what was planned."""
        return FileChanged(
            f"{self.file_name(entry)} was planned with {entry.size} bytes, modified "
            f"{entry.modified.isoformat()}, and has changed since: {found}",
            remedy=_KEEP_STILL,
        )


def cut(
    files: tuple[FileEntry, ...], *, max_files: int, max_bytes: int | None = None
) -> Iterator[tuple[FileEntry, ...]]:
    """Runs of at most so many files and bytes; a larger file is a run of its own."""
    begin = size = 0
    for index, entry in enumerate(files):
        full = index - begin >= max_files
        heavy = max_bytes is not None and size + entry.size > max_bytes
        if index > begin and (full or heavy):
            yield files[begin:index]
            begin, size = index, 0
        size += entry.size
    if begin < len(files):
        yield files[begin:]
