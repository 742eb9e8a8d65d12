"""A batch's input as relations: each source's rows, read once, in the order they arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from orchestration.engine.feed import Counts, Feed
from orchestration.engine.quarantine import Quarantine
from orchestration.engine.reading import reader_of, source_of
from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.engine.stateful.relation import Relation
from orchestration.engine.statements import plain_source
from orchestration.errors import BadRecords
from orchestration.sources.inputs import TableInput
from orchestration.streams.operators import Where
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from orchestration.cursors.records import DataFile
    from orchestration.engine.failures import Caught
    from orchestration.engine.quarantine import BadRecord
    from orchestration.engine.spared import Spared
    from orchestration.engine.stateful.job import StatefulJob
    from orchestration.engine.stateful.tables import Tables
    from orchestration.streams.plan import Chain

__all__ = ["Inputs", "nothing"]

_PER_SOURCE = 2**48  # rows that one source can give a batch before its numbers meet the next's


class Inputs:
    """Opens the sources of one batch.

    Args:
        job: The batch.
        tables: Its scratch tables.
        threads: Chunks of a file worked on at once.
        caught: Keeps what goes wrong in the reading threads.
        stack: Closed when the batch is over.
        numbered: Whether rows get their place in the order of arrival.
    """

    def __init__(
        self,
        job: StatefulJob,
        tables: Tables,
        threads: int,
        caught: Caught,
        stack: ExitStack,
        *,
        numbered: bool,
    ) -> None:
        self._job = job
        self._tables = tables
        self._threads = threads
        self._caught = caught
        self._stack = stack
        self._numbered = numbered
        self._places = {name: number for number, name in enumerate(job.inputs)}
        self._quarantines: dict[str, Quarantine] = {}
        self.counts: dict[str, Counts] = {}
        self.ahead = 0  # rows set aside because they were too far ahead in time

    def open(
        self, name: str, wanted: pa.Schema, chain: Chain, spared: Spared | None = None
    ) -> Relation:
        """A source's rows.

        Args:
            name: The source.
            wanted: Those of its columns that are needed.
            chain: What is done to them.
            spared: Those that only few rows need.
        """
        given = self._job.inputs.get(name)
        if given is None:
            return nothing(wanted, numbered=self._numbered)
        hidden = (SEQUENCE,) if self._numbered else ()
        source = self._tables.reserve()
        if isinstance(given.data, TableInput):
            table = given.data.table
            self.counts[name] = Counts(good=table.num_rows)
            sql = plain_source([*wanted.names, *hidden], source)
            stream = table.select(wanted.names).to_reader()
        else:
            feed = Feed(
                given.data,
                reader_of(given.data, spared),
                self.quarantine_of(name),
                self._threads,
                self._caught,
            )
            self.counts[name] = feed.counts
            _, sql = source_of(
                given.data,
                barrier=any(isinstance(operator, Where) for operator in chain.operators),
                only=wanted.names,
                besides=hidden,
                relation=source,
            )
            stream = self._stack.enter_context(feed.opened())
        if hidden:
            stream = _numbered(stream, self._places[name] * _PER_SOURCE, self._caught)
        self._tables.register(stream, source)
        return Relation(sql, wanted, hidden, streamed=True)

    def check(self) -> None:
        """Hold the number of bad records against what each source allows.

        Raises:
            BadRecords: There are too many.
        """
        for name, given in self._job.inputs.items():
            counts = self.counts.get(name)
            if counts is None or given.max_bad_fraction is None or not counts.bad:
                continue
            total = counts.good + counts.bad
            if counts.bad > given.max_bad_fraction * total:
                raise BadRecords(
                    f"{counts.bad:,} of {total:,} records of {name!r} are bad, more than "
                    f"max_bad_fraction={given.max_bad_fraction} allows",
                    remedy="look at the newest files; raise max_bad_fraction to take them",
                )

    def set_aside(self) -> tuple[DataFile, ...]:
        """Write what is left of the bad records; all their files."""
        return tuple(
            file for quarantine in self._quarantines.values() for file in quarantine.finish()
        )

    def set_aside_row(self, place: str, record: BadRecord) -> None:
        """Set aside a row that was read well and cannot be used.

        Args:
            place: What to call where it was found out.
            record: The row as text, and why.
        """
        if place not in self._quarantines:
            self._quarantines[place] = self._new(f"-{place}", fail=False)
        self._quarantines[place].add(place, record)
        self.ahead += 1

    def discard(self) -> None:
        """Delete what was set aside."""
        for quarantine in self._quarantines.values():
            quarantine.discard()

    def quarantine_of(self, name: str) -> Quarantine:
        """Where a source's bad records go."""
        if name not in self._quarantines:
            # Several sources write to one table, under names of their own.
            several = f"-{self._places[name]}" if len(self._job.inputs) > 1 else ""
            fail = self._job.inputs[name].on_bad_record == "fail"
            self._quarantines[name] = self._new(several, fail=fail)
        return self._quarantines[name]

    def _new(self, suffix: str, *, fail: bool) -> Quarantine:
        return Quarantine(
            self._job.quarantine_dir,
            f"{self._job.file_prefix}{suffix}",
            self._job.batch_id,
            self._job.timestamp,
            fail=fail,
        )


def nothing(schema: pa.Schema, *, numbered: bool) -> Relation:
    """No rows of a schema."""
    columns = [
        f"CAST(NULL AS {duckdb_type(item.type)}) AS {quote_identifier(item.name)}"
        for item in schema
    ]
    hidden = (SEQUENCE,) if numbered else ()
    columns += [f"CAST(NULL AS BIGINT) AS {name}" for name in hidden]
    return Relation(f"SELECT {', '.join(columns)} WHERE false", schema, hidden)


def _numbered(stream: pa.RecordBatchReader, first: int, caught: Caught) -> pa.RecordBatchReader:
    """The stream with the place of every row as one more column."""
    field: pa.Field[Any] = pa.field(SEQUENCE, pa.int64())
    schema = pa.schema([*stream.schema, field])

    def batches() -> Iterator[pa.RecordBatch]:
        place = first
        for batch in stream:
            numbers = np.arange(place, place + batch.num_rows, dtype=np.int64)
            place += batch.num_rows
            yield pa.RecordBatch.from_arrays([*batch.columns, pa.array(numbers)], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, caught.watch(batches()))
