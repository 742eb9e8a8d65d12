"""Headwater's errors as Dagster shows them: what was found, and what to do next."""

from __future__ import annotations

import dagster as dg

from orchestration.errors import HeadwaterError, Refused
from orchestration.redaction import redact

__all__ = ["as_failure"]


def as_failure(query: str, error: HeadwaterError) -> dg.Failure:
    """The failure to raise ``from None``: the frames between say nothing to a user."""
    metadata: dict[str, dg.MetadataValue] = {
        "error": dg.MetadataValue.text(type(error).__name__),
        "query": dg.MetadataValue.text(query),
    }
    if error.remedy:
        metadata["what to do"] = dg.MetadataValue.text(redact(error.remedy))
    return dg.Failure(
        description=redact(str(error)),
        metadata=metadata,
        # A retry of the same run would be refused in the same way.
        allow_retries=not isinstance(error, Refused),
    )
