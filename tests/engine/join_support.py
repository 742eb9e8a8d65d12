"""Plans of joins, and batches over them with static tables."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from orchestration.engine.duckdb import DuckDBEngine
from orchestration.streams.operators import WithWatermark
from orchestration.streams.plan import Chain, JoinRoot, JoinSide, SourceRoot, StaticRoot
from tests.engine.stateful_support import StatefulQuery, schema

SECOND = 1_000_000
LEFT = schema(k="BIGINT", lt="TIMESTAMPTZ")
RIGHT = schema(k2="BIGINT", rt="TIMESTAMPTZ")


class Rows:
    """A static table in memory."""

    def __init__(self, table: pa.Table):
        self.table = table
        self.opened = 0

    def reader(self) -> pa.RecordBatchReader:
        self.opened += 1
        return self.table.to_reader(max_chunksize=2)


class JoinQuery(StatefulQuery):
    """Also gives the engine static tables, and a full reprocess where one is asked for."""

    def __init__(self, directory: Path, plan, mode="append", *, statics=None, full=None):
        super().__init__(
            directory, plan, mode, engine=DuckDBEngine("512MiB", 2, directory / "spill")
        )
        run = self.engine.run_stateful
        changes = {"statics": statics or {}, "full": full}
        self.engine.run_stateful = lambda job: run(replace(job, **changes))

    @property
    def join(self) -> dict:
        """What the last batch says of its join."""
        (found,) = [item for item in self.output.operators if item["name"] == "join"]
        return found

    @property
    def counts(self) -> tuple[int, int, int]:
        """State rows, rows removed, rows late."""
        found = self.join
        return found["rows_total"], found["rows_removed"], found["rows_dropped_by_watermark"]


def watermarked(name: str, columns: pa.Schema, time: str, delay: int = 10) -> Chain:
    """A source with event time."""
    return Chain(SourceRoot(name, columns), (WithWatermark(f"wm_{name}", time, delay * SECOND),))


def output(left: pa.Schema, right: pa.Schema) -> tuple[tuple[str, str], ...]:
    """All columns of both sides."""
    return (
        *((name, f'l."{name}"') for name in left.names),
        *((name, f'r."{name}"') for name in right.names),
    )


def interval_join(how: str = "inner", *, columns=None, condition: str = "true") -> Chain:
    """``k = k2 AND lt <= rt <= lt + 5 s``: J2's."""
    span = 5 * SECOND
    left = JoinSide(
        watermarked("left", LEFT, "lt"),
        ('"k"',),
        "lt",
        expiry_expression=f"epoch_us(lt) + {span} + 1",
    )
    right = JoinSide(
        watermarked("right", RIGHT, "rt"), ('"k2"',), "rt", expiry_expression="epoch_us(rt) + 1"
    )
    default = output(LEFT, RIGHT)[: 2 if how in {"semi", "anti"} else 4]
    return Chain(
        JoinRoot(
            "join_1",
            left,
            right,
            how,
            f"r.rt BETWEEN l.lt AND l.lt + INTERVAL 5 SECONDS AND ({condition})",
            columns or default,
            span,
        )
    )


def window_join(how: str) -> Chain:
    """Equal ``k`` and equal windows of 10 s: J3's, the windows being those of the rows' times."""
    start = "time_bucket(INTERVAL 10 SECONDS, {0}, TIMESTAMPTZ '1970-01-01 00:00:00Z')"
    sides = []
    for name, columns, time in (("left", LEFT, "lt"), ("right", RIGHT, "rt")):
        begins = start.format(time)
        sides.append(
            JoinSide(
                watermarked(name, columns, time),
                (f'"{columns.names[0]}"', begins),
                time,
                late_expression=f"{begins} + INTERVAL 10 SECONDS",
                expiry_expression=f"epoch_us({begins}) + {10 * SECOND}",
            )
        )
    chosen = output(LEFT, RIGHT) if how not in {"semi", "anti"} else output(LEFT, RIGHT)[:2]
    return Chain(JoinRoot("join_1", *sides, how, None, chosen))


def plain_join(how: str = "inner", condition: str | None = None) -> Chain:
    """``k = k2`` without event time: J1's."""
    left = schema(k="BIGINT", a="BIGINT")
    right = schema(k2="BIGINT", b="BIGINT")
    sides = (
        JoinSide(Chain(SourceRoot("left", left)), ('"k"',)),
        JoinSide(Chain(SourceRoot("right", right)), ('"k2"',)),
    )
    return Chain(
        JoinRoot("join_1", *sides, how, condition, (*output(left, right)[:2], ("b", "r.b")))
    )


def static_join(how: str, static: pa.Schema, condition: str | None = None) -> Chain:
    """A stream with key ``k`` and a static table with key ``k2``."""
    rows = schema(k="BIGINT", a="VARCHAR")
    sides = (
        JoinSide(Chain(SourceRoot("left", rows)), ('"k"',)),
        JoinSide(Chain(StaticRoot("pages", static)), ('"k2"',)),
    )
    chosen = output(rows, static) if how not in {"semi", "anti"} else output(rows, static)[:2]
    return Chain(JoinRoot("join_1", *sides, how, condition, chosen))
