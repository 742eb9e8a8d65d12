"""A cursor store again, from the state directory and the Delta log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.cursors.rebuild import RebuildReport
from orchestration.cursors.rebuild import rebuild as rebuild_records
from orchestration.errors import CursorStoreLost, UnknownQuery
from orchestration.objects import Place
from orchestration.redaction import redact

if TYPE_CHECKING:
    from orchestration.runtime.session import Session

__all__ = ["rebuild"]


def rebuild(session: Session, run_id: str = "rebuild") -> RebuildReport:
    """Enter into the cursor store what it lost of a query, and take its tables over.

    Works on an empty store and on an older copy. Afterwards the next run continues where the
    tables stand: it finishes the last sealed batch, or runs the last planned one again.

    Raises:
        QueryAlreadyRunning: The query runs now.
        CursorStoreLost: The state directory holds nothing of it either.
    """
    name = session.query.name
    place = Place.open(session.settings.state_uri(name))
    with session.store.leases.acquire(name, run_id) as lease:
        try:
            report = rebuild_records(session.store, place, lease, app_id=_owner(session))
        except UnknownQuery as error:
            raise CursorStoreLost(
                f"the state directory {redact(place.uri)} holds no plan of query {name!r}",
                remedy=f"point HEADWATER_STATE at the right one, or 'headwater reset {name}'",
            ) from error
        session.attach(report.generation)
        if session.bind(report.generation.input_schema):
            for table in (session.sink_table, session.quarantine_table, session.twin_table):
                table.take_over()
    return report


def _owner(session: Session) -> str | None:
    """The generation that the sink says filled it."""
    if not session.bind(None):
        return None
    handle = session.sink_table.open()
    if handle is None:
        return None
    return handle.metadata().configuration.get("headwater.generation")
