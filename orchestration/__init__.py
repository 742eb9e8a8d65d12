"""Structured Streaming's promises inside Dagster, in one Python process.

Names are loaded when they are first used: a Dagster code location, a sensor tick and a command
each pay only for what they need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration.defs.matching import matches_source as matches_source
    from orchestration.defs.pipeline import Pipeline as Pipeline
    from orchestration.defs.pipeline import full_reprocess_asset as full_reprocess_asset
    from orchestration.defs.pipeline import incremental_asset as incremental_asset
    from orchestration.defs.pipeline import pipeline as pipeline
    from orchestration.engine.stateful.group_state import GroupState as GroupState
    from orchestration.runtime.collecting import collect as collect
    from orchestration.runtime.query import StreamingQuery as StreamingQuery
    from orchestration.runtime.triggers import available_now as available_now
    from orchestration.runtime.triggers import once as once
    from orchestration.runtime.triggers import processing_time as processing_time
    from orchestration.sinks.declaration import delta_sink as delta_sink
    from orchestration.sinks.scd import scd1_sink as scd1_sink
    from orchestration.sinks.scd import scd2_sink as scd2_sink
    from orchestration.sources.cdc_files import canal as canal
    from orchestration.sources.cdc_files import debezium as debezium
    from orchestration.sources.cdc_files import dms as dms
    from orchestration.sources.cdc_files import maxwell as maxwell
    from orchestration.sources.delta_declared import delta as delta
    from orchestration.sources.files import files as files
    from orchestration.sources.postgres import changes as changes
    from orchestration.sources.postgres import postgres as postgres
    from orchestration.streams.builder import Stream as Stream
    from orchestration.streams.builder import stream as stream
    from orchestration.streams.static import static as static
    from orchestration.streams.windows import session_window as session_window
    from orchestration.streams.windows import window as window
    from orchestration.streams.windows import window_time as window_time

_HOME = {
    "GroupState": "orchestration.engine.stateful.group_state",
    "Pipeline": "orchestration.defs.pipeline",
    "Stream": "orchestration.streams.builder",
    "StreamingQuery": "orchestration.runtime.query",
    "available_now": "orchestration.runtime.triggers",
    "canal": "orchestration.sources.cdc_files",
    "changes": "orchestration.sources.postgres",
    "collect": "orchestration.runtime.collecting",
    "debezium": "orchestration.sources.cdc_files",
    "delta": "orchestration.sources.delta_declared",
    "delta_sink": "orchestration.sinks.declaration",
    "dms": "orchestration.sources.cdc_files",
    "files": "orchestration.sources.files",
    "full_reprocess_asset": "orchestration.defs.pipeline",
    "incremental_asset": "orchestration.defs.pipeline",
    "matches_source": "orchestration.defs.matching",
    "maxwell": "orchestration.sources.cdc_files",
    "once": "orchestration.runtime.triggers",
    "pipeline": "orchestration.defs.pipeline",
    "postgres": "orchestration.sources.postgres",
    "processing_time": "orchestration.runtime.triggers",
    "scd1_sink": "orchestration.sinks.scd",
    "scd2_sink": "orchestration.sinks.scd",
    "session_window": "orchestration.streams.windows",
    "static": "orchestration.streams.static",
    "stream": "orchestration.streams.builder",
    "window": "orchestration.streams.windows",
    "window_time": "orchestration.streams.windows",
}

__all__ = [
    "GroupState",
    "Pipeline",
    "Stream",
    "StreamingQuery",
    "available_now",
    "canal",
    "changes",
    "collect",
    "debezium",
    "delta",
    "delta_sink",
    "dms",
    "files",
    "full_reprocess_asset",
    "incremental_asset",
    "matches_source",
    "maxwell",
    "once",
    "pipeline",
    "postgres",
    "processing_time",
    "scd1_sink",
    "scd2_sink",
    "session_window",
    "static",
    "stream",
    "window",
    "window_time",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
