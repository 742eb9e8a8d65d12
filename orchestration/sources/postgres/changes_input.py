"""Rows of the change log on their way to an engine: small Parquet files, one ahead of the reader."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestration.sources.inputs import FileFormat, InputFile
from orchestration.sources.postgres.rows import CHANGE_SCHEMA
from orchestration.sources.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa

__all__ = ["ChangesInput"]

_PLAIN = FileFormat("parquet")
_REPEATED = ["_op", "_transaction", "_table"]  # few values: small and quick as dictionaries


@dataclass(slots=True)
class ChangesInput:
    """A ``FilesInput`` over rows that are decoded while they are read.

    Attributes:
        name: What the user calls them.
        modified: When they were planned to be read, or so.
        batches: Decodes them, from the start each time.
        spool_dir: Where the files may lie; two at a time.
    """

    name: str
    modified: datetime
    batches: Callable[[], Iterator[pa.RecordBatch]]
    spool_dir: Path
    schema: pa.Schema = field(default_factory=lambda: CHANGE_SCHEMA)
    format: FileFormat = _PLAIN
    partition_columns: tuple[str, ...] = ()
    missing: Sequence[str] = ()

    def groups(self) -> Iterator[AbstractContextManager[Sequence[InputFile]]]:
        """A file at a time; the next is written while this one is read."""
        with open_spool(self.spool_dir) as directory:
            written = self._written(directory)
            pool = ThreadPoolExecutor(1, thread_name_prefix="headwater-decode")
            try:
                coming = pool.submit(next, written, None)
                while (path := coming.result()) is not None:
                    coming = pool.submit(next, written, None)
                    yield self._group(path)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                written.close()

    def _written(self, directory: Path) -> Generator[Path]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for number, batch in enumerate(self.batches()):
            if batch.num_rows:
                path = directory / f"{number:06d}.parquet"
                write: Any = pq.write_table
                write(
                    pa.Table.from_batches([batch]),
                    path,
                    compression="none",
                    use_dictionary=_REPEATED,
                    write_statistics=False,
                )
                yield path

    @contextmanager
    def _group(self, path: Path) -> Iterator[Sequence[InputFile]]:
        try:
            yield [InputFile(path, self.name, path.stat().st_size, self.modified)]
        finally:
            path.unlink(missing_ok=True)
