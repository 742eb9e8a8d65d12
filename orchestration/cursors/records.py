"""What a query, a batch and a file are, as the write-ahead log keeps them.

All of it is plain data that goes to JSON and comes back equal. A *plan* says what a batch will
read; a *seal* says what it wrote. Together they are enough to finish a batch after any crash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self

__all__ = [
    "BatchRecord",
    "DataFile",
    "FileEntry",
    "Generation",
    "Plan",
    "Seal",
    "Slice",
    "TableChanges",
]

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One version of one input file, as discovery saw it.

    Attributes:
        path: Path relative to the source's root, ``/`` between parts, not percent-encoded.
        size: Bytes.
        modified_us: Modification time, microseconds since the epoch.
        etag: The object store's etag; ``None`` on local disks.
    """

    path: str
    size: int
    modified_us: int
    etag: str | None = None

    @property
    def modified(self) -> datetime:
        """Modification time, aware, UTC."""
        seconds, micros = divmod(self.modified_us, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)

    def to_json(self) -> list[Any]:
        """A short list: path, size, modification time, etag."""
        return [self.path, self.size, self.modified_us, self.etag]

    @classmethod
    def from_json(cls, value: list[Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(*value)


@dataclass(frozen=True, slots=True)
class Slice:
    """The part ``[start, end)`` of one source that one batch reads.

    Attributes:
        source: The source's name, unique in the query.
        start: Offset of the first thing read.
        end: Offset after the last thing read; the next batch starts here.
        files: For sources made of files, exactly those to read, in order.
        bytes: Bytes that will be read, where known.
        latest: How far the source went when this was planned (backlog = latest - end).
    """

    source: str
    start: JsonDict
    end: JsonDict
    files: tuple[FileEntry, ...] = ()
    bytes: int = 0
    latest: JsonDict = field(default_factory=dict)

    def to_json(self, *, with_files: bool = True) -> JsonDict:
        """JSON of this slice; without the file list where that is kept elsewhere."""
        value: JsonDict = {
            "source": self.source,
            "start": self.start,
            "end": self.end,
            "bytes": self.bytes,
            "latest": self.latest,
            "n_files": len(self.files),
        }
        if with_files:
            value["files"] = [entry.to_json() for entry in self.files]
        return value

    @classmethod
    def from_json(cls, value: JsonDict, files: tuple[FileEntry, ...] | None = None) -> Self:
        """Inverse of :meth:`to_json`; ``files`` where they were kept elsewhere."""
        if files is None:
            files = tuple(FileEntry.from_json(item) for item in value.get("files", ()))
        return cls(
            value["source"], value["start"], value["end"], files, value["bytes"], value["latest"]
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What one micro-batch will read, fixed before it reads anything.

    Attributes:
        query_id: Name of the query.
        generation: The query's life it belongs to.
        batch_id: Counts from 0 in each generation, without gaps.
        run_id: The run that planned it (one run drains many batches).
        timestamp: What ``now()`` means in this batch; aware UTC.
        slices: One per source.
        event_time: What a stateful batch has to know beside its input; ``{}`` for others (see
            :mod:`orchestration.state.watermarks`).
    """

    query_id: str
    generation: int
    batch_id: int
    run_id: str
    timestamp: datetime
    slices: tuple[Slice, ...]
    event_time: JsonDict = field(default_factory=dict)

    def to_json(self, *, with_files: bool = True) -> JsonDict:
        """The plan as JSON."""
        return {
            "query_id": self.query_id,
            "generation": self.generation,
            "batch_id": self.batch_id,
            "run_id": self.run_id,
            "timestamp": self.timestamp.isoformat(),
            "slices": [part.to_json(with_files=with_files) for part in self.slices],
            # Left out where there is none: plans of stateless queries keep their hash.
            **({"event_time": self.event_time} if self.event_time else {}),
        }

    @classmethod
    def from_json(
        cls, value: JsonDict, files: dict[str, tuple[FileEntry, ...]] | None = None
    ) -> Self:
        """Inverse of :meth:`to_json`; ``files`` by source name where kept elsewhere."""
        return cls(
            value["query_id"],
            value["generation"],
            value["batch_id"],
            value["run_id"],
            datetime.fromisoformat(value["timestamp"]),
            tuple(
                Slice.from_json(part, None if files is None else files.get(part["source"], ()))
                for part in value["slices"]
            ),
            value.get("event_time", {}),
        )

    @property
    def hash(self) -> str:
        """SHA-256 over the whole plan, files included, as 32 hex digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file that an engine wrote and a committer may add to a Delta table.

    Attributes:
        path: Relative to the table's root, ``/`` between parts, as it is named on disk
            (partition directories included); the committer percent-encodes it for the log.
        size: Bytes.
        rows: Number of rows.
        modified_ms: Modification time, milliseconds since the epoch.
        partition_values: Column to value as Delta writes it; ``None`` is null.
        stats: Delta's statistics as a JSON string; always has ``numRecords``.
    """

    path: str
    size: int
    rows: int
    modified_ms: int
    partition_values: dict[str, str | None] = field(default_factory=dict)
    stats: str = "{}"

    def to_json(self) -> JsonDict:
        """The file as JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_json(cls, value: JsonDict) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class TableChanges:
    """What one batch does to one table.

    Attributes:
        adds: Files to add.
        removes: Files to take out, as an upsert does with those it has rewritten.
        overwrite: Replace the whole table by ``adds``, whatever it holds when that is committed.
        emitted: Paths of those of ``adds`` that hold the rows the batch gave; the others hold
            rows it only carried over from files it removes. ``None``: all of them.
        base_version: Version of the table that an upsert was computed against; ``None`` where
            the changes hold against any.
        keys: Columns by which an upsert replaces rows, so that it can be computed anew.
    """

    adds: tuple[DataFile, ...] = ()
    removes: tuple[DataFile, ...] = ()
    overwrite: bool = False
    emitted: tuple[str, ...] | None = None
    base_version: int | None = None
    keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.adds or self.removes or self.overwrite)

    @property
    def given(self) -> tuple[DataFile, ...]:
        """The added files that hold the batch's own rows."""
        if self.emitted is None:
            return self.adds
        own = set(self.emitted)
        return tuple(item for item in self.adds if item.path in own)

    def to_json(self) -> JsonDict:
        """The changes as JSON; what is not there is left out."""
        value: JsonDict = {"adds": [item.to_json() for item in self.adds]}
        if self.removes:
            value["removes"] = [item.to_json() for item in self.removes]
        if self.overwrite:
            value["overwrite"] = True
        if self.emitted is not None:
            value["emitted"] = list(self.emitted)
        if self.base_version is not None:
            value["base_version"] = self.base_version
            value["keys"] = list(self.keys)
        return value

    @classmethod
    def from_json(cls, value: JsonDict) -> Self:
        """Inverse of :meth:`to_json`."""
        emitted = value.get("emitted")
        return cls(
            tuple(DataFile.from_json(item) for item in value["adds"]),
            tuple(DataFile.from_json(item) for item in value.get("removes", ())),
            bool(value.get("overwrite", False)),
            None if emitted is None else tuple(emitted),
            value.get("base_version"),
            tuple(value.get("keys", ())),
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """The decided result of a batch.

    Attributes:
        plan_hash: :attr:`Plan.hash` of the plan it carries out.
        attempt: Name of the attempt whose files these are.
        tables: ``"sink"``, ``"quarantine"``, ``"late"`` to their changes.
        progress: What is known of the batch so far (semantics §8).
        event_time: Where event time stands after the batch; ``{}`` for stateless queries.
        state: Name of the state version the batch made, below the generation's directory;
            ``None`` for stateless queries.
    """

    plan_hash: str
    attempt: str
    tables: dict[str, TableChanges]
    progress: JsonDict = field(default_factory=dict)
    event_time: JsonDict = field(default_factory=dict)
    state: str | None = None

    def to_json(self) -> JsonDict:
        """The seal as JSON; what is not there is left out."""
        return {
            "plan_hash": self.plan_hash,
            "attempt": self.attempt,
            "tables": {name: changes.to_json() for name, changes in self.tables.items()},
            "progress": self.progress,
            **({"event_time": self.event_time} if self.event_time else {}),
            **({"state": self.state} if self.state is not None else {}),
        }

    @classmethod
    def from_json(cls, value: JsonDict) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(
            value["plan_hash"],
            value["attempt"],
            {name: TableChanges.from_json(item) for name, item in value["tables"].items()},
            value["progress"],
            value.get("event_time", {}),
            value.get("state"),
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """A query's life between resets.

    Attributes:
        query_id: Name of the query.
        number: Counts from 1.
        token: Random, so that a generation is never mistaken for another one's.
        status: ``resetting`` while its reset commits; ``active`` since.
        fingerprint: What of the declaration may not change within a generation.
        input_schema: Column to DuckDB type, recorded where it was inferred; else ``None``.
        table_ids: Delta table ids by role (``sink``, ``quarantine``) seen at creation.
        created_at: Aware UTC.
    """

    query_id: str
    number: int
    token: str
    status: Literal["active", "resetting", "retired"]
    fingerprint: JsonDict
    input_schema: dict[str, str] | None
    table_ids: dict[str, str]
    created_at: datetime

    @property
    def app_id(self) -> str:
        """Delta's ``txn.appId`` of this generation."""
        return f"{self.query_id}/{self.number}-{self.token}"


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One row of the batch log.

    Attributes:
        plan: What it reads.
        seal: What it wrote, once decided.
        planned_at, sealed_at, committed_at, acked_at: Aware UTC, ``None`` until then.
        failures: Times in a row it failed the same way.
        last_error: The last failure's message, redacted.
        blocked: True when it waits for ``retry`` or ``skip``.
        progress: The progress record (semantics §8); final once committed.
        skip: True when its input goes to quarantine whole, because a person said so.
    """

    plan: Plan
    seal: Seal | None
    planned_at: datetime
    sealed_at: datetime | None
    committed_at: datetime | None
    acked_at: datetime | None
    failures: int
    last_error: str | None
    blocked: bool
    progress: JsonDict
    skip: bool = False
