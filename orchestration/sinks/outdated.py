"""Does an upsert still fit the table, or did others change it since it was computed?

An upsert names the files it replaces, found in one version of the table. A later commit may have
taken one of them out (a compaction), or have added rows under its keys: committed all the same,
the first would double rows, and the second would leave two rows of one key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from orchestration.errors import SinkUnavailable
from orchestration.objects import PlaceError
from orchestration.redaction import redact
from orchestration.sinks.actions import log_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deltalake import DeltaTable

    from orchestration.cursors.records import DataFile
    from orchestration.sinks.table import SinkTable

__all__ = ["UpsertOutdated", "require_current"]


class UpsertOutdated(Exception):
    """A signal, never a failure: compute the upsert anew, replace the seal, commit again."""


def require_current(
    table: SinkTable, handle: DeltaTable, base_version: int, removes: Iterable[DataFile]
) -> None:
    """Check that no commit since ``base_version`` matters to an upsert computed against it.

    Args:
        table: The table.
        handle: Open on the version that the upsert is to be committed on top of.
        base_version: What it was computed against.
        removes: Files that it takes out.

    Raises:
        UpsertOutdated: One does, or its log entry is gone, or a file to remove is not there.
        SinkUnavailable: The store does not answer.
    """
    version = handle.version()
    if version < base_version:  # brought back from a backup
        raise UpsertOutdated(f"the table is at version {version}, before {base_version}")
    taken = {item.path for item in removes}
    for number in range(base_version + 1, version + 1):
        try:
            data = table.place.get(f"_delta_log/{number:020d}.json")
        except PlaceError as error:
            raise SinkUnavailable(
                f"the log of {redact(table.uri)} cannot be read: {error.args[0]}",
                remedy="the batch is sealed and will be committed by the next run",
            ) from error
        if data is None:
            raise UpsertOutdated(f"the log entry of version {number} is gone")
        what = _matters(data, taken)
        if what:
            raise UpsertOutdated(f"version {number} {what}")
    if taken:
        active = {str(path) for path in pa.table(handle.get_add_actions())["path"].to_pylist()}
        gone = [path for path in taken if log_path(path) not in active]
        if gone:  # a removal of what is not there would be taken without a word
            raise UpsertOutdated(f"{gone[0]} is not in version {version}")


def _matters(data: bytes, taken: set[str]) -> str | None:
    """What a log entry changed that an upsert must know; ``None`` for nothing.

    Files that a compaction adds hold rows that were there before; those of files that an upsert
    does not touch have none of its keys.
    """
    for line in data.splitlines():
        try:
            action = json.loads(line) if line.strip() else {}
        except ValueError:
            return "cannot be read"
        if "add" in action and action["add"].get("dataChange", True):
            return "added rows"
        if "remove" in action and unquote(action["remove"]["path"]) in taken:
            return "took out a file that the upsert replaces"
    return None
