"""Does a copy hold what its source table holds? Asked at one moment, while both go on.

The source changes while it is asked, and the copy is always a little behind. So the table is read in
one snapshot, and the keys of all changes up to a place in the server's log that is not before it,
and which the copy has not applied yet, in the slot or in the change log, are left out. All other
keys have to be the same.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.cursors.records import Slice
from orchestration.engine.base import BatchJob
from orchestration.engine.matching import KeyRange, MatchJob
from orchestration.errors import DeclarationError
from orchestration.runtime.inputs import Inputs
from orchestration.sinks.scd import ChangeSink
from orchestration.sinks.snapshot import Snapshot, local_files, snapshot_of
from orchestration.sources.postgres.rows import lsn_text
from orchestration.streams.columns import Columns

if TYPE_CHECKING:
    from pathlib import Path

    from orchestration.engine.compare import TableFile
    from orchestration.runtime.session import Session
    from orchestration.sources.base import FilesInput, TableInput
    from orchestration.sources.postgres.source import PostgresSource
    from orchestration.streams.change_spec import ChangeSpec

__all__ = ["SourceMatch", "match_source"]

_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class SourceMatch:
    """How a copy compares with its source table.

    Attributes:
        outcome: ``identical``, ``different``, or ``not_comparable``.
        reason: One sentence.
        place: Where in the server's log the source was read, or a little later.
        version: Version of the copy.
        source_rows, copy_rows: Rows compared, of either side.
        moving_keys: Keys left out: changed, and not yet applied to the copy.
        only_source, only_copy, different: Keys that one side lacks, and keys whose rows differ.
        ranges: Ranges of keys that were compared by count and hash.
        differing: Those that differ.
        samples: Some of the rows that differ, ``side`` in front.
    """

    outcome: Literal["identical", "different", "not_comparable"]
    reason: str
    place: str = ""
    version: int | None = None
    source_rows: int = 0
    copy_rows: int = 0
    moving_keys: int = 0
    only_source: int = 0
    only_copy: int = 0
    different: int = 0
    ranges: int = 0
    differing: tuple[KeyRange, ...] = ()
    samples: pa.Table | None = None

    @property
    def passed(self) -> bool:
        """Whether the copy is what its source is."""
        return self.outcome == "identical"

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON, samples as rows."""
        value = {name: getattr(self, name) for name in self.__slots__}
        value["differing"] = [
            {name: getattr(item, name) for name in item.__slots__} for item in self.differing
        ]
        value["samples"] = [] if self.samples is None else self.samples.to_pylist()
        return value


def match_source(session: Session, source: PostgresSource, table: str) -> SourceMatch:
    """Compare a copy, made by ``scd1_sink`` over :func:`changes`, with its source table.

    Args:
        session: Of the copy's query.
        source: Where the table is; what the change log reads.
        table: ``schema.table``.

    Raises:
        DeclarationError: The query makes no such copy.
        SourceError: The server does not answer, or cannot be followed.
    """
    spec = _spec(session)
    generation = session.store.queries.get(session.query.name)
    if generation is None or not session.bind(generation.input_schema):
        return SourceMatch("not_comparable", "the copy has never run")
    session.attach(generation)
    handle = session.sink_table.open()
    held = None if handle is None else handle.transaction_version(generation.app_id)
    # Batches that change nothing leave no commit: all of them are looked through again then.
    held = -1 if held is None else held
    copy = Snapshot(0, ()) if handle is None else snapshot_of(handle)
    stage = session.settings.spool_dir / f"match-{session.query.name}-{uuid.uuid4().hex[:12]}"
    try:
        # In this order: a change that is in neither of the last two by then is in the copy.
        place, rows = source.table_now(table, session.settings)
        there = _computed(session, rows, stage / "source")
        moving = _computed(session, source.pending(place, session.settings), stage / "slot")
        for number, given in enumerate(_unapplied(session, held)):
            moving += _computed(session, given, stage / f"log{number}")
        with local_files(session.sink_table, copy, session.settings.spool_dir) as files:
            found = session.engine.match(
                MatchJob(
                    source=there,
                    copy=files,
                    moving=moving,
                    columns=pa.schema([session.output_schema.field(n) for n in spec.columns]),
                    keys=spec.keys,
                    deleted=spec.soft_delete,
                    samples=_SAMPLES,
                )
            )
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    if found.unknown_moves:
        return SourceMatch(
            "not_comparable", "a truncate of the table is on its way", lsn_text(place), copy.version
        )
    same = not found.differing
    left_out = f", {found.moving_keys:,} keys on their way left out" if found.moving_keys else ""
    return SourceMatch(
        outcome="identical" if same else "different",
        reason=(
            f"{found.copy_rows:,} rows, the same as {table} at {lsn_text(place)}{left_out}"
            if same
            else f"{found.only_source:,} keys only in {table}, {found.only_copy:,} only in the "
            f"copy, {found.different:,} with other values, in {len(found.differing)} of "
            f"{found.ranges} ranges of keys{left_out}"
        ),
        place=lsn_text(place),
        version=copy.version,
        source_rows=found.source_rows,
        copy_rows=found.copy_rows,
        moving_keys=found.moving_keys,
        only_source=found.only_source,
        only_copy=found.only_copy,
        different=found.different,
        ranges=found.ranges,
        differing=found.differing,
        samples=found.samples,
    )


def _spec(session: Session) -> ChangeSpec:
    sink, name = session.query.sink, session.query.name
    if not isinstance(sink, ChangeSink) or sink.changes.scd_type != 1:
        raise DeclarationError(
            f"query {name!r} does not keep a table as its source is now",
            remedy="matches_source is for a scd1_sink(...) over changes(...)",
        )
    if len(session.sources) != 1:
        raise DeclarationError(
            f"query {name!r} reads {len(session.sources)} sources, so no table is its source",
            remedy="matches_source is for a scd1_sink(...) over changes(...)",
        )
    stream = session.query.stream
    columns = session.engine.describe(_only_schema(session), stream.operators)
    return sink.changes.resolved(Columns.from_schema(columns))


def _only_schema(session: Session) -> pa.Schema:
    (source,) = session.sources.values()
    if source.schema is None:
        raise DeclarationError(
            f"query {session.query.name!r} reads a table whose columns are not known yet",
            remedy="matches_source is for a scd1_sink(...) over changes(...)",
        )
    return source.schema


def _unapplied(session: Session, held: int) -> list[FilesInput | TableInput]:
    """What the change log has beyond the copy: batches that are not in it, and files after them."""
    source, generation = session.source, session.generation
    found: list[Slice] = []
    last = session.store.batches.last(generation, with_files=False)
    for batch_id in range(held + 1, (last.plan.batch_id if last else held) + 1):
        record = session.store.batches.get(generation, batch_id)
        found += record.plan.slices if record is not None else ()
    inputs = Inputs.of(session, generation)
    waiting = inputs.poll().merged
    if not waiting.empty:
        found.append(Slice(source.name, waiting.start, waiting.end, waiting.files, waiting.bytes))
    return [
        source.open(part, schema=session.data_schema, settings=session.settings)
        for part in found
        if part.start != part.end
    ]


def _computed(session: Session, given: FilesInput | TableInput, directory: Path) -> list[TableFile]:
    """Rows of the log as the query makes them, before they are applied."""
    operators = session.stream.operators
    schema = session.engine.describe(_only_schema(session), operators)
    quarantine = directory / "quarantine"
    for place in (directory, quarantine):
        place.mkdir(parents=True, exist_ok=True)
    output = session.engine.run(
        BatchJob(
            input=given,
            operators=operators,
            output_schema=schema,
            sink_dir=directory,
            quarantine_dir=quarantine,
            file_prefix="rows",
            batch_id=-1,
            timestamp=session.clock.now(),
            on_bad_record="fail",
        )
    )
    return [(str(directory / item.path), {}) for item in output.sink]
