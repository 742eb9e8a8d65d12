"""Files of a table that are not read as they lie: each is written anew for the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.errors import FileChanged
from orchestration.sources.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestration.config import Settings
    from orchestration.cursors.records import FileEntry
    from orchestration.objects import Place
    from orchestration.sources.delta_names import Named
    from orchestration.sources.inputs import FileFormat, InputFile
    from orchestration.sources.planned import PlannedFiles

__all__ = ["BATCH_ROWS", "RewrittenFiles", "VectorFiles", "without_views"]

BATCH_ROWS = 65_536


@dataclass(slots=True)
class RewrittenFiles(ABC):
    """A ``FilesInput`` that writes each file anew, a file at a time, so that few lie on the disk.

    Attributes:
        place: The table's root.
        files: Exactly those to read, in order.
        format: Parquet.
        schema: Columns to read.
        settings: Where fetched and rewritten files may lie.
        vectors: File to which of its rows are still there; those after the last one are.
        names: Name in the files to the table's column, where they are others.
    """

    place: Place
    files: tuple[FileEntry, ...]
    format: FileFormat
    schema: pa.Schema
    settings: Settings
    vectors: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Named] = field(default_factory=dict)

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """Columns that stand in the log."""
        return self._inner().partition_columns

    @property
    def missing(self) -> Sequence[str]:
        """None: a file that is gone fails the batch."""
        return ()

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """A group per file."""
        entries = iter(self.files)
        with open_spool(self.settings.spool_dir) as directory:
            for group in self._inner().groups():
                with group as files:
                    for number, file in enumerate(files):
                        yield self._group(file, next(entries), directory / f"{number}.parquet")

    @abstractmethod
    def rewrite(self, file: InputFile, entry: FileEntry, local: Path) -> bool:
        """Write what is to be read of a file; false where that is the file as it lies.

        Raises:
            pyarrow.ArrowException: It is no Parquet.
        """

    def columns(self, found: pa.Schema, wanted: Collection[str]) -> tuple[list[str], pa.Schema]:
        """The columns of a file that are wanted: its names, and what they are in the table."""
        names: list[str] = []
        fields: list[pa.Field[Any]] = []
        for item in found:
            named = self.names.get(item.name)
            name = item.name if named is None else named.name
            if name in wanted:
                kind = item.type if named is None else named.type_of(item.type)
                names.append(item.name)
                fields.append(pa.field(name, kind))
        return names, without_views(pa.schema(fields))

    def named(self, batch: pa.RecordBatch, kept: pa.Schema) -> pa.RecordBatch:
        """Rows of a file as the table calls its columns."""
        columns: dict[str, Any] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            known = self.names.get(name)
            columns[name if known is None else known.name] = (
                column if known is None else known.column(column)
            )
        return pa.RecordBatch.from_arrays(
            [columns[item.name].cast(item.type) for item in kept], schema=kept
        )

    def present(self, entry: FileEntry, row: int, count: int) -> Any:
        """Which of some rows of a file are still there; ``None`` for all of them."""
        vector = self.vectors.get(entry.path)
        if vector is None or row >= len(vector):
            return None
        known = vector.slice(row, count)
        return pa.concat_arrays([known, pa.array([True] * (count - len(known)), pa.bool_())])

    def _inner(self) -> PlannedFiles:
        from orchestration.sources.delta_files import delta_files

        return delta_files(
            self.place, self.files, self.format, self.schema, self.settings, self.names
        )

    @contextmanager
    def _group(
        self, file: InputFile, entry: FileEntry, local: Path
    ) -> Iterator[Sequence[InputFile]]:
        try:
            try:
                rewritten = self.rewrite(file, entry, local)
            except pa.ArrowException as error:
                raise FileChanged(
                    f"{file.name} cannot be read as Parquet: {error}",
                    remedy="bring back the file as it was written and run 'headwater retry'",
                ) from error
            yield [replace(file, local=local) if rewritten else file]
        finally:
            local.unlink(missing_ok=True)


class VectorFiles(RewrittenFiles):
    """Files with rows that are marked as deleted, or with other names of columns."""

    __slots__ = ()

    def rewrite(self, file: InputFile, entry: FileEntry, local: Path) -> bool:
        """Write the rows that are still there, by the table's names."""
        import pyarrow.parquet as pq

        if entry.path not in self.vectors and not self.names:
            return False
        with pq.ParquetFile(file.local) as opened:
            names, kept = self.columns(opened.schema_arrow, self.schema.names)
            row = 0
            with pq.ParquetWriter(local, kept, compression="none") as writer:
                for batch in opened.iter_batches(BATCH_ROWS, columns=names):
                    plain = self.named(batch, kept)
                    mask = self.present(entry, row, batch.num_rows)
                    row += batch.num_rows
                    writer.write_batch(plain if mask is None else plain.filter(mask))
        return True


def without_views(schema: pa.Schema) -> pa.Schema:
    """The same columns in types that rows can be filtered by: views have no such kernel."""
    return pa.schema([pa.field(item.name, _without_views(item.type)) for item in schema])


def _without_views(kind: Any) -> Any:
    if str(kind) in {"string_view", "binary_view"}:
        return pa.string() if str(kind) == "string_view" else pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, _without_views(part.type)) for part in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("item", _without_views(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_without_views(kind.key_type), _without_views(kind.item_type))
    return kind
