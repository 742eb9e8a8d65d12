"""Asset keys, names and specs of a pipeline."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.defs.stream_text import stream_text
from orchestration.redaction import redact
from orchestration.runtime.session import table_uri
from orchestration.runtime.twin import twin_name
from orchestration.sinks.scd import ChangeSink
from orchestration.sources.base import FollowsTable, ReadsOnce

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestration.defs.pipeline import Pipeline
    from orchestration.runtime.query import StreamingQuery
    from orchestration.sinks.table import Role
    from orchestration.sources.base import Source
    from orchestration.streams.static import StaticTable

__all__ = [
    "CHECK",
    "code_version",
    "full_key",
    "full_spec",
    "incremental_key",
    "incremental_spec",
    "kinds",
    "source_keys",
    "source_specs",
    "table_places",
]

CHECK = "incremental_equals_full"

# Dagster draws an icon for each of these.
_FORMATS = {"json", "csv", "parquet"}
_KEY_PART = re.compile(r"[^A-Za-z0-9_-]+")


def incremental_key(pipeline: Pipeline) -> dg.AssetKey:
    """Key of the incremental asset."""
    return dg.AssetKey([*pipeline.options.key_prefix, pipeline.name])


def full_key(pipeline: Pipeline) -> dg.AssetKey:
    """Key of the full-reprocess twin."""
    return dg.AssetKey([*pipeline.options.key_prefix, twin_name(pipeline.name)])


def source_keys(pipeline: Pipeline) -> list[dg.AssetKey]:
    """Keys of what the pipeline reads: other pipelines' tables by their assets, else paths."""
    query = pipeline.query
    keys = [_source_key(pipeline, item) for item in query.sources.values()]
    keys += [_static_key(pipeline, item) for item in query.statics.values()]
    return list(dict.fromkeys(keys))


def table_places(pipelines: Iterable[Pipeline]) -> dict[str, dg.AssetKey]:
    """Place of a table to the asset that writes it: incremental ones and twins."""
    found: dict[str, dg.AssetKey] = {}
    for item in pipelines:
        query = item.query
        for role in ("sink", "quarantine", "late"):
            found[table_uri(query.settings, query.sink, role)] = incremental_key(item)
        found[table_uri(query.settings, query.sink, "twin")] = full_key(item)
    return found


def _source_key(pipeline: Pipeline, source: Source) -> dg.AssetKey:
    if isinstance(source, FollowsTable):
        place = source.table_uri(pipeline.query.settings)
        return _table_key(pipeline, place, place, source.name)
    return _path_key(str(source.describe().get("path") or source.name), source.name)


def _static_key(pipeline: Pipeline, table: StaticTable) -> dg.AssetKey:
    """The asset that writes a static table, where that is one of ours; else its path."""
    place = pipeline.query.settings.resolve_input(table.location).rstrip("/")
    return _table_key(pipeline, place, table.location, table.name)


def _table_key(pipeline: Pipeline, place: str, called: str, name: str) -> dg.AssetKey:
    """The asset that writes the table at a place, where that is one of ours; else its path."""
    written = pipeline.tables.get(place)
    if written is not None:
        return written
    below = f"{pipeline.query.settings.tables.rstrip('/')}/"
    # Under our tables' root a table is called like the asset, wherever that is declared.
    return _path_key(place.removeprefix(below) if place.startswith(below) else called, name)


def _path_key(place: str, name: str) -> dg.AssetKey:
    parts = [_KEY_PART.sub("_", part).strip("_") for part in place.split("/")]
    return dg.AssetKey([part for part in parts if part] or [name])


def kinds(pipeline: Pipeline, role: Role) -> set[str]:
    """The icons: what it is made of."""
    if pipeline.options.kinds is not None:
        return set(pipeline.options.kinds)
    found = {"deltalake", "duckdb"}
    formats = {str(source.describe().get("format")) for source in pipeline.query.sources.values()}
    found |= formats & _FORMATS
    uri = table_uri(pipeline.query.settings, pipeline.query.sink, role)
    return found | ({"s3"} if uri.startswith("s3://") else set())


def code_version(pipeline: Pipeline) -> str:
    """Changes whenever the rows that the query would compute may change."""
    declared = pipeline.query.describe()
    declared.pop("trigger", None)
    if not pipeline.query.is_plain:
        declared["watermark_policy"] = pipeline.query.watermark_policy
    text = json.dumps(declared, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def incremental_spec(pipeline: Pipeline) -> dg.AssetSpec:
    """The incremental asset."""
    options = pipeline.options
    return dg.AssetSpec(
        incremental_key(pipeline),
        deps=source_keys(pipeline),
        description=options.description or _describe(pipeline),
        metadata=_table_metadata(pipeline, "sink"),
        group_name=options.group,
        code_version=code_version(pipeline),
        owners=list(options.owners),
        tags={"headwater/output_mode": pipeline.query.sink.mode, **options.tags},
        kinds=kinds(pipeline, "sink"),
    )


def full_spec(pipeline: Pipeline) -> dg.AssetSpec:
    """The full-reprocess twin."""
    options = pipeline.options
    return dg.AssetSpec(
        full_key(pipeline),
        deps=source_keys(pipeline),
        description=(
            f"Everything that `{pipeline.name}` has read, recomputed at once into a table of its "
            f"own. The check `{CHECK}` holds the incremental table against it.\n\n"
            "It reads up to where the incremental table stands, replaces its own rows in one "
            "commit, and never touches the other table."
        ),
        metadata=_table_metadata(pipeline, "twin"),
        group_name=options.full_group,
        code_version=code_version(pipeline),
        owners=list(options.owners),
        tags=dict(options.tags),
        kinds=kinds(pipeline, "twin"),
    )


def source_specs(pipeline: Pipeline) -> list[dg.AssetSpec]:
    """What the pipeline reads, as assets that Dagster does not make."""
    query = pipeline.query
    specs = [_source_spec(pipeline, source) for source in query.sources.values()]
    specs += [_static_spec(pipeline, table) for table in query.statics.values()]
    return list({spec.key: spec for spec in specs}.values())


def _source_spec(pipeline: Pipeline, source: Source) -> dg.AssetSpec:
    described = source.describe()
    found = {str(described["format"])} if described.get("format") in _FORMATS else set()
    if isinstance(source, FollowsTable):
        found.add("deltalake")
    path = str(described.get("path") or "")
    if path.startswith("s3://"):
        found.add("s3")
    if described.get("kind") == "postgres":
        found.add("postgres")
    metadata: dict[str, Any] = {}
    if isinstance(source, FollowsTable):
        metadata["dagster/uri"] = redact(source.table_uri(pipeline.query.settings))
    elif path and not isinstance(source, ReadsOnce):
        metadata["dagster/uri"] = redact(pipeline.query.settings.resolve_input(path))
    return dg.AssetSpec(
        _source_key(pipeline, source),
        description=f"{source.description}. Written by others, read by Headwater.",
        group_name="sources",
        kinds=found,
        metadata=metadata,
    )


def _static_spec(pipeline: Pipeline, table: StaticTable) -> dg.AssetSpec:
    place = pipeline.query.settings.resolve_input(table.location)
    kind = "deltalake" if table.format == "delta" else table.format
    return dg.AssetSpec(
        _static_key(pipeline, table),
        description=f"A {table.format} table that every batch reads whole, at the version that "
        "stands in its plan. Written by others, read by Headwater.",
        group_name="sources",
        kinds={kind, "s3"} if place.startswith("s3://") else {kind},
        metadata={"dagster/uri": redact(place)},
    )


def _table_metadata(pipeline: Pipeline, role: Role) -> dict[str, Any]:
    query = pipeline.query
    uri = table_uri(query.settings, query.sink, role)
    metadata: dict[str, Any] = {
        "dagster/table_name": uri.rstrip("/").rpartition("/")[2],
        "dagster/uri": redact(uri),
        "dagster/storage_kind": "deltalake",
    }
    if role == "sink":
        metadata["output_mode"] = query.sink.mode
        late_rows = not query.stream.is_plain and not isinstance(query.sink, ChangeSink)
        if late_rows and query.sink.on_late == "table":
            late = table_uri(query.settings, query.sink, "late")
            metadata["late_rows_go_to"] = dg.MetadataValue.path(redact(late))
    return metadata


def _describe(pipeline: Pipeline) -> str:
    query = pipeline.query
    what = query.reads
    lines = [
        f"{what[:1].upper()}{what[1:]}, {_done(query)}",
        "",
        "```",
        redact(stream_text(query.stream.describe())),
        f"-> {query.sink.table} ({query.sink.mode}), {query.trigger}",
        "```",
    ]
    return "\n".join(lines)


def _done(query: StreamingQuery) -> str:
    """What becomes of the rows, as the output mode says."""
    if query.sink.mode == "scd1":
        return (
            "applied as changes to a Delta table that holds one row per key, as its source is now, "
            "in whatever order they come and however often."
        )
    if query.sink.mode == "scd2":
        return (
            "applied as changes to a Delta table that holds the history of each key, "
            "in whatever order they come and however often."
        )
    if query.is_plain:
        return "appended to a Delta table a micro-batch at a time, each row exactly once."
    if query.sink.output_mode == "complete":
        return "as a Delta table that every micro-batch replaces by the whole result."
    if query.sink.output_mode == "update":
        return (
            "as a Delta table in which every micro-batch replaces the groups that it changed, "
            "each row counted exactly once."
        )
    return (
        "appended to a Delta table a micro-batch at a time, each result exactly once, when "
        "nothing can change it any more."
    )
