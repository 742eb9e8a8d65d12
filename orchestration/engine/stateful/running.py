"""A stateful batch from its job to its files, or to nothing."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from orchestration.engine.failures import Caught, translated
from orchestration.engine.stateful.execution import Execution
from orchestration.engine.stateful.tables import Tables
from orchestration.engine.writer import discard

if TYPE_CHECKING:
    import duckdb

    from orchestration.engine.stateful.describe import Describer
    from orchestration.engine.stateful.job import StatefulJob, StatefulOutput

__all__ = ["run_batch"]


def run_batch(
    job: StatefulJob,
    connection: duckdb.DuckDBPyConnection,
    describer: Describer,
    threads: int,
) -> StatefulOutput:
    """Carry a batch out; on any error no file of it is left behind.

    Args:
        job: The batch.
        connection: May read and write the job's directories, and nothing else.
        describer: Knows columns and types.
        threads: Chunks of a file worked on at once.
    """
    caught = Caught()
    operators = [operator for chain in job.plan.walk() for operator in chain.operators]
    tables = Tables(connection)
    with ExitStack() as stack:
        execution = Execution(job, tables, describer, threads, caught, stack)
        try:
            with translated(operators, caught):
                return execution.run()
        except BaseException:
            execution.inputs.discard()
            discard(job.sink_dir, job.file_prefix, job.partition_by)
            discard(job.late_dir, job.file_prefix, ())
            discard(job.files.directory, job.file_prefix, ())
            raise
        finally:
            tables.close()
