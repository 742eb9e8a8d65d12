"""What sources have to say while nothing is wrong with them: log held back for a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.errors import HeadwaterError
from orchestration.redaction import redact
from orchestration.sources.base import Warns

if TYPE_CHECKING:
    from orchestration.runtime.query import StreamingQuery

__all__ = ["source_warnings"]


def source_warnings(query: StreamingQuery) -> tuple[str, ...]:
    """A sentence each; one that does not answer says so, and that is one of them."""
    found: list[str] = []
    for source in query.sources.values():
        if isinstance(source, Warns):
            try:
                found += source.warnings()
            except HeadwaterError as error:
                found.append(redact(str(error.args[0])))
    return tuple(found)
