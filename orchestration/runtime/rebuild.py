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
    from orchestration.sinks.table import SinkTable

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
        owner = _owner_of(session.sink_table).get("headwater.generation")
        try:
            report = rebuild_records(session.store, place, lease, app_id=owner)
        except UnknownQuery as error:
            raise CursorStoreLost(
                f"the state directory {redact(place.uri)} holds no plan of query {name!r}",
                remedy=f"point HEADWATER_STATE at the right one, or 'headwater reset {name}'",
            ) from error
        session.attach(report.generation)
        session.bind(report.generation.input_schema)
        for table in session.all_tables:
            if _owner_of(table).get("headwater.query") == name:
                table.take_over()
        listings = session.log.read_listings()
        for source in session.sources:
            listing = listings.get(source)
            if listing and not session.store.ledger.listing(report.generation, source):
                session.store.ledger.save_listing(lease, report.generation, source, listing)
    return report


def _owner_of(table: SinkTable) -> dict[str, str]:
    """What the table says of who filled it; ``{}`` where no table is."""
    handle = table.open()
    return {} if handle is None else handle.metadata().configuration
