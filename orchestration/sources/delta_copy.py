"""A small table with the log that a stream needs, made of another's files: for ``prove``."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestration.errors import DeclarationError, SourceUnavailable
from orchestration.redaction import redact
from orchestration.sources.delta_offsets import Marks
from orchestration.sources.delta_table import open_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestration.cursors.records import FileEntry
    from orchestration.sources.delta_table import OpenedTable

__all__ = ["write_log"]


def write_log(uri: str, directory: Path, files: tuple[FileEntry, ...]) -> None:
    """Write the log of a table that consists of these files of another one, in this order.

    Files of one version stay in one commit; versions are numbered anew, from 0.

    Args:
        uri: The table that they are from.
        directory: Where they were copied to.
        files: With their marks.

    Raises:
        DeclarationError: Some have rows that are marked as deleted, or other names of columns.
        SourceUnavailable: The table is gone.
    """
    marks = [Marks.of(entry) for entry in files]
    if any(item.vector or item.mapped for item in marks):
        raise DeclarationError(
            f"{redact(uri)} has deletion vectors or column mapping, which are not copied",
            remedy="prove the query on a table without them: a copy of this one",
        )
    table = open_table(uri)
    if table is None:
        raise SourceUnavailable(
            f"there is no Delta table at {redact(uri)} any more", remedy="put it back"
        )
    log = directory / "_delta_log"
    log.mkdir(parents=True)
    groups = groupby(files, key=lambda entry: Marks.of(entry).position.version)
    for number, (_, group) in enumerate(groups):
        actions: list[dict[str, Any]] = []
        entries = list(group)
        moment = (Marks.of(entries[0]).time_us or entries[0].modified_us) // 1000
        actions.append({"commitInfo": {"timestamp": moment, "operation": "WRITE"}})
        if number == 0:
            actions += _head(table)
        actions += [_action(entry) for entry in entries]
        text = "\n".join(json.dumps(action) for action in actions)
        (log / f"{number:020d}.json").write_text(text, encoding="utf-8")


def _head(table: OpenedTable) -> Iterator[dict[str, Any]]:
    protocol = table.handle.protocol()
    found: dict[str, Any] = {
        "minReaderVersion": protocol.min_reader_version,
        "minWriterVersion": protocol.min_writer_version,
    }
    if protocol.reader_features is not None:
        found["readerFeatures"] = list(protocol.reader_features)
    if protocol.writer_features is not None:
        found["writerFeatures"] = list(protocol.writer_features)
    yield {"protocol": found}
    yield {
        "metaData": {
            "id": table.table_id,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": table.handle.schema().to_json(),
            "partitionColumns": list(table.partitions),
            "configuration": dict(table.configuration),
        }
    }


def _action(entry: FileEntry) -> dict[str, Any]:
    marks = Marks.of(entry)
    action: dict[str, Any] = {
        "path": quote(entry.path, safe="/=@:,+$&!*'();~"),
        "partitionValues": marks.partitions,
        "size": entry.size,
        "dataChange": marks.kind != "changes",
    }
    if marks.kind == "changes":
        return {"cdc": action}
    if marks.kind == "delete":
        return {"remove": {**action, "deletionTimestamp": entry.modified_us // 1000}}
    stats = {} if marks.rows is None else {"stats": json.dumps({"numRecords": marks.rows})}
    return {"add": {**action, "modificationTime": entry.modified_us // 1000, **stats}}
