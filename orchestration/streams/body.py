"""What a stream is made of: what it starts with, its steps, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.streams.operators import MapBatches, Where
from orchestration.streams.plan import Chain
from orchestration.streams.roots import Input, SourceInput, not_known
from orchestration.streams.showing import described, shown_step
from orchestration.streams.steps import SelectStep, Step, apply_step
from orchestration.streams.volatility import volatile

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from orchestration.streams.operators import Operator
    from orchestration.streams.scope import Scope
    from orchestration.streams.source import StreamSource

__all__ = ["Body"]


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A stream without its verbs.

    Attributes:
        start: What it starts with.
        steps: What is done to the rows, as it was written.
        operators: What that comes to; ``None`` where it is not known yet.
        scope: What is known after the last step.
    """

    start: Input
    steps: tuple[Step, ...]
    operators: tuple[Operator | None, ...]
    scope: Scope

    @classmethod
    def made(cls, start: Input, steps: tuple[Step, ...] = ()) -> Body:
        """A stream of steps, each checked.

        Raises:
            DeclarationError: A step cannot stand where it does.
        """
        body = cls(start, (), (), start.scope)
        for step in steps:
            body = body.then(step)
        return body

    def then(self, step: Step) -> Body:
        """With one more step.

        Raises:
            DeclarationError: It cannot stand here.
        """
        operator, scope = apply_step(step, self.scope)
        return Body(self.start, (*self.steps, step), (*self.operators, operator), scope)

    def bound(self, schemas: Mapping[str, pa.Schema]) -> Body:
        """Over columns that are known now, by name of source or static table.

        Raises:
            DeclarationError: A step does not fit them.
        """
        return Body.made(self.start.bound(schemas), self.steps)

    def moved(self, sources: Mapping[str, StreamSource]) -> Body:
        """Over other sources, by name of those that are replaced.

        Raises:
            DeclarationError: A step does not fit them.
        """
        return Body.made(self.start.moved(sources), self.steps)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of its columns; ``None`` as long as they are not known."""
        return None if self.scope.columns is None else self.scope.columns.names

    @property
    def is_static(self) -> bool:
        """Whether it has no source."""
        return not self.start.sources

    @property
    def is_plain(self) -> bool:
        """Whether it is one source with operators that look at one row, and nothing else."""
        return isinstance(self.start, SourceInput) and all(
            isinstance(step, Where | SelectStep | MapBatches) for step in self.steps
        )

    def known_operators(self) -> tuple[Operator, ...]:
        """What the steps come to.

        Raises:
            DeclarationError: A star cannot be spelled out before the schema is known.
        """
        known = tuple(operator for operator in self.operators if operator is not None)
        if len(known) < len(self.operators):
            raise not_known(self.start)
        return known

    def chain(self) -> Chain:
        """The plan as it was written, without ids.

        Raises:
            DeclarationError: Columns are not known yet.
        """
        return Chain(self.start.root(), self.known_operators())

    def volatile(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Columns (lower case to name) and conditions that depend on when a batch ran."""
        columns, filters = self.start.volatile()
        found, more = volatile(self._shown_steps(), columns)
        return found, (*filters, *more)

    def described(self) -> list[dict[str, Any]]:
        """Its steps as JSON, what it is joined or put together with as one of them."""
        return [*self.start.described(), *map(described, self._shown_steps())]

    def described_part(self) -> dict[str, Any]:
        """The stream as JSON, as a part of another: its sources by name only."""
        return {
            "sources": [item.name for item in (*self.start.sources, *self.start.statics)],
            "operators": self.described(),
        }

    def shown(self) -> str:
        """The stream as it is written in Python."""
        steps = "".join(f"\n  {shown_step(step)}" for step in self._shown_steps())
        return self.start.shown() + steps

    def _shown_steps(self) -> tuple[Step | Operator, ...]:
        """Steps as the engine gets them, as written where that is not known yet."""
        return tuple(
            step if operator is None else operator
            for step, operator in zip(self.steps, self.operators, strict=True)
        )
