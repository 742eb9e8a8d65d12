"""What a user says of the table a query writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestration.errors import DeclarationError, OutputModeError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DeltaSink", "OnLate", "OutputMode", "SchemaEvolution", "delta_sink"]

OutputMode = Literal["append", "update", "complete"]
SchemaEvolution = Literal["fail", "add_columns"]
OnLate = Literal["table", "drop"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_OUTPUT_MODES = ("append", "update", "complete")
_EVOLUTIONS = ("fail", "add_columns")
_ON_LATE = ("table", "drop")

DEFAULT_TARGET_FILE_SIZE = 128 * 1024 * 1024
_SMALLEST_FILE_SIZE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DeltaSink:
    """A Delta table as the target of a query. Made by :func:`delta_sink`."""

    table: str
    output_mode: OutputMode = "append"
    partition_by: tuple[str, ...] = ()
    target_file_size: int = DEFAULT_TARGET_FILE_SIZE
    schema_evolution: SchemaEvolution = "fail"
    on_late: OnLate = "table"

    @property
    def mode(self) -> str:
        """How its table follows the stream, in a word: the output mode, or the type of changes."""
        return self.output_mode

    @property
    def is_location(self) -> bool:
        """True when ``table`` is a path or URI of its own, not a name under the tables root."""
        return "/" in self.table


def delta_sink(
    table: str,
    *,
    output_mode: OutputMode = "append",
    partition_by: str | Sequence[str] = (),
    target_file_size: int = DEFAULT_TARGET_FILE_SIZE,
    schema_evolution: SchemaEvolution = "fail",
    on_late: OnLate = "table",
) -> DeltaSink:
    """Write a query's rows to a Delta table, each batch in one commit.

    Args:
        table: A name, which lives under ``HEADWATER_TABLES``; or, with a ``/`` in it, a local
            path or an ``s3://bucket/prefix``. One query writes one table; a table that another
            query owns is refused.
        output_mode: ``append`` adds each batch's rows, and of an aggregation each group once,
            when its window closes. ``update`` writes the groups that a batch changed and takes
            out what the table held under their keys, in the same commit; only files that hold
            one of these keys are written anew. Without an aggregation it is ``append``.
            ``complete`` replaces the whole table by all groups, in one commit; it needs an
            aggregation.
        partition_by: Columns whose values become directories. Few values each: every batch
            writes at least one file per value it holds. In ``update`` mode keys among them save
            looking into other directories. Delta keeps an empty text there as null.
        target_file_size: Bytes at which a new Parquet file is begun, 1 MiB at least. Smaller
            files cost readers and every later commit; larger ones cost upserts.
        schema_evolution: What to do when the query has columns that the table lacks:
            ``fail`` refuses before anything is written; ``add_columns`` adds them, null in
            older rows. Types never change.
        on_late: What becomes of rows that come after their window closed: ``table`` keeps them
            in a table of their own, named like this one with ``__late`` behind; ``drop`` only
            counts them.

    Raises:
        DeclarationError: A value makes no sense.
        OutputModeError: The output mode is unknown.
    """
    if "/" not in table and not _NAME.fullmatch(table):
        raise DeclarationError(
            f"{table!r} is not a table name",
            remedy="use letters, digits, '_', '-' and '.', or give a path or s3:// URI",
        )
    if output_mode not in _OUTPUT_MODES:
        raise OutputModeError(
            f"output_mode={output_mode!r} is unknown", remedy=f"choose one of {_OUTPUT_MODES}"
        )
    if schema_evolution not in _EVOLUTIONS:
        raise DeclarationError(
            f"schema_evolution={schema_evolution!r} is unknown",
            remedy=f"choose one of {_EVOLUTIONS}",
        )
    if on_late not in _ON_LATE:
        raise DeclarationError(
            f"on_late={on_late!r} is unknown", remedy=f"choose one of {_ON_LATE}"
        )
    if target_file_size < _SMALLEST_FILE_SIZE:
        raise DeclarationError(
            f"target_file_size={target_file_size} is below 1 MiB",
            remedy="files that small make every later commit slower; give at least 1048576",
        )
    columns = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    if len({name.lower() for name in columns}) != len(columns):
        raise DeclarationError(f"partition_by={columns} names a column twice")
    return DeltaSink(table, output_mode, columns, target_file_size, schema_evolution, on_late)
