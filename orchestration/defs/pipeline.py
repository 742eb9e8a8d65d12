"""``pipeline(...)``: a query with everything Dagster needs.

Declaring one imports no Dagster: ``headwater run`` never pays for it. Dagster's objects are made
when they are first asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from orchestration.defs.options import AssetOptions, parse_interval, parse_prefix, parse_verify
from orchestration.errors import DeclarationError
from orchestration.runtime.query import StreamingQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    import dagster as dg
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from orchestration.config import Settings
    from orchestration.runtime.triggers import Trigger
    from orchestration.sinks.declaration import DeltaSink
    from orchestration.state.watermarks import WatermarkPolicy
    from orchestration.streams.builder import Stream

__all__ = ["Pipeline", "full_reprocess_asset", "incremental_asset", "pipeline"]


class Pipeline:
    """A query and what Dagster shows and runs of it. Made by :func:`pipeline`.

    Put it into a module of ``assets/`` and it is found; or hand its parts to ``Definitions``
    yourself, for instance with ``Definitions.merge(mine, page_views.definitions())``.

    Attributes:
        query: The query; ``pipeline.query.run()`` needs no Dagster.
        options: What it says to Dagster.
        tables: Places of tables that other assets write, so that those it reads are their
            descendants; set before its assets are made.
    """

    def __init__(self, query: StreamingQuery, options: AssetOptions) -> None:
        self.query = query
        self.options = options
        self.tables: Mapping[str, dg.AssetKey] = {}

    def __repr__(self) -> str:
        return f"Pipeline({self.query!r})"

    @property
    def name(self) -> str:
        """Name of the query and of the incremental asset."""
        return self.query.name

    @property
    def has_twin(self) -> bool:
        """Whether its input can be read a second time."""
        from orchestration.sources.base import ReadsOnce

        return not any(isinstance(item, ReadsOnce) for item in self.query.sources.values())

    @cached_property
    def assets(self) -> list[dg.AssetsDefinition]:
        """The incremental asset with its check, and the full-reprocess twin.

        What can be read only once has neither twin nor check: it is the log that others read.
        """
        from orchestration.defs.full import build_full
        from orchestration.defs.incremental import build_incremental

        if not self.has_twin:
            return [build_incremental(self, checked=False)]
        return [build_incremental(self, checked=True), build_full(self, beside=True)]

    @property
    def asset_checks(self) -> list[dg.AssetCheckSpec]:
        """The check ``incremental_equals_full``; it runs inside the assets."""
        return [spec for asset in self.assets for spec in asset.check_specs]

    @cached_property
    def source_assets(self) -> list[dg.AssetSpec]:
        """Where the rows come from, for the lineage."""
        from orchestration.defs.keys import source_specs

        return source_specs(self)

    @cached_property
    def jobs(self) -> list[UnresolvedAssetJobDefinition]:
        """``run_<name>``, which the sensor asks for, and ``reprocess_<name>``."""
        from orchestration.defs.schedule import build_jobs

        return build_jobs(self)

    @cached_property
    def maintenance(self) -> dg.JobDefinition:
        """``maintain_<name>``, which keeps its tables small; schedule it, or ask for it."""
        from orchestration.defs.maintain import build_maintenance

        return build_maintenance(self)

    @cached_property
    def sensors(self) -> list[dg.SensorDefinition]:
        """The sensor, on by default."""
        from orchestration.defs.sensor import build_sensor

        return [build_sensor(self)] if self.options.sensor else []

    @cached_property
    def schedules(self) -> list[dg.ScheduleDefinition]:
        """The schedules that were asked for, on by default."""
        from orchestration.defs.schedule import build_schedules

        return build_schedules(self)

    def definitions(self) -> dg.Definitions:
        """All of it, for ``Definitions.merge``."""
        from orchestration.defs.collect import definitions_of

        return definitions_of([self])


def pipeline(
    name: str,
    stream: Stream,
    *,
    sink: DeltaSink,
    trigger: Trigger | None = None,
    schedule: str | None = None,
    sensor: bool | None = None,
    sensor_interval: str = "5 seconds",
    timezone: str = "UTC",
    max_duration: str = "15 minutes",
    verify: str = "256 MiB",
    description: str | None = None,
    column_descriptions: Mapping[str, str] | None = None,
    group: str = "incremental",
    full_group: str = "full_reprocess",
    key_prefix: str | Sequence[str] = (),
    owners: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    kinds: Sequence[str] | None = None,
    settings: Settings | None = None,
    watermark_policy: WatermarkPolicy = "min",
    no_data_batches: bool = True,
) -> Pipeline:
    """A query with its assets, check, sensor, schedules and jobs.

    Example::

        page_views = pipeline("page_views", clicks.where("amount >= 0"),
                              sink=delta_sink("page_views"))

    Args:
        name: Of the query and the incremental asset; the twin is ``<name>__full``.
        stream: What it computes.
        sink: The table it writes.
        trigger: When batches run within one run; ``available_now()`` by default. With
            ``processing_time`` the sensor keeps one run going at all times.
        schedule: Cron line. Runs then start at these times, and there is no sensor unless
            ``sensor=True``.
        sensor: Whether a sensor starts runs when there is something new.
        sensor_interval: Time between two looks. Dagster makes it 5 seconds at least.
        timezone: Of the schedule.
        max_duration: When a ``processing_time`` run ends; the sensor starts the next.
        verify: When a run also recomputes the twin and compares, to prove that nothing was lost
            or doubled: up to this size of the whole input (``"256 MiB"``), ``"always"``,
            ``"manual"`` (materialize the twin, or execute the check), or a cron line.
        description: Markdown; by default made of the stream.
        column_descriptions: Column to description.
        group: Asset group of the incremental asset.
        full_group: Asset group of the twin.
        key_prefix: In front of the asset keys.
        owners: Email addresses, or names such as ``team:data``.
        tags: Of the assets.
        kinds: Icons instead of the default ones.
        settings: Where things live; by default what the environment says.
        watermark_policy: With several watermarked inputs, whether the slowest holds the others
            back (``min``) or the fastest takes them along (``max``).
        no_data_batches: Whether a batch without input runs to close what the watermark passed.

    Raises:
        DeclarationError: Something of it makes no sense.
    """
    query = StreamingQuery(
        name,
        stream,
        sink=sink,
        trigger=trigger,
        settings=settings,
        watermark_policy=watermark_policy,
        no_data_batches=no_data_batches,
    )
    options = AssetOptions(
        description=description,
        column_descriptions=_known_columns(name, stream, column_descriptions or {}),
        group=group,
        full_group=full_group,
        key_prefix=parse_prefix(key_prefix),
        owners=tuple(owners),
        tags=dict(tags or {}),
        kinds=None if kinds is None else tuple(kinds),
        max_duration=parse_interval("max_duration", max_duration),
        verify=parse_verify(verify),
        sensor=schedule is None if sensor is None else sensor,
        sensor_interval=_seconds(parse_interval("sensor_interval", sensor_interval)),
        schedule=schedule,
        timezone=timezone,
    )
    return Pipeline(query, options)


def incremental_asset(
    name: str,
    stream: Stream,
    *,
    sink: DeltaSink,
    trigger: Trigger | None = None,
    max_duration: str = "15 minutes",
    description: str | None = None,
    column_descriptions: Mapping[str, str] | None = None,
    group: str = "incremental",
    key_prefix: str | Sequence[str] = (),
    owners: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    kinds: Sequence[str] | None = None,
    settings: Settings | None = None,
    watermark_policy: WatermarkPolicy = "min",
    no_data_batches: bool = True,
) -> dg.AssetsDefinition:
    """The incremental half of a pipeline alone: an asset, without twin, check and sensor.

    The arguments are those of :func:`pipeline`. ``headwater run`` finds the query by it, too.
    """
    from orchestration.defs.incremental import build_incremental

    alone = pipeline(
        name,
        stream,
        sink=sink,
        trigger=trigger,
        max_duration=max_duration,
        description=description,
        column_descriptions=column_descriptions,
        group=group,
        key_prefix=key_prefix,
        owners=owners,
        tags=tags,
        kinds=kinds,
        settings=settings,
        watermark_policy=watermark_policy,
        no_data_batches=no_data_batches,
    )
    return build_incremental(alone, checked=False)


def full_reprocess_asset(
    name: str,
    stream: Stream,
    *,
    sink: DeltaSink,
    description: str | None = None,
    column_descriptions: Mapping[str, str] | None = None,
    group: str = "full_reprocess",
    key_prefix: str | Sequence[str] = (),
    owners: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    kinds: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> dg.AssetsDefinition:
    """The full-reprocess half alone: the asset ``<name>__full`` with a check of its own.

    It recomputes whatever the query ``name`` has read, wherever that runs, and compares. The
    arguments are those of :func:`pipeline`; name, stream and sink must be the query's.
    """
    from orchestration.defs.full import build_full

    alone = pipeline(
        name,
        stream,
        sink=sink,
        description=description,
        column_descriptions=column_descriptions,
        full_group=group,
        key_prefix=key_prefix,
        owners=owners,
        tags=tags,
        kinds=kinds,
        settings=settings,
    )
    return build_full(alone, beside=False)


def _seconds(interval: timedelta) -> int:
    return max(1, round(interval.total_seconds()))


def _known_columns(name: str, stream: Stream, descriptions: Mapping[str, str]) -> Mapping[str, str]:
    if stream.columns is not None:
        unknown = sorted(set(descriptions) - set(stream.columns))
        if unknown:
            raise DeclarationError(
                f"pipeline {name!r} describes the columns {unknown}, and has the columns "
                f"{list(stream.columns)}",
                remedy="take the names of the stream's columns",
            )
    return dict(descriptions)
