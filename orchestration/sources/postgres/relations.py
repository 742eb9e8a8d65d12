"""Which shape each row of the log has: a table may change its columns in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestration.sources.postgres.wire import (
    DELETE,
    INSERT,
    RELATION,
    UPDATE,
    Block,
    Cursor,
    RelationMessage,
    be32,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Relations"]


class Relations:
    """The tables as the messages so far describe them; feed it block after block, in order."""

    def __init__(self) -> None:
        self.now: dict[int, RelationMessage] = {}

    def groups(self, block: Block, keep: Any) -> Iterator[tuple[RelationMessage, Any]]:
        """Inserts, updates and deletes by table and shape.

        Args:
            block: The next messages.
            keep: Which of them count, one truth value a message.

        Yields:
            A shape, and the numbers of the messages whose rows have it, ascending. Shapes of one
            table come in the order of the log.
        """
        data, starts = block.bytes, block.starts
        kinds = data[starts]
        told: dict[int, list[tuple[int, RelationMessage]]] = {}
        for number in np.flatnonzero(kinds == RELATION).tolist():
            relation = Cursor(block.data, int(starts[number]) + 1).relation()
            told.setdefault(relation.oid, []).append((number, relation))
        rows = np.flatnonzero(
            ((kinds == INSERT) | (kinds == UPDATE) | (kinds == DELETE)) & np.asarray(keep)
        )
        oids = be32(data, starts[rows] + 1)
        for oid in np.unique(oids).tolist():
            mine = rows[oids == oid]
            news = told.get(oid, [])
            cuts = np.searchsorted(mine, [number for number, _ in news]).tolist()
            shapes = [self.now.get(oid), *(relation for _, relation in news)]
            for shape, first, last in zip(shapes, [0, *cuts], [*cuts, len(mine)], strict=True):
                if shape is not None and last > first:
                    yield shape, mine[first:last]
        for oid, news in told.items():
            self.now[oid] = news[-1][1]
