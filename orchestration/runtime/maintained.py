"""What a maintenance did, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestration.redaction import redact

if TYPE_CHECKING:
    from datetime import timedelta

    from orchestration.sinks.table import Role

__all__ = ["Maintenance", "TableMaintenance"]


@dataclass(frozen=True, slots=True)
class TableMaintenance:
    """What was done to one table; of a dry run, what would be done.

    Attributes:
        role: ``sink``, ``quarantine``, ``late`` or ``twin``.
        uri: Where it lies.
        version: Its newest version afterwards.
        files_before, files_after: Active files. Of a dry run the latter is an estimate.
        bytes_before, bytes_after: Of these; a dry run does not know the latter and repeats the
            former.
        packed: Small files that were written anew.
        packed_into: What they became.
        checkpoint: The version a checkpoint was written of; ``None`` where none was due.
        deleted, deleted_bytes: Data files that no version within the retention is made of.
        log_deleted, log_deleted_bytes: Log entries and old checkpoints.
        notes: What was left undone, and why.
    """

    role: Role
    uri: str
    version: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    packed: int = 0
    packed_into: int = 0
    checkpoint: int | None = None
    deleted: int = 0
    deleted_bytes: int = 0
    log_deleted: int = 0
    log_deleted_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.packed or self.deleted or self.log_deleted or self.checkpoint is not None)

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON."""
        return {**asdict(self), "uri": redact(self.uri), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What a maintenance did to the tables of a query.

    Attributes:
        query: Its name.
        tables: Those that are there.
        retention: What was current in this time stays readable.
        dry_run: Nothing was done, only looked at.
        seconds: How long it took.
        notes: What was left undone, and why.
    """

    query: str
    tables: tuple[TableMaintenance, ...]
    retention: timedelta
    dry_run: bool
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return any(table.changed for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON; the retention in seconds."""
        return {
            "query": self.query,
            "dry_run": self.dry_run,
            "retention_seconds": self.retention.total_seconds(),
            "seconds": self.seconds,
            "tables": [table.to_json() for table in self.tables],
            "notes": list(self.notes),
        }
