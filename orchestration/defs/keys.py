"""Asset keys, names and specs of a pipeline."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.redaction import redact
from orchestration.runtime.session import table_uri
from orchestration.runtime.twin import twin_name

if TYPE_CHECKING:
    from orchestration.defs.pipeline import Pipeline
    from orchestration.sinks.table import Role
    from orchestration.sources.base import Source

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
    """Keys of the external assets that the pipeline reads: the parts of their paths."""
    return list(dict.fromkeys(_source_key(item) for item in pipeline.query.sources.values()))


def _source_key(source: Source) -> dg.AssetKey:
    place = str(source.describe().get("path") or source.name)
    parts = [_KEY_PART.sub("_", part).strip("_") for part in place.split("/")]
    return dg.AssetKey([part for part in parts if part] or [source.name])


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
        tags={"headwater/output_mode": pipeline.query.sink.output_mode, **options.tags},
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
    specs = (_source_spec(pipeline, source) for source in pipeline.query.sources.values())
    return list({spec.key: spec for spec in specs}.values())


def _source_spec(pipeline: Pipeline, source: Source) -> dg.AssetSpec:
    described = source.describe()
    found = {str(described["format"])} if described.get("format") in _FORMATS else set()
    path = str(described.get("path") or "")
    if path.startswith("s3://"):
        found.add("s3")
    metadata: dict[str, Any] = {}
    if path:
        metadata["dagster/uri"] = redact(pipeline.query.settings.resolve_input(path))
    return dg.AssetSpec(
        _source_key(source),
        description=f"{source.description}. Written by others, read by Headwater.",
        group_name="sources",
        kinds=found,
        metadata=metadata,
    )


def _table_metadata(pipeline: Pipeline, role: Role) -> dict[str, Any]:
    query = pipeline.query
    uri = table_uri(query.settings, query.sink, role)
    return {
        "dagster/table_name": uri.rstrip("/").rpartition("/")[2],
        "dagster/uri": redact(uri),
        "dagster/storage_kind": "deltalake",
    }


def _describe(pipeline: Pipeline) -> str:
    query = pipeline.query
    what = query.reads
    intro = (
        f"{what[:1].upper()}{what[1:]}, appended to a Delta table a micro-batch at a time, each "
        "row exactly once."
    )
    lines = [
        intro,
        "",
        "```",
        redact(_stream_text(query.stream.describe())),
        f"-> {query.sink.table} ({query.sink.output_mode}), {query.trigger}",
        "```",
    ]
    return "\n".join(lines)


def _stream_text(stream: dict[str, Any]) -> str:
    source = stream["source"]
    lines = [f"{source.get('kind', 'source')}({source.get('path', source['name'])!r})"]
    for step in stream["operators"]:
        if "where" in step:
            lines.append(f"where   {step['where']}")
        elif "map_batches" in step:
            lines.append(f"map     {step['map_batches']}")
        elif "select" in step:
            shown = ", ".join(_column(item) for item in step["select"])
            lines.append(f"select  {shown}")
    return "\n".join(lines)


def _column(item: dict[str, str]) -> str:
    name, expression = item.get("name"), item["expression"]
    return expression if name in {None, expression} else f"{name} = {expression}"
