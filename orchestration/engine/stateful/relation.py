"""Rows on their way through a plan: a SELECT, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.streams.batch_time import bind_batch_timestamp
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import pyarrow as pa

    from orchestration.streams.operators import Select, Where

__all__ = ["Relation"]


@dataclass(frozen=True, slots=True)
class Relation:
    """A SELECT.

    Attributes:
        sql: Its text. It gives the columns of ``schema`` and the hidden ones.
        schema: Columns that expressions may name.
        hidden: Columns of ours that go along: arrival order, event times to be measured.
        streamed: It reads an input that can be read once: keep it in a table to read it twice.
        order: ``ORDER BY`` of a complete result.
    """

    sql: str
    schema: pa.Schema
    hidden: tuple[str, ...] = ()
    streamed: bool = False
    order: str | None = None

    @property
    def numbered(self) -> bool:
        """Whether the arrival order of rows is known."""
        return SEQUENCE in self.hidden

    @property
    def measured(self) -> tuple[str, ...]:
        """The hidden columns that are event times to be measured."""
        return tuple(name for name in self.hidden if name != SEQUENCE)

    def listed(self, names: Iterable[str] | None = None) -> str:
        """Its columns, or some of them, and the hidden ones, for a SELECT."""
        chosen = self.schema.names if names is None else list(names)
        return ", ".join([*(quote_identifier(name) for name in chosen), *self.hidden])

    def where(self, operator: Where, timestamp: datetime) -> Relation:
        """Only the rows that meet a condition."""
        condition = bind_batch_timestamp(operator.expression, timestamp)
        # The line break ends a comment that the user's text may end with.
        return replace(self, sql=f"SELECT * FROM ({self.sql}) WHERE (\n{condition}\n)")

    def filtered(self, condition: str) -> Relation:
        """Only the rows that meet a condition of ours, or one that knows no time."""
        return replace(self, sql=f"SELECT * FROM ({self.sql}) WHERE (\n{condition}\n)")

    def select(self, operator: Select, schema: pa.Schema, timestamp: datetime) -> Relation:
        """Other columns; the hidden ones go along."""
        columns = [
            f"(\n{bind_batch_timestamp(text, timestamp)}\n) AS {quote_identifier(name)}"
            for name, text in operator.columns
        ]
        listed = ", ".join([*columns, *self.hidden])
        return replace(self, sql=f"SELECT {listed} FROM ({self.sql})", schema=schema)

    def with_hidden(self, name: str, expression: str) -> Relation:
        """One more hidden column."""
        sql = f"SELECT *, {expression} AS {name} FROM ({self.sql})"
        return replace(self, sql=sql, hidden=(*self.hidden, name))
