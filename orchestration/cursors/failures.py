"""Batches that fail: counted, blocked when it is always the same, retried or set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from orchestration.cursors.history import History, batch_is, require_batch
from orchestration.cursors.leases import Lease, fenced
from orchestration.cursors.models import batches as table
from orchestration.cursors.queries import writable_generation_id
from orchestration.errors import CursorStoreError
from orchestration.redaction import redact

if TYPE_CHECKING:
    from orchestration.cursors.records import Generation

__all__ = ["Failures"]


class Failures(History):
    """What the batch log keeps of failures. Writes are fenced, as all of the log's are."""

    def fail(
        self,
        lease: Lease,
        generation: Generation,
        batch_id: int,
        error_kind: str,
        message: str,
        limit: int,
    ) -> bool:
        """Count a failure; the count begins anew when the kind differs from the last one's.

        Args:
            lease: The query's lease.
            generation: The query's life.
            batch_id: The batch that failed.
            error_kind: What counts as the same way of failing, such as the error's class.
            message: For people; kept redacted.
            limit: Failures in a row after which the batch is blocked.

        Returns:
            True when the batch is blocked now.
        """
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, generation.number)
            row = require_batch(connection, lease, key, batch_id)
            failures = row.failures + 1 if row.failure_kind == error_kind else 1
            blocked = failures >= limit
            connection.execute(
                update(table)
                .where(batch_is(key, batch_id))
                .values(
                    failures=failures,
                    failure_kind=error_kind,
                    last_error=redact(message),
                    blocked=blocked,
                )
            )
            return blocked

    def unblock(self, lease: Lease, generation: Generation, batch_id: int) -> None:
        """Let a failed batch be read again, its failures forgotten (``headwater retry``)."""
        self._set(lease, generation, batch_id, skip=False)

    def mark_skip(self, lease: Lease, generation: Generation, batch_id: int) -> None:
        """Let a planned batch run with all of its input to quarantine (``headwater skip``).

        Also one without a counted failure: it may fail in passing ways for ever, or kill its
        process.
        """
        self._set(lease, generation, batch_id, skip=True)

    def _set(self, lease: Lease, generation: Generation, batch_id: int, *, skip: bool) -> None:
        with fenced(self._database, lease) as connection:
            key = writable_generation_id(connection, lease, generation.number)
            row = require_batch(connection, lease, key, batch_id)
            if skip and row.attempt is not None:
                raise CursorStoreError(
                    f"Batch {batch_id} of {lease.query_id!r} is sealed, so it is not skipped",
                    remedy="Run the query; it finishes the batch.",
                )
            connection.execute(
                update(table)
                .where(batch_is(key, batch_id))
                .values(blocked=False, failures=0, failure_kind=None, skip=skip)
            )
