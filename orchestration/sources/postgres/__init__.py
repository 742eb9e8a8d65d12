"""Tables of a PostgreSQL server, followed by logical replication."""

from __future__ import annotations

from orchestration.sources.postgres.declaration import postgres
from orchestration.sources.postgres.projection import changes

__all__ = ["changes", "postgres"]
