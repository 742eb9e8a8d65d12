"""The same verbs over static tables, at once: what a stream's full reprocess gives too."""

from __future__ import annotations

import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from orchestration.clock import SystemClock
from orchestration.engine.duckdb import DuckDBEngine
from orchestration.engine.stateful.job import LateRows, StatefulJob
from orchestration.errors import DeclarationError
from orchestration.objects import Place
from orchestration.state.files import StateFiles

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.config import Settings
    from orchestration.engine.compare import TableFile
    from orchestration.streams.builder import Stream

__all__ = ["collect"]

_END_OF_TIME_MS = 2**53  # after every timestamp: every window is closed


def collect(stream: Stream, *, settings: Settings | None = None) -> pa.Table:
    """The rows of a stream over static tables alone, all windows closed, nothing late.

    Example::

        views = static("tables/clicks").group_by(window("ts", "5 minutes")).agg(n="count(*)")
        print(collect(views))

    Args:
        stream: Made of ``static(...)``.
        settings: Memory limit and directories; what the environment says by default.

    Returns:
        The result, in memory, in no particular order: sort the table. ``limit`` takes the first
        of ``order_by`` all the same.

    Raises:
        DeclarationError: It reads a source that keeps growing.
        SourceUnavailable: A table is not there.
        ExpressionError: An expression does not fit the columns, or fails on a row.
    """
    from orchestration.config import Settings
    from orchestration.sources.static import infer_static_schema, open_static, resolve

    if stream.sources:
        names = ", ".join(f'"{source.name}"' for source in stream.sources)
        raise DeclarationError(
            f"collect(...): {names} keeps growing, so there is no result at once",
            remedy="run it as a query: StreamingQuery(...).run(); or read a static(...) table",
        )
    settings = settings or Settings.load()
    unknown = {
        table.name: infer_static_schema(table, settings)
        for table in stream.statics
        if table.schema is None
    }
    plan = (stream.bind(unknown) if unknown else stream).plan()
    statics = {
        table.name: open_static(table, resolve(table, settings), settings)
        for table in stream.statics
    }
    engine = DuckDBEngine(settings.memory_limit, settings.threads, settings.spill_dir)
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix="collect-", dir=settings.spool_dir) as directory:
            root = Path(directory)
            schema = engine.describe_plan(plan)
            output = engine.run_stateful(
                StatefulJob(
                    plan=plan,
                    inputs={},
                    statics=statics,
                    output_mode="complete",
                    output_schema=schema,
                    watermark_ms=_END_OF_TIME_MS,
                    late_ms=0,
                    state=None,
                    files=StateFiles(Place.open(str(root / "state")), "none", root / "cache"),
                    sink_dir=root / "result",
                    quarantine_dir=root / "quarantine",
                    late_dir=root / "late",
                    file_prefix=f"collect-{uuid.uuid4().hex}",
                    batch_id=0,
                    timestamp=SystemClock().now(),
                    full=LateRows(),
                )
            )
            files: list[TableFile] = [
                (str(root / "result" / item.path), {}) for item in output.sink
            ]
            return engine.read(files, schema)
    finally:
        engine.close()
