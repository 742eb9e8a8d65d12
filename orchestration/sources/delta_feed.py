"""The change data feed of a Delta table, in the one format that changes have here.

What a commit changed stands in files of its own, with a column ``_change_type``; where a commit
only adds or only removes rows there are none, and its added and removed files say the same. Each
is read in its place of the log, so that a change has the same ``_sequence`` whenever it is read:
version, what goes before what comes, file, row.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.errors import FileChanged
from orchestration.sources.delta_offsets import Marks, Position, marked
from orchestration.sources.inputs import InputFile
from orchestration.sources.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry
    from orchestration.objects import Place
    from orchestration.sources.delta_commit import Commit
    from orchestration.sources.delta_walk import Known
    from orchestration.sources.inputs import FileFormat
    from orchestration.sources.planned import PlannedFiles

__all__ = ["FEED_SCHEMA", "FeedFiles", "feed_entries"]

_TIME = pa.timestamp("us", "UTC")
_FIELDS: list[pa.Field[Any]] = [
    pa.field("_op", pa.string()),
    pa.field("_sequence", pa.string()),
    pa.field("_source_time", _TIME),
    pa.field("_transaction", pa.string()),
    pa.field("_table", pa.string()),
    pa.field("_unchanged", pa.list_(pa.field("item", pa.string()))),
    pa.field("_commit_version", pa.int64()),
    pa.field("_commit_time", _TIME),
]
#: Columns of a change stream before those of the table.
FEED_SCHEMA = pa.schema(_FIELDS)

_TYPE = "_change_type"
_ROWS = 65_536
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


def feed_entries(known: Known, commit: Commit) -> Iterator[FileEntry]:
    """The files that say what a commit changed.

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
        yield marked(file, Position(commit.version, number), kind, commit.time_us)


@dataclass(slots=True)
class FeedFiles:
    """A ``FilesInput`` over files of changes: each is written anew with the columns of a change.

    Attributes:
        place: The table's root.
        files: Exactly those to read, in order.
        format: Parquet.
        schema: Columns of the change and of the table.
        settings: Where fetched and rewritten files may lie.
        preimages: What becomes of rows as they were before an update.
        table: What the source calls the table.
    """

    place: Place
    files: tuple[FileEntry, ...]
    format: FileFormat
    schema: pa.Schema
    settings: Settings
    preimages: Literal["drop", "delete"]
    table: str

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """Columns that stand in the log."""
        return self._inner().partition_columns

    @property
    def missing(self) -> Sequence[str]:
        """None: a file that is gone fails the batch."""
        return ()

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """A group per file, so that little lies on the disk."""
        inner = self._inner()
        marks = iter([Marks.of(entry) for entry in self.files])
        with open_spool(self.settings.spool_dir) as directory:
            for group in inner.groups():
                with group as files:
                    for file in files:
                        yield self._changes(file, next(marks), directory)

    def _inner(self) -> PlannedFiles:
        from orchestration.sources.delta_files import delta_files

        return delta_files(self.place, self.files, self.format, self.schema, self.settings)

    @contextmanager
    def _changes(
        self, file: InputFile, marks: Marks, directory: Path
    ) -> Iterator[Sequence[InputFile]]:
        position = marks.position
        local = directory / f"{position.version}-{position.file}.parquet"
        try:
            self._write(file, marks, local)
            yield [
                InputFile(local, file.name, file.size, file.modified, file.partitions),
            ]
        finally:
            local.unlink(missing_ok=True)

    def _write(self, file: InputFile, marks: Marks, local: Path) -> None:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(file.local) as opened:
                found = opened.schema_arrow
                low = {name.lower() for name in self.schema.names}
                names = [name for name in found.names if name.lower() in low or name == _TYPE]
                kept = pa.schema(
                    [
                        pa.field(name, _without_views(found.field(name).type))
                        for name in names
                        if name != _TYPE
                    ]
                )
                whole = pa.schema([*FEED_SCHEMA, *kept])
                row = 0
                with pq.ParquetWriter(local, whole, compression="none") as writer:
                    for batch in opened.iter_batches(_ROWS, columns=names):
                        writer.write_batch(self._batch(batch, whole, kept, marks, row))
                        row += batch.num_rows
        except pa.ArrowException as error:
            raise FileChanged(
                f"{file.name} cannot be read as Parquet: {error}",
                remedy="bring back the file as it was written and run 'headwater retry'",
            ) from error

    def _batch(
        self, batch: pa.RecordBatch, whole: pa.Schema, kept: pa.Schema, marks: Marks, row: int
    ) -> pa.RecordBatch:
        count, position = batch.num_rows, marks.position
        if marks.kind == "changes":
            kinds: Any = batch.column(_TYPE).cast(pa.string())
        else:
            kinds = pa.array([marks.kind]).take(pa.array([0] * count, pa.int32()))
        mask = pc.is_in(kinds, pa.array(list(_OPERATIONS)))
        if self.preimages == "drop":
            mask = pc.and_(mask, pc.not_equal(kinds, pa.scalar("update_preimage")))
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
        columns = [*feed, *(batch.column(item.name).cast(item.type) for item in kept)]
        return pa.RecordBatch.from_arrays(columns, schema=whole).filter(mask)


def _mapped(values: Any, names: dict[str, str]) -> Any:
    """Each value's name; null for none."""
    places = pc.index_in(values, pa.array(list(names)))
    return pa.array(list(names.values())).take(places)


def _without_views(kind: Any) -> Any:
    """The same type as one that rows can be filtered by: views have no such kernel."""
    if str(kind) in {"string_view", "binary_view"}:
        return pa.string() if str(kind) == "string_view" else pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, _without_views(part.type)) for part in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("item", _without_views(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_without_views(kind.key_type), _without_views(kind.item_type))
    return kind
