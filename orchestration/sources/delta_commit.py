"""One commit of a Delta table, as far as a stream has to know it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

__all__ = ["Commit", "LoggedFile", "TableMetadata", "parse_commit"]

_ROWS = re.compile(r'"numRecords"\s*:\s*(\d+)')


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """A file that a commit adds or removes.

    Attributes:
        path: Relative to the table, as it is named on disk.
        size: Bytes; 0 where the log does not say.
        modified_us: When it was written, microseconds since 1970.
        rows: Rows, where the log says.
        partitions: Column to its text; ``None`` is null.
        data_change: False where the commit only arranges rows anew.
        vector: Whether some of its rows are marked as deleted.
    """

    path: str
    size: int
    modified_us: int
    rows: int | None
    partitions: dict[str, str | None]
    data_change: bool = True
    vector: bool = False


@dataclass(frozen=True, slots=True)
class TableMetadata:
    """What a table says of itself.

    Attributes:
        table_id: Its id; another one is another table.
        schema: Its columns, as Delta's JSON.
        partitions: Columns that stand in the log instead of the files.
        configuration: Its properties.
    """

    table_id: str
    schema: str
    partitions: tuple[str, ...]
    configuration: dict[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """One version.

    Attributes:
        version: Its number.
        digest: Of the whole content.
        time_us: When, microseconds since 1970; 0 where nobody wrote it down.
        operation: What did it, such as ``MERGE``; empty where nobody wrote it down.
        info: Everything that was written down.
        adds, removes, changes: Files; ``changes`` are those of the change data feed.
        metadata: What the table says of itself from here on.
        reader_version, reader_features: What a reader has to understand from here on.
    """

    version: int
    digest: str
    time_us: int = 0
    operation: str = ""
    info: dict[str, Any] | None = None
    adds: tuple[LoggedFile, ...] = ()
    removes: tuple[LoggedFile, ...] = ()
    changes: tuple[LoggedFile, ...] = ()
    metadata: TableMetadata | None = None
    reader_version: int | None = None
    reader_features: tuple[str, ...] = ()

    @property
    def added(self) -> tuple[LoggedFile, ...]:
        """Files with rows that are new."""
        return tuple(item for item in self.adds if item.data_change)

    @property
    def removed(self) -> tuple[LoggedFile, ...]:
        """Files whose rows are gone, or stand in an added file now."""
        return tuple(item for item in self.removes if item.data_change)


def parse_commit(version: int, data: bytes) -> Commit:
    """Read the actions of a commit; those that a stream has no use for are passed over.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no commit.
    """
    found: dict[str, list[LoggedFile]] = {"add": [], "remove": [], "cdc": []}
    info: dict[str, Any] = {}
    metadata: TableMetadata | None = None
    reader: int | None = None
    features: tuple[str, ...] = ()
    for line in data.splitlines():
        if not line.strip():
            continue
        for kind, action in json.loads(line).items():
            if kind in found:
                found[kind].append(_file(action, data_change=kind == "cdc"))
            elif kind == "commitInfo":
                info = action
            elif kind == "metaData":
                metadata = TableMetadata(
                    str(action["id"]),
                    str(action["schemaString"]),
                    tuple(action.get("partitionColumns") or ()),
                    dict(action.get("configuration") or {}),
                )
            elif kind == "protocol":
                reader = int(action["minReaderVersion"])
                features = tuple(action.get("readerFeatures") or ())
    return Commit(
        version,
        hashlib.blake2b(data, digest_size=8).hexdigest(),
        int(info.get("inCommitTimestamp") or info.get("timestamp") or 0) * 1000,
        str(info.get("operation") or ""),
        info,
        tuple(found["add"]),
        tuple(found["remove"]),
        tuple(found["cdc"]),
        metadata,
        reader,
        features,
    )


def _file(action: dict[str, Any], *, data_change: bool) -> LoggedFile:
    rows = _ROWS.search(action.get("stats") or "")
    modified = action.get("modificationTime") or action.get("deletionTimestamp") or 0
    return LoggedFile(
        unquote(action["path"]),
        int(action.get("size") or 0),
        int(modified) * 1000,
        None if rows is None else int(rows[1]),
        dict(action.get("partitionValues") or {}),
        data_change or bool(action.get("dataChange", True)),
        bool(action.get("deletionVector")),
    )
