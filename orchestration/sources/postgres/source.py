"""Tables of a PostgreSQL server as a source of changes; see :func:`postgres`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from orchestration.cursors.records import Slice
from orchestration.errors import SourceError
from orchestration.sources.base import Backlog, Limits
from orchestration.sources.fileless import Fileless
from orchestration.sources.postgres.changes_input import ChangesInput
from orchestration.sources.postgres.position import SETUP, Position
from orchestration.sources.postgres.rows import CHANGE_SCHEMA, lsn_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from orchestration.clock import Clock
    from orchestration.config import Settings
    from orchestration.sources.base import SourceHistory
    from orchestration.sources.postgres.connection import Dsn
    from orchestration.sources.postgres.following import Following

__all__ = ["PostgresSource"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PostgresSource(Fileless):
    """Changes of tables, read from a replication slot; made by :func:`postgres`.

    Offsets are places in the server's log where a transaction ends, with what they are places of:
    the server, the publication, and the tables that are copied. A slot cannot be read again once
    it was acknowledged, so rows land in a change log, which everything else reads.

    Attributes:
        dsn: How the server is reached; secret.
        tables: Names with schema.
        slot, publication: Their names.
        snapshot: Whether tables are copied first.
        name: Unique within the query.
        limits: How much a batch reads.
        chunk_rows: Rows of a part of a table's copy.
        idle_bytes: Log without a change of these tables after which the slot is moved on.
        warn_bytes: Log kept for the slot above which people are warned.
    """

    dsn: Dsn
    tables: tuple[str, ...]
    slot: str
    publication: str
    snapshot: Literal["initial", "never"]
    name: str
    limits: Limits
    chunk_rows: int
    idle_bytes: int
    warn_bytes: int
    _live: list[Following] = field(init=False, compare=False, repr=False, default_factory=list)

    on_bad_record: Literal["quarantine", "fail"] = field(default="fail", init=False)
    max_bad_fraction: float | None = field(default=None, init=False)
    #: What was acknowledged is gone at the server: there is no second reading from the start.
    reads_once: bool = field(default=True, init=False)

    @property
    def _following(self) -> Following:
        """What is done at the server; made, and its libraries loaded, when it is first needed."""
        if not self._live:
            from orchestration.sources.postgres.following import Following

            self._live.append(Following(self))
        return self._live[0]

    @property
    def schema(self) -> pa.Schema:
        """Columns of the change log."""
        return CHANGE_SCHEMA

    @property
    def description(self) -> str:
        """Tables and database, without secrets."""
        count = len(self.tables)
        what = self.tables[0] if count == 1 else f"{count} tables"
        return f"changes of {what} in {self.dsn.shown} (slot {self.slot})"

    def describe(self) -> dict[str, Any]:
        """What is read, as JSON; the slot says which changes."""
        from orchestration.streams.schema import schema_to_json

        return {
            "kind": "postgres",
            "name": self.name,
            "path": f"postgres/{self.slot}",
            "format": "changes",
            "schema": schema_to_json(CHANGE_SCHEMA),
            "tables": list(self.tables),
            "publication": self.publication,
            "snapshot": self.snapshot,
        }

    def complete_schema(self, data: pa.Schema) -> pa.Schema:
        """The schema as it is."""
        return data

    def poll(self, history: SourceHistory, *, clock: Clock, settings: Settings) -> Backlog:
        """Ask the server how far its log goes, and whether it holds a change of the tables.

        Raises:
            SourceUnavailable: It does not answer.
            SourceNotReady: It lacks a setting, a right or a key.
            SlotInUse: Another consumer reads the slot.
            SlotLost, PublicationChanged, ServerChanged: What was read so far is not there any
                more, so that changes may be lost.
        """
        del clock, settings
        start = history.offset
        with closing(self.dsn.connect()) as connection:
            look = self._following.look(connection, start)
        if not start:
            notes = (f"slot {self.slot} and publication {self.publication} are made at first",)
            return Backlog({}, {SETUP: self.slot}, notes=notes)
        since = None if look.oldest_us is None else _EPOCH + timedelta(microseconds=look.oldest_us)
        return Backlog(
            start=start,
            end=look.end,
            bytes=look.bytes,
            notes=look.notes,
            waiting_since=since,
        )

    def take(
        self, backlog: Backlog, limits: Limits, *, settings: Settings
    ) -> tuple[Slice, Backlog]:
        """The next whole transactions, or the next part of a table's copy.

        They are fetched here, to see where a transaction ends, and decoded when they are opened.
        """
        if not backlog.start:
            end = {SETUP: self.slot}
            left = replace(backlog, start=end, end={SETUP: self.slot, "then": "read"})
            return Slice(self.name, {}, end, latest=end), left
        with closing(self.dsn.connect()) as connection:
            taken = self._following.take(connection, backlog, limits, settings)
        drained = taken.end == taken.left
        left = replace(
            backlog,
            start=taken.end,
            end=taken.left,
            bytes=taken.left_bytes,
            waiting_since=None if drained else backlog.waiting_since,
        )
        latest = {**taken.left, "bytes_outstanding": taken.left_bytes}
        part = Slice(self.name, backlog.start, taken.end, bytes=taken.bytes, latest=latest)
        return part, left

    def open(self, part: Slice, *, schema: pa.Schema | None, settings: Settings) -> ChangesInput:
        """The rows of a slice; of the first one there are none, but the slot is made.

        Raises:
            SourceError: The whole log was asked for: that can be read only once.
        """
        del schema
        following = self._following
        if not part.start:
            if SETUP not in part.end:
                raise SourceError(
                    f"the changes of slot {self.slot} up to {part.end.get('lsn')} were read once, "
                    "and the server has let go of them",
                    remedy="the change log holds them: recompute what reads it, not the log itself",
                )
            with closing(self.dsn.connect()) as connection:
                following.set_up(connection)
            return self._input(lambda: iter(()), part, settings)
        end = Position.from_json(part.end)
        if end.chunk is not None:
            return self._input(lambda: following.copied(part), part, settings)
        return self._input(lambda: following.changes(part, settings), part, settings)

    def _input(self, batches: Any, part: Slice, settings: Settings) -> ChangesInput:
        def rows() -> Iterator[pa.RecordBatch]:
            yield from batches()

        lsn = part.end.get("lsn", "the start")
        return ChangesInput(
            name=f"slot {self.slot} up to {lsn}",
            modified=_EPOCH,
            batches=rows,
            spool_dir=settings.spool_dir,
        )

    def acknowledge(self, part: Slice) -> None:
        """Let the server forget what is committed here; idempotent."""
        self._following.acknowledge(part)

    def table_now(self, table: str, settings: Settings) -> tuple[int, ChangesInput]:
        """A table as it is now: a place in the log that is not before it, and its rows.

        Raises:
            SourceError: As :meth:`poll`.
        """
        place, rows = self._following.table_now(table)
        name = f"{table} at {lsn_text(place)}"
        return place, ChangesInput(name, _EPOCH, lambda: rows, settings.spool_dir)

    def pending(self, until: int, settings: Settings) -> ChangesInput:
        """Changes up to a place in the log that have not been landed yet; none is taken.

        Raises:
            SourceError: As :meth:`poll`, when they are read.
        """
        name = f"slot {self.slot} up to {lsn_text(until)}"
        return ChangesInput(
            name, _EPOCH, lambda: self._following.pending(until, settings), settings.spool_dir
        )

    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the server now: log held back for the slot.

        Raises:
            SourceUnavailable: It does not answer.
        """
        with closing(self.dsn.connect()) as connection:
            return self._following.warnings(connection)

    def place(self) -> str:
        """Up to where the slot is acknowledged, as PostgreSQL writes places.

        Raises:
            SourceUnavailable: It does not answer.
        """
        with closing(self.dsn.connect()) as connection:
            return lsn_text(self._following.server(connection).confirmed)
