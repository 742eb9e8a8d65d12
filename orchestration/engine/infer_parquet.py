"""The schema of Parquet files, in types that a Delta table keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.sources.arrow_types import kept_type, wider_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestration.engine.base import InputFile

__all__ = ["parquet_schema"]


def parquet_schema(files: Iterable[InputFile]) -> pa.Schema | None:
    """Columns of all the files that can be read; ``None`` where none can.

    Raises:
        SchemaError: A column has a type that no table keeps, or two that no third one holds.
    """
    found: dict[str, pa.Field[Any]] = {}
    for file in files:
        try:
            schema = pq.read_schema(file.local)
        except (OSError, pa.ArrowException):
            continue
        for item in schema:
            wanted = pa.field(item.name, kept_type(item.name, item.type))
            before = found.setdefault(item.name, wanted)
            if before.type != wanted.type:
                found[item.name] = pa.field(
                    item.name, wider_type(item.name, before.type, wanted.type)
                )
    return pa.schema(list(found.values())) if found else None
