"""The embedded engine: reads with Arrow and DuckDB, computes and writes with DuckDB."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.engine.allocator import keep_freed_memory
from orchestration.engine.base import BatchJob, BatchOutput, FilesInput, TableInput
from orchestration.engine.compare import Comparison, TableFile, compare_files, read_rows
from orchestration.engine.connection import Limits
from orchestration.engine.describing import describe
from orchestration.engine.failures import Caught, translated
from orchestration.engine.feed import Counts, Feed
from orchestration.engine.infer import infer
from orchestration.engine.mapping import mapped
from orchestration.engine.quarantine import Quarantine
from orchestration.engine.reading import reader_of, source_of
from orchestration.engine.rewrite import Rewrite, Rewritten, rewrite_files
from orchestration.engine.statements import INPUT, applied, plain_source
from orchestration.engine.writer import discard, write
from orchestration.errors import BadRecords, SchemaError
from orchestration.streams.operators import MapBatches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from orchestration.cursors.records import DataFile
    from orchestration.engine.matching import Matched, MatchJob
    from orchestration.engine.newest import Newest
    from orchestration.engine.packing import Packing
    from orchestration.engine.stateful.describe import Describer
    from orchestration.engine.stateful.job import StatefulJob, StatefulOutput
    from orchestration.streams.operators import StatelessOperator
    from orchestration.streams.plan import Chain

__all__ = ["DuckDBEngine"]

#: Rows of the tables that ``map_batches`` functions are given.
MAP_ROWS = 65_536


class DuckDBEngine:
    """Computes batches in this process.

    Args:
        memory_limit: Of DuckDB, such as ``"1GiB"``; beyond it work spills to disk. ``None`` is
            DuckDB's own default, four fifths of the machine. Reading takes a few dozen MiB more.
        threads: ``None`` for one per core.
        spill_dir: Directory for what does not fit.
    """

    def __init__(
        self,
        memory_limit: str | None = None,
        threads: int | None = None,
        spill_dir: Path | None = None,
    ) -> None:
        import os
        import tempfile

        self._limits = Limits(
            memory_limit, threads, spill_dir or Path(tempfile.gettempdir()) / "headwater-spill"
        )
        self._threads = min(threads or os.cpu_count() or 1, 8)
        keep_freed_memory()
        self._described: dict[Any, pa.Schema] = {}
        self._kept: tuple[Any, duckdb.DuckDBPyConnection] | None = None
        self._describing: Describer | None = None

    def describe(self, schema: pa.Schema, operators: tuple[StatelessOperator, ...]) -> pa.Schema:
        """Columns and types that ``operators`` make of rows of ``schema``.

        Raises:
            ExpressionError: An expression does not bind; names the expression and the reason.
            SchemaError: A result has a type that no Delta table keeps.
        """
        key = (schema, operators)
        if key not in self._described:  # asked for each batch, and a connection costs as much
            self._described[key] = describe(self._limits, schema, operators)
        return self._described[key]

    def infer(self, files: FilesInput, *, max_files: int, max_bytes: int) -> pa.Schema:
        """A schema that reads every record of a bounded sample without loss.

        Raises:
            SchemaError: The sample holds no record.
        """
        return infer(files, max_files=max_files, max_bytes=max_bytes)

    def run(self, job: BatchJob) -> BatchOutput:
        """Read, compute and write one batch; on any error no file of it is left behind.

        Raises:
            BadRecords: Bad records, and the query says that they fail the batch.
            ExpressionError: An expression fails on a row.
            SchemaError: A function of ``map_batches`` returns other columns than it declared.
        """
        quarantine = Quarantine(
            job.quarantine_dir,
            job.file_prefix,
            job.batch_id,
            job.timestamp,
            fail=job.on_bad_record == "fail",
        )
        try:
            with ExitStack() as stack:
                return self._run(job, quarantine, stack)
        except BaseException:
            quarantine.discard()
            discard(job.sink_dir, job.file_prefix, job.partition_by)
            raise

    def describe_plan(self, plan: Chain) -> pa.Schema:
        """Columns and types of a logical plan's result.

        Raises:
            ExpressionError: An expression does not bind; names the expression and the reason.
            SchemaError: A result has a type that no Delta table keeps.
        """
        return self._describer.chain(plan)

    def run_stateful(self, job: StatefulJob) -> StatefulOutput:
        """Compute and write one batch of a plan that needs more than its own rows.

        Its state files lie in ``job.files.directory`` and are not persisted yet. On any error no
        file of it is left behind.

        Raises:
            BadRecords: Bad records, and the query says that they fail the batch.
            ExpressionError: An expression fails on a row.
            SchemaError: A function of ``map_batches`` returns other columns than it declared.
        """
        from orchestration.engine.stateful.running import run_batch

        directories = [job.sink_dir, job.late_dir, job.files.directory]
        if job.target is not None:
            directories += job.target.directories
        with self._writing(self._limits, directories) as connection:
            return run_batch(job, connection, self._describer, self._threads)

    def compare(
        self,
        left: Sequence[TableFile],
        right: Sequence[TableFile],
        columns: pa.Schema,
        *,
        samples: int,
        close: Collection[str] = (),
    ) -> Comparison:
        """Hold two tables' files against each other as multisets of rows."""
        with self._unguarded() as connection:
            return compare_files(connection, left, right, columns, samples=samples, close=close)

    def read(
        self, files: Sequence[TableFile], columns: pa.Schema, *, limit: int | None = None
    ) -> pa.Table:
        """Rows of a table's files, for a preview."""
        with self._unguarded() as connection:
            return read_rows(connection, files, columns, limit=limit)

    def rewrite(self, job: Rewrite) -> Rewritten:
        """Write files of a table anew without the rows that a batch replaces.

        On any error nothing that it wrote is left behind.

        Raises:
            SinkError: The batch holds a key twice.
        """
        with self._unguarded() as connection:
            return rewrite_files(connection, job)

    def pack(self, job: Packing) -> tuple[DataFile, ...]:
        """Write small files of a table as few, row for row.

        On any error nothing that it wrote is left behind.
        """
        from orchestration.engine.packing import pack_files

        with self._unguarded() as connection:
            return pack_files(connection, job)

    def newest(self, job: Newest) -> tuple[DataFile, ...]:
        """Write of the rows that batches gave one after another the last of each key."""
        from orchestration.engine.newest import newest_rows

        with self._unguarded() as connection:
            return newest_rows(connection, job)

    def match(self, job: MatchJob) -> Matched:
        """Hold a copy of a table against its source, key range by key range."""
        from orchestration.engine.matching import match_files

        with self._unguarded() as connection:
            return match_files(connection, job)

    def close(self) -> None:
        """Let go of memory and spilled data."""
        self._described.clear()
        if self._describing is not None:
            self._describing.close()
            self._describing = None
        self._forget()

    @property
    def _describer(self) -> Describer:
        if self._describing is None:
            from orchestration.engine.stateful.describe import Describer

            self._describing = Describer(self._limits)
        return self._describing

    @contextmanager
    def _unguarded(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._limits.connect_unguarded()
        try:
            yield connection
        finally:
            connection.close()

    # -- a batch --------------------------------------------------------------------------------

    def _run(self, job: BatchJob, quarantine: Quarantine, stack: ExitStack) -> BatchOutput:
        caught = Caught()
        if isinstance(job.input, TableInput):
            schema = job.input.table.schema
            stream = job.input.table.to_reader()
            source = plain_source(schema.names)
            counts = Counts(good=job.input.table.num_rows)
        else:
            feed = Feed(job.input, reader_of(job.input), quarantine, self._threads, caught)
            schema, source = source_of(job.input, barrier=bool(job.operators))
            stream = stack.enter_context(feed.opened())
            counts = feed.counts
        self._check_output(job, schema)
        with translated(job.operators, caught):
            sink = self._compute(job, stream, source, stack, caught)
        if job.max_bad_fraction is not None and counts.bad:
            total = counts.good + counts.bad
            if counts.bad > job.max_bad_fraction * total:
                raise BadRecords(
                    f"{counts.bad:,} of {total:,} records are bad, more than "
                    f"max_bad_fraction={job.max_bad_fraction} allows",
                    remedy="look at the newest files; raise max_bad_fraction to take them",
                )
        return BatchOutput(
            sink=sink,
            quarantine=quarantine.finish(),
            rows_read=counts.good + counts.bad,
            rows_written=sum(file.rows for file in sink),
            rows_quarantined=counts.bad,
            files_read=counts.files,
            bytes_read=counts.bytes,
        )

    def _compute(
        self,
        job: BatchJob,
        stream: pa.RecordBatchReader,
        source: str,
        stack: ExitStack,
        caught: Caught,
    ) -> Any:
        """Chain the operators; each ``map_batches`` ends one statement and begins the next."""
        stages = sum(isinstance(operator, MapBatches) for operator in job.operators) + 1
        limits = self._limits.divided(stages)
        sql = source
        for operator in job.operators:
            if isinstance(operator, MapBatches):
                before = limits.connect()
                stack.callback(before.close)
                before.register(INPUT, stream)
                stream = mapped(before.sql(sql).to_arrow_reader(MAP_ROWS), operator, caught)
                sql = plain_source(operator.schema.names)
            else:
                sql = applied(sql, [operator], job.timestamp)
        with self._writing(limits, [job.sink_dir]) as connection:
            connection.register(INPUT, stream)
            written = write(
                connection,
                sql,
                job.output_schema,
                job.sink_dir,
                job.file_prefix,
                partition_by=job.partition_by,
                target_file_size=job.target_file_size,
            )
            connection.unregister(INPUT)
            return written

    @contextmanager
    def _writing(
        self, limits: Limits, directories: Sequence[Path]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write to the directories; the last one, where it fits.

        Opening one takes tens of milliseconds, as long as a small batch.
        """
        key = (limits, tuple(directories))
        if self._kept is not None and self._kept[0] != key:
            self._forget()
        if self._kept is None:
            self._kept = (key, limits.connect(directories))
        connection = self._kept[1]
        try:
            yield connection
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def _check_output(self, job: BatchJob, schema: pa.Schema) -> None:
        """Refuse to cast a result to a table of other types."""
        made = self.describe(schema, job.operators)
        if not made.equals(job.output_schema):
            raise SchemaError(
                f"the stream gives {_listed(made)}, the table has {_listed(job.output_schema)}",
                remedy="declare the table's columns in the stream's last select",
            )


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{item.name} {item.type}" for item in schema)
