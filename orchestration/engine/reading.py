"""Which reader a format has, and the SELECT over what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.feed import FILE_TYPE, Reader
from orchestration.engine.json_cut import cut_columns
from orchestration.engine.statements import INPUT, json_source, plain_source

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from orchestration.engine.base import FilesInput
    from orchestration.engine.spared import Spared

__all__ = ["reader_of", "source_of"]


def reader_of(given: FilesInput, spared: Spared | None = None) -> Reader:
    """The reader of the input's format.

    Args:
        given: The files.
        spared: Columns that it need not make for every row.

    Raises:
        SchemaError: The format cannot carry a column's type.
    """
    schema = _data_schema(given)
    if given.format.changes is not None:
        from orchestration.engine.cdc.reader import change_reader

        return change_reader(schema, given.format)
    if given.format.name == "parquet":
        from orchestration.engine.parquet_files import ParquetFiles

        return ParquetFiles(schema, given.format)
    if given.format.name == "csv":
        from orchestration.engine.csv_files import CsvFiles

        return CsvFiles(schema, given.format)
    from orchestration.engine.json_files import JsonFiles

    return JsonFiles(schema, given.format, spared)


def source_of(
    given: FilesInput,
    *,
    barrier: bool = True,
    only: Collection[str] | None = None,
    besides: Sequence[str] = (),
    relation: str = INPUT,
) -> tuple[pa.Schema, str]:
    """Columns that the stream starts with, and the SELECT that gives them.

    Args:
        given: The files.
        barrier: See :func:`.statements.json_source`.
        only: Names of the columns that are wanted; ``None`` for all. The others are proved like
            these, and not made.
        besides: More columns that stand in the relation and are wanted, at the end.
        relation: Where the reader's columns are.
    """
    fields: list[pa.Field[Any]] = list(given.schema)
    others = list(given.partition_columns)
    if given.format.rescue:
        fields.append(pa.field("_rescued", pa.string()))
    if given.format.metadata:
        fields.append(pa.field("_file", FILE_TYPE))
        others.append("_file")
    if only is not None:
        fields = [item for item in fields if item.name in only]
        others = [name for name in others if name in only]
    schema = pa.schema(fields)
    order = [*schema.names, *besides]
    if given.format.name == "parquet" or given.format.changes is not None:
        return schema, plain_source(order, relation)
    columns = pa.schema([item for item in fields if item.name not in others])
    cut = cut_columns(_data_schema(given)) if given.format.name == "json" else None
    others += besides
    return schema, json_source(columns, others, order, barrier=barrier, relation=relation, cut=cut)


def _data_schema(given: FilesInput) -> pa.Schema:
    """Columns that stand in the files."""
    path = set(given.partition_columns)
    return pa.schema([item for item in given.schema if item.name not in path])
