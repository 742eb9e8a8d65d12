"""Runs cases, and any query, in a :class:`StreamTest`."""

from __future__ import annotations

from types import SimpleNamespace

from orchestration import once, session_window, static, stream, window, window_time
from orchestration.testing import MemoryStream, StreamTest
from tests.event_time.case import additions_of
from tests.event_time.observed import Observed, plain

__all__ = ["dialect", "kit", "observe", "run_steps"]


def dialect(folder):
    """Our functions, and ``table(schema, rows)``: a static table kept below ``folder``."""

    def table(schema, rows):
        import pyarrow as pa
        import pyarrow.parquet as pq

        from orchestration.streams.schema import parse_schema

        path = folder / "table.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = list(zip(*rows, strict=True))
        pq.write_table(
            pa.table(
                [
                    pa.array(values, field.type)
                    for values, field in zip(columns, parse_schema(schema), strict=True)
                ],
                schema=parse_schema(schema),
            ),
            path,
        )
        return static(str(path), format="parquet", schema=schema)

    return SimpleNamespace(
        window=window, session_window=session_window, window_time=window_time, table=table
    )


def kit(query, sources, folder, **options):
    """A test of a query, and its memory streams by name."""
    made = {name: MemoryStream(schema, name=name) for name, schema in sources.items()}
    streams = {name: stream(source) for name, source in made.items()}
    return StreamTest(query(dialect(folder), **streams), **options), made


def observe(batch):
    """A batch of the kit in the words that all engines share."""
    return Observed(
        rows=tuple({name: plain(value) for name, value in row.items()} for row in batch.rows),
        watermark=batch.watermark,
        late=batch.late_rows,
        state=batch.state_rows,
    )


def run_steps(case, test, sources):
    """Each step of a case, and the batches it caused."""
    for step in case.steps:
        for action in step.before:
            verb, _, number = action.partition(" ")
            test.lose_commit(int(number)) if verb == "lose" else test.restart()
        for name, rows in additions_of(case, step).items():
            sources[name].add(rows)
        batches = test.drain(trigger=once() if step.once else None)
        yield step, [observe(batch) for batch in batches]
