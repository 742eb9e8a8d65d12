"""Static tables of a query: which version a batch reads, and their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from orchestration.cursors.records import JsonDict
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.session import Session

__all__ = ["open_statics", "resolve_statics", "static_schemas"]


def static_schemas(query: StreamingQuery) -> dict[str, pa.Schema]:
    """Columns of the static tables whose declaration does not say them, as they are now.

    Raises:
        SourceUnavailable: One cannot be read.
    """
    tables = [table for table in query.statics.values() if table.schema is None]
    if not tables:
        return {}
    from orchestration.sources.static import infer_static_schema

    settings = query.settings
    return {table.name: infer_static_schema(table, settings) for table in tables}


def resolve_statics(session: Session) -> dict[str, JsonDict]:
    """The version of every static table as it is now: goes into the plan.

    Raises:
        SourceUnavailable: One cannot be read.
    """
    tables = session.query.statics
    if not tables:
        return {}
    from orchestration.sources.static import resolve

    return {name: resolve(table, session.settings) for name, table in tables.items()}


def open_statics(session: Session, versions: Mapping[str, JsonDict]) -> dict[str, Any]:
    """Static tables at the versions that a plan names.

    Raises:
        SourceUnavailable: One cannot be read, or not at that version any more.
    """
    tables = session.query.statics
    if not tables:
        return {}
    from orchestration.sources.static import open_static

    return {
        name: open_static(table, versions[name], session.settings) for name, table in tables.items()
    }
