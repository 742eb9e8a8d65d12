"""``map_batches`` over a scratch table, a page of rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.mapping import mapped
from orchestration.engine.stateful.relation import Relation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from orchestration.engine.stateful.execution import Execution
    from orchestration.streams.operators import MapBatches

__all__ = ["mapped_pages"]

_PAGE = 65_536  # rows that a function is given at most


def mapped_pages(execution: Execution, relation: Relation, operator: MapBatches) -> Relation:
    """What the function makes of the rows, in a table of its own."""
    tables = execution.tables
    listed = Relation("", relation.schema).listed()
    source = tables.create(f"SELECT {listed} FROM ({relation.sql})")
    count = int(tables.value(f"SELECT count(*) FROM {source}"))
    target: str | None = None
    for page in _pages(execution, source, count):
        reader = mapped(page.to_reader(), operator, execution.caught)
        name = tables.register(reader)
        if target is None:
            target = tables.create(f"SELECT * FROM {name}")
        else:
            tables.connection.execute(f"INSERT INTO {target} SELECT * FROM {name}")
    if target is None:
        target = tables.register(operator.schema.empty_table())
    return Relation(f"SELECT * FROM {target}", operator.schema)


def _pages(execution: Execution, source: str, count: int) -> Iterator[pa.Table]:
    for first in range(0, count, _PAGE):
        yield execution.tables.connection.sql(
            f"SELECT * FROM {source} WHERE rowid >= {first} AND rowid < {first + _PAGE}"
        ).to_arrow_table()
