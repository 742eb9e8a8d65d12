"""From the modules that users write to one ``Definitions``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from orchestration.defs.keys import table_places
from orchestration.defs.matching import SourceCheck
from orchestration.defs.pipeline import Pipeline
from orchestration.errors import DeclarationError
from orchestration.runtime.declared import find_queries
from orchestration.runtime.query import StreamingQuery
from orchestration.runtime.session import table_uri
from orchestration.runtime.twin import twin_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

__all__ = ["definitions_from", "definitions_of"]

_PLAIN = (
    dg.AssetsDefinition,
    dg.AssetSpec,
    dg.SensorDefinition,
    dg.ScheduleDefinition,
    dg.JobDefinition,
    UnresolvedAssetJobDefinition,
    SourceCheck,
)


def definitions_from(*modules: str) -> dg.Definitions:
    """Everything that modules or packages declare: pipelines, and plain Dagster objects too.

    Args:
        *modules: Dotted names; of packages, submodules too.

    Raises:
        ConfigError: There is no such module.
        DeclarationError: Importing it fails, or two pipelines share a name or a table.
    """
    found: dict[int, object] = {}
    for name in modules:
        find_queries(name)  # imports everything, and refuses double names
        for module in _loaded(name):
            for value in _values(module):
                found.setdefault(id(value), value)
    values = list(found.values())
    pipelines = [value for value in values if isinstance(value, Pipeline)]
    plain = [value for value in values if isinstance(value, _PLAIN)]
    others = [value for value in values if isinstance(value, dg.Definitions)]
    return dg.Definitions.merge(definitions_of(pipelines, plain), *others)


def definitions_of(pipelines: Iterable[Pipeline], plain: Iterable[object] = ()) -> dg.Definitions:
    """Some pipelines, and plain Dagster objects beside them.

    Raises:
        DeclarationError: Two pipelines share a name or a table.
    """
    pipelines, plain = list(pipelines), list(plain)
    mine = [item for item in plain if isinstance(item, dg.AssetsDefinition | dg.AssetSpec)]
    halves = [item for item in mine if isinstance(item, dg.AssetsDefinition)]
    _check_apart([*(item.query for item in pipelines), *_queries(halves)])
    places = table_places(pipelines)
    for item in pipelines:
        item.tables = places
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *mine,
        *(asset for item in pipelines for asset in item.assets),
    ]
    known = {key for item in assets for key in _keys(item)}
    for item in pipelines:
        for spec in item.source_assets:
            if spec.key not in known:  # two pipelines may read one place, or write and read it
                known.add(spec.key)
                assets.append(spec)
    return dg.Definitions(
        assets=assets,
        asset_checks=[item.definition for item in plain if isinstance(item, SourceCheck)],
        jobs=[
            *(job for item in pipelines for job in item.jobs),
            *(item.maintenance for item in pipelines),
            *(
                item
                for item in plain
                if isinstance(item, dg.JobDefinition | UnresolvedAssetJobDefinition)
            ),
        ],
        sensors=[
            *(sensor for item in pipelines for sensor in item.sensors),
            *(item for item in plain if isinstance(item, dg.SensorDefinition)),
        ],
        schedules=[
            *(schedule for item in pipelines for schedule in item.schedules),
            *(item for item in plain if isinstance(item, dg.ScheduleDefinition)),
        ],
        executor=dg.in_process_executor,
    )


def _loaded(name: str) -> Iterator[ModuleType]:
    for found, module in sorted(sys.modules.items()):
        if found == name or found.startswith(f"{name}."):
            yield module


def _values(module: ModuleType) -> Iterator[object]:
    for name, value in vars(module).items():
        if name.startswith("__"):
            continue
        if isinstance(value, list | tuple):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()
        else:
            yield value


def _queries(assets: Iterable[dg.AssetsDefinition]) -> Iterator[StreamingQuery]:
    for item in assets:
        query = getattr(item, "query", None)
        if isinstance(query, StreamingQuery):
            yield query


def _keys(item: dg.AssetsDefinition | dg.AssetSpec) -> Iterable[dg.AssetKey]:
    return [item.key] if isinstance(item, dg.AssetSpec) else item.keys


def _check_apart(queries: Iterable[StreamingQuery]) -> None:
    names: dict[str, StreamingQuery] = {}
    tables: dict[str, str] = {}
    for query in queries:
        if names.setdefault(query.name, query) is not query:
            raise DeclarationError(
                f"there are two pipelines called {query.name!r}",
                remedy="a name identifies a query for ever; give one of them another",
            )
        for role in ("sink", "quarantine", "late", "twin"):
            uri = table_uri(query.settings, query.sink, role)
            other = tables.setdefault(uri, query.name)
            if other != query.name:
                raise DeclarationError(
                    f"pipelines {other!r} and {query.name!r} both write the table "
                    f"{query.sink.table!r} ({twin_name(query.sink.table)!r} is its twin)"
                    if uri == table_uri(query.settings, query.sink, "sink")
                    else f"pipelines {other!r} and {query.name!r} both write {uri}",
                    remedy="one query writes one table: give one of them another sink",
                )
