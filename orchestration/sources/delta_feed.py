"""The change data feed of a Delta table, in the one format that changes have here.

What a commit changed stands in files of its own, with a column ``_change_type``; where a commit
only adds or only removes rows there are none, and its added and removed files say the same. Each
is read in its place of the log, so that a change has the same ``_sequence`` whenever it is read:
version, what goes before what comes, file, row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.sources.cdc_format import CHANGE_FIELDS
from orchestration.sources.delta_offsets import Marks, Position, marked
from orchestration.sources.delta_rewritten import BATCH_ROWS, RewrittenFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestration.cursors.records import FileEntry
    from orchestration.sources.delta_commit import Commit
    from orchestration.sources.delta_walk import Known
    from orchestration.sources.inputs import InputFile

__all__ = ["FEED_SCHEMA", "FeedFiles", "feed_entries"]

_TIME = pa.timestamp("us", "UTC")
_FIELDS: list[pa.Field[Any]] = [
    *CHANGE_FIELDS,
    pa.field("_commit_version", pa.int64()),
    pa.field("_commit_time", _TIME),
]
#: Columns of a change stream before those of the table.
FEED_SCHEMA = pa.schema(_FIELDS)

_TYPE = "_change_type"
_REPEATED = ["_op", "_transaction", "_table"]  # few values: small and quick as dictionaries
_OPERATIONS = {
    "insert": "insert",
    "update_postimage": "update",
    "update_preimage": "delete",
    "delete": "delete",
    "read": "read",
}
# In a commit what goes is told before what comes: a key that is deleted and inserted is there.
_ORDER = {
    "read": "0",
    "delete": "1",
    "update_preimage": "1",
    "insert": "2",
    "update_postimage": "2",
}


def feed_entries(known: Known, commit: Commit, *, mapped: bool) -> Iterator[FileEntry]:
    """The files that say what a commit changed.

    Args:
        known: The table.
        commit: The commit.
        mapped: Whether columns have other names in the files.

    Raises:
        TableUnsupported: One cannot be read as it is.
    """
    from orchestration.sources.delta_walk import check_file

    kinds = [("changes", item) for item in commit.changes]
    if not kinds:
        kinds = [("delete", item) for item in commit.removed]
        kinds += [("insert", item) for item in commit.added]
    for number, (kind, file) in enumerate(kinds):
        check_file(known, commit.version, file)
        position = Position(commit.version, number)
        yield marked(file, position, mapped=mapped, kind=kind, time_us=commit.time_us)


@dataclass(slots=True)
class FeedFiles(RewrittenFiles):
    """Files of changes, each written anew with the columns of a change.

    Attributes:
        preimages: What becomes of rows as they were before an update.
        table: What the source calls the table.
    """

    preimages: Literal["drop", "delete"] = field(kw_only=True)
    table: str = field(kw_only=True)

    def rewrite(self, file: InputFile, entry: FileEntry, local: Path) -> bool:
        """Write the changes that a file says."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(file.local) as opened:
            found = opened.schema_arrow
            wanted = set(self.schema.names) - set(FEED_SCHEMA.names)
            names, kept = self.columns(found, wanted)
            names += [_TYPE] if _TYPE in found.names else []
            whole = pa.schema([*FEED_SCHEMA, *kept])
            row = 0
            writing: Any = pq.ParquetWriter  # its stubs know no list of columns
            with writing(
                local,
                whole,
                compression="none",
                use_dictionary=_REPEATED,
                write_statistics=False,
            ) as writer:
                for batch in opened.iter_batches(BATCH_ROWS, columns=names):
                    changes = self._batch(batch, whole, kept, Marks.of(entry), row)
                    mask = self._told(batch, self.present(entry, row, batch.num_rows))
                    writer.write_batch(changes if mask is None else changes.filter(mask))
                    row += batch.num_rows
        return True

    def _batch(
        self, batch: pa.RecordBatch, whole: pa.Schema, kept: pa.Schema, marks: Marks, row: int
    ) -> pa.RecordBatch:
        count, position = batch.num_rows, marks.position
        if marks.kind == "changes":
            kinds: Any = batch.column(_TYPE).cast(pa.string())
        else:
            kinds = pa.array([marks.kind]).take(pa.array([0] * count, pa.int32()))
        numbers: Any = pc.utf8_lpad(
            pa.array(np.arange(row, row + count)).cast(pa.string()), 10, "0"
        )
        sequence = pc.binary_join_element_wise(
            f"{position.version:016x}/",
            _mapped(kinds, _ORDER),
            f"{position.file:06d}",
            numbers,
            "",
        )
        time = pa.scalar(marks.time_us or None, _TIME)
        version = position.version
        feed = [
            _mapped(kinds, _OPERATIONS),
            sequence,
            pa.repeat(time, count),
            pa.repeat(pa.scalar(str(version), pa.string()), count),
            pa.repeat(pa.scalar(self.table, pa.string()), count),
            pa.nulls(count, FEED_SCHEMA.field("_unchanged").type),
            pa.repeat(pa.scalar(version, pa.int64()), count),
            pa.repeat(time, count),
        ]
        return pa.RecordBatch.from_arrays([*feed, *self.named(batch, kept).columns], schema=whole)

    def _told(self, batch: pa.RecordBatch, mask: Any) -> Any:
        """Which rows are given; ``None`` for all of them."""
        if self.preimages == "delete" or _TYPE not in batch.schema.names:
            return mask
        kinds: Any = batch.column(_TYPE).cast(pa.string())
        told = pc.not_equal(kinds, pa.scalar("update_preimage"))
        return told if mask is None else pc.and_(told, mask)


def _mapped(values: Any, names: dict[str, str]) -> Any:
    """Each value's name; null for none."""
    places = pc.index_in(values, pa.array(list(names)))
    return pa.array(list(names.values())).take(places)
