"""Apache Spark behind our own verbs, so that one query is written once and runs on both.

A :class:`SparkStream` has the verbs of :class:`orchestration.Stream` that the tests use, and
:data:`DIALECT` the functions. What both sides add is rows of all sources at once: one addition,
one batch. In Spark that takes one memory stream whose rows say which source they belong to, since
two of them cannot be added to at the same moment from outside.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import TimestampType

from tests.event_time.observed import Observed, seconds, wire

__all__ = ["DIALECT", "SparkStream", "play", "spark_session"]

_numbers = itertools.count()

_TYPES = {
    "TIMESTAMPTZ": "BIGINT",  # microseconds on the way in
    "BIGINT": "BIGINT",
    "INTEGER": "INT",
    "DOUBLE": "DOUBLE",
    "VARCHAR": "STRING",
}


@contextmanager
def spark_session():
    """One quiet session on one core, reachable from this machine only."""
    place = tempfile.mkdtemp(prefix="headwater-spark-")
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("headwater-judge")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        # Short queries: C1 only. And Hadoop forks a chmod for every file it makes.
        .config(
            "spark.driver.extraJavaOptions",
            "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djdk.lang.Process.launchMechanism=VFORK",
        )
        .config("spark.hadoop.fs.file.impl", "org.apache.hadoop.fs.RawLocalFileSystem")
        .config(
            "spark.sql.streaming.checkpointFileManagerClass",
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager",
        )
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.local.dir", place)
        .config("spark.sql.warehouse.dir", f"{place}/warehouse")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.adaptive.enabled", "false")
        # Hundreds of small plans: compiling each would take longer than running it.
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.sql.streaming.numRecentProgressUpdates", "1000")
        .config("spark.sql.streaming.stateStore.maintenanceInterval", "1h")
        .getOrCreate()
    )
    try:
        yield spark
    finally:
        spark.stop()
        shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True)
class _Key:
    """A grouping key of Spark's; a window becomes two columns of ours."""

    column: Any
    is_window: bool = True


def _window(column, length, slide=None, offset=None):
    source = F.col("__window") if column is _WINDOW_TIME else F.expr(column)
    if slide is None and offset is not None:
        slide = length
    return _Key(F.window(source, length, slide, offset).alias("__window"))


def _session_window(column, gap):
    if not gap[0].isdigit():
        # An expression over the row. Spark's INTERVAL literals are of a type it does not take.
        gap = F.expr(re.sub(r"(-?)INTERVAL (\d+) SECONDS?", r"'\1\2 seconds'", gap))
    return _Key(F.session_window(F.expr(column), gap).alias("__window"))


_WINDOW_TIME = object()


def _table(schema, rows):
    fields = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in schema.items())
    return SparkStream(SparkSession.active().createDataFrame(rows, fields))


#: The functions of our API, for Spark.
DIALECT = SimpleNamespace(
    window=_window, session_window=_session_window, window_time=lambda: _WINDOW_TIME, table=_table
)


class SparkStream:
    """Our verbs on a Spark DataFrame."""

    def __init__(self, frame: DataFrame) -> None:
        self.frame = frame

    def with_watermark(self, column, delay):
        return SparkStream(self.frame.withWatermark(column, delay))

    def where(self, condition):
        return SparkStream(self.frame.where(condition))

    def select(self, *columns, **named):
        return SparkStream(
            self.frame.selectExpr(*columns, *(f"{text} AS {name}" for name, text in named.items()))
        )

    def group_by(self, *keys, **named):
        columns, names = [], []
        for key in keys:
            if isinstance(key, _Key):
                columns.append(key.column)
                names += ["window_start", "window_end"]
            else:
                columns.append(F.expr(key))
                names.append(key)
        for name, text in named.items():
            columns.append(F.expr(text).alias(name))
            names.append(name)
        windowed = any(isinstance(key, _Key) for key in keys)
        return _Grouped(self.frame, columns, names, windowed)

    def drop_duplicates(self, *keys):
        return SparkStream(self.frame.dropDuplicates(list(keys) or None))

    def drop_duplicates_within_watermark(self, *keys):
        return SparkStream(self.frame.dropDuplicatesWithinWatermark(list(keys) or None))

    def join(self, other, *, on, how="inner"):
        if isinstance(on, str) and not on.isidentifier():
            return SparkStream(self.frame.join(other.frame, F.expr(on), _HOW[how]))
        keys = [on] if isinstance(on, str) else list(on)
        windows = [key for key in keys if isinstance(key, _Key)]
        names = [key for key in keys if not isinstance(key, _Key)]
        if not windows:
            return SparkStream(self.frame.join(other.frame, names, _HOW[how]))
        # Without their times: a row of Spark's has one event time, that of the window.
        left, right = (
            side.frame.select(windows[0].column, *(c for c in side.frame.columns if c != "ts"))
            for side in (self, other)
        )
        joined = left.join(right, ["__window", *names], _HOW[how])
        return SparkStream(joined.drop("__window") if how == "semi" else _unpack(joined))

    def union(self, *others):
        frame = self.frame
        for other in others:
            frame = frame.union(other.frame)
        return SparkStream(frame)

    def limit(self, count):
        return SparkStream(self.frame.limit(count))

    def order_by(self, *terms):
        parts = [term.rsplit(" ", 1) for term in terms]
        return SparkStream(
            self.frame.orderBy(
                *(
                    F.expr(part[0]).desc() if part[-1].upper() == "DESC" else F.expr(term)
                    for part, term in zip(parts, terms, strict=True)
                )
            )
        )


_HOW = {
    "inner": "inner",
    "left": "left_outer",
    "right": "right_outer",
    "full": "full_outer",
    "semi": "left_semi",
    "anti": "left_anti",
}


@dataclass(frozen=True)
class _Grouped:
    frame: DataFrame
    columns: list[Any]
    names: list[str]
    windowed: bool

    def agg(self, **aggregates):
        made = [F.expr(text).alias(name) for name, text in aggregates.items()]
        result = (
            self.frame.groupBy(*self.columns).agg(*made) if self.columns else self.frame.agg(*made)
        )
        return SparkStream(_unpack(result) if self.windowed else result)


def _unpack(frame: DataFrame) -> DataFrame:
    """Windows as two columns; the struct stays, for windows of windows."""
    columns = []
    for name in frame.columns:
        if name == "__window":
            columns += [
                F.col("__window.start").alias("window_start"),
                F.col("__window.end").alias("window_end"),
            ]
        else:
            columns.append(F.col(f"`{name}`"))
    return frame.select(*columns, F.col("__window"))


def play(
    spark,
    query,
    sources,
    additions,
    *,
    mode="append",
    watermark_policy="min",
    no_data_batches=True,
) -> list[list[Observed]]:
    """Run a query over additions, one after another.

    Args:
        spark: The session.
        query: ``(dialect, **streams) -> stream``.
        sources: Source name to its schema.
        additions: Source name to rows, one mapping per addition.
        mode: Output mode.
        watermark_policy: ``min`` or ``max``.
        no_data_batches: Whether there are any.

    Returns:
        The batches that each addition caused.
    """
    jvm = spark._jvm
    spark.conf.set("spark.sql.streaming.multipleWatermarkPolicy", watermark_policy)
    spark.conf.set(
        "spark.sql.streaming.noDataMicroBatches.enabled", str(bool(no_data_batches)).lower()
    )
    memory = jvm.org.apache.spark.sql.execution.streaming.runtime.MemoryStream.apply(
        spark._jsparkSession, jvm.org.apache.spark.sql.Encoders.STRING()
    )
    lines = DataFrame(memory.toDF(), spark)
    result = query(DIALECT, **{name: _source(lines, name, sources[name]) for name in sources})
    frame = result.frame
    if "__window" in frame.columns:
        frame = frame.drop("__window")
    columns = [
        (
            F.unix_micros(F.col(field.name))
            if isinstance(field.dataType, TimestampType)
            else F.col(field.name)
        ).alias(field.name)
        for field in frame.schema
    ]
    times = {field.name for field in frame.schema if isinstance(field.dataType, TimestampType)}
    text = frame.select(F.to_json(F.struct(*columns), {"ignoreNullFields": "false"}).alias("row"))
    place = tempfile.mkdtemp(prefix="checkpoint-", dir=spark.conf.get("spark.local.dir"))
    writer = (
        text.writeStream.format("memory")
        .queryName(f"judged_{next(_numbers)}")
        .outputMode(mode)
        .option("checkpointLocation", place)
    )
    running = None
    try:
        seen = 0
        batches = []
        for addition in additions:
            rows = [
                json.dumps({"source": name, **wire(row, sources[name])})
                for name, rows in addition.items()
                for row in rows
            ]
            memory.addData(jvm.PythonUtils.toSeq(rows))
            # Started with its first rows there: before them it would run an empty batch.
            running = running or writer.start()
            running.processAllAvailable()
            reports = [json.loads(item.json()) for item in running._jsq.recentProgress()[seen:]]
            sink = running._jsq.streamingQuery().sink()
            batches.append([_observe(sink, report, times, mode) for report in reports])
            seen += len(reports)
        return batches
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(place, ignore_errors=True)


def _source(lines, name, schema):
    fields = ", ".join(f"{column} {_TYPES[kind]}" for column, kind in schema.items())
    rows = lines.where(F.get_json_object("value", "$.source") == name).select(
        F.from_json("value", fields).alias("r")
    )
    return SparkStream(
        rows.select(
            *(
                (
                    F.timestamp_micros(f"r.{column}")
                    if kind == "TIMESTAMPTZ"
                    else F.col(f"r.{column}")
                ).alias(column)
                for column, kind in schema.items()
            )
        )
    )


def _observe(sink, report, times, mode):
    number = report["batchId"]
    after = [] if mode == "complete" else _rows(sink, number)
    rows = _rows(sink, number - 1)
    rows = rows[: len(rows) - len(after)]
    stamp = report.get("eventTime", {}).get("watermark")
    return Observed(
        rows=tuple(
            {
                key: seconds(value) if key in times and value is not None else value
                for key, value in row.items()
            }
            for row in rows
        ),
        watermark=datetime.fromisoformat(stamp).timestamp() if stamp else 0.0,
        late=sum(item["numRowsDroppedByWatermark"] for item in report["stateOperators"]),
        state=sum(item["numRowsTotal"] for item in report["stateOperators"]),
    )


def _rows(sink, since):
    # A row shows as [its one column], which is JSON: so all of them are one call.
    return [item[0] for item in json.loads(sink.dataSinceBatch(since).mkString("[", ",", "]"))]
