"""Everything that a query has read so far, as far as it can be read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.cursors.records import Slice

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord, FileEntry
    from orchestration.runtime.session import Session
    from orchestration.sources.base import Source

__all__ = ["Whole", "whole_input"]


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything up to E.

    Attributes:
        slices: One per source.
        notes: Why it cannot be equal.
        remarks: What neither side has read.
    """

    slices: tuple[Slice, ...]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def offsets(self) -> dict[str, Any]:
        """How far it goes, by source."""
        return {part.source: part.end for part in self.slices}

    @property
    def present(self) -> dict[str, frozenset[FileEntry]]:
        """The files that are there, by source."""
        return {part.source: frozenset(part.files) for part in self.slices}


def whole_input(session: Session, last: BatchRecord | None) -> Whole:
    """All sources from the start up to the end of a batch; nothing without one."""
    ends = {part.source: part.end for part in last.plan.slices} if last is not None else {}
    slices: list[Slice] = []
    notes: list[str] = []
    remarks: list[str] = []
    alone = len(session.sources) == 1
    for name, source in session.sources.items():
        part, its_notes, its_remarks = _whole_source(session, source, ends.get(name, {}))
        slices.append(part)
        notes += its_notes if alone else [f"{name}: {note}" for note in its_notes]
        remarks += its_remarks if alone else [f"{name}: {remark}" for remark in its_remarks]
    return Whole(tuple(slices), tuple(notes), tuple(remarks))


def _whole_source(
    session: Session, source: Source, end: dict[str, Any]
) -> tuple[Slice, tuple[str, ...], tuple[str, ...]]:
    """A source up to an offset; why it cannot be equal, and what neither side has read."""
    if not end:
        return Slice(source.name, {}, {}), (), ()
    ledger = session.store.ledger.files(
        session.generation, source.name, 0, int(end.get("files", 0))
    )
    skipped = session.store.batches.skipped_files(session.generation, source.name)
    wanted = tuple(item for item in ledger if item.path not in skipped)
    present, notes = source.whole(wanted, clock=session.clock, settings=session.settings)
    remarks: tuple[str, ...] = ()
    if skipped:
        remarks = (f"{len(skipped)} files were skipped to quarantine by hand: neither holds them",)
    if len(ledger) - len(wanted) > len(skipped):
        notes = (*notes, "an earlier version of a skipped file was read, and is not there any more")
    size = sum(item.size for item in present)
    return Slice(source.name, {}, end, present, size, end), notes, remarks
