"""The logical plan: chains of operators over sources, static tables, joins and unions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestration.streams.operators import (
    Aggregate,
    ApplyChanges,
    ApplyWithState,
    DropDuplicates,
    Limit,
    MapBatches,
    Select,
    Where,
    WithWatermark,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from orchestration.streams.operators import Operator

__all__ = [
    "Chain",
    "JoinHow",
    "JoinRoot",
    "JoinSide",
    "OutputMode",
    "Root",
    "SourceRoot",
    "StaticRoot",
    "UnionRoot",
]

OutputMode = Literal["append", "update", "complete"]
JoinHow = Literal["inner", "left", "right", "full", "semi", "anti"]


@dataclass(frozen=True, slots=True)
class SourceRoot:
    """Rows of a streaming source."""

    name: str
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class StaticRoot:
    """Rows of a static table, all of them in every batch, at the version its plan names."""

    name: str
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class UnionRoot:
    """All rows of several chains, which have the same columns in the same order."""

    inputs: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class JoinSide:
    """One side of a join.

    Attributes:
        chain: Its rows.
        keys: SQL expressions over its columns, equal pairwise with the other side's; a null
            among them never matches.
        event_column: Its watermarked column, by which rows are late; ``None`` without one.
            ``late_expression`` instead, where lateness is that of a window's end.
        late_expression: SQL of type TIMESTAMPTZ over its columns: a row is late when it is not
            after the late watermark; ``None`` where nothing is late.
        expiry_expression: SQL of type BIGINT over its columns, microseconds: a row leaves the
            state when the watermark reaches this; ``None`` where rows stay for ever.
        matches: SQL condition over its columns: a row for which it is not true has no match, so
            it comes out as such at once and is not kept. It stands in the join's condition too.
            ``None`` for all rows. Only on sides whose rows come out without a match.
    """

    chain: Chain
    keys: tuple[str, ...]
    event_column: str | None = None
    late_expression: str | None = None
    expiry_expression: str | None = None
    matches: str | None = None


@dataclass(frozen=True, slots=True)
class JoinRoot:
    """Two inputs joined. A static side is a chain over a :class:`StaticRoot` with stateless operators.

    Attributes:
        id: State is kept under ``<id>.left`` and ``<id>.right``.
        left, right: The sides.
        how: ``semi`` and ``anti`` give the left side's columns only.
        condition: What must hold besides the equal keys, over columns named ``l."x"`` and
            ``r."x"``; ``None`` for nothing.
        columns: Result columns: name, and SQL over ``l."x"`` and ``r."x"``.
        output_lag_us: By how much the watermark after it is behind the one before.
    """

    id: str
    left: JoinSide
    right: JoinSide
    how: JoinHow
    condition: str | None
    columns: tuple[tuple[str, str], ...]
    output_lag_us: int = 0


Root = SourceRoot | StaticRoot | UnionRoot | JoinRoot


@dataclass(frozen=True, slots=True)
class Chain:
    """Rows of ``root``, and what is done to them one operator after another."""

    root: Root
    operators: tuple[Operator, ...] = ()

    @property
    def inputs(self) -> tuple[Chain, ...]:
        """The chains its root is made of."""
        if isinstance(self.root, UnionRoot):
            return self.root.inputs
        if isinstance(self.root, JoinRoot):
            return (self.root.left.chain, self.root.right.chain)
        return ()

    def walk(self) -> Iterator[Chain]:
        """This chain and those below it, inputs first."""
        for chain in self.inputs:
            yield from chain.walk()
        yield self

    @property
    def is_static(self) -> bool:
        """Whether no source is below it."""
        return not any(isinstance(chain.root, SourceRoot) for chain in self.walk())

    @property
    def is_plain(self) -> bool:
        """Whether it is one source with stateless operators and nothing else."""
        return isinstance(self.root, SourceRoot) and all(
            isinstance(operator, Where | Select | MapBatches) for operator in self.operators
        )

    def stateful_ids(self) -> tuple[str, ...]:
        """Ids of stateful operators, inputs first; a join of two streams is one."""
        found: list[str] = []
        for chain in self.walk():
            if isinstance(chain.root, JoinRoot) and not any(
                side.is_static for side in chain.inputs
            ):
                found.append(chain.root.id)
            found += [
                operator.id
                for operator in chain.operators
                if isinstance(
                    operator, Aggregate | DropDuplicates | Limit | ApplyWithState | ApplyChanges
                )
            ]
        return tuple(found)

    @property
    def changes(self) -> ApplyChanges | None:
        """How its rows are applied to the sink's table as changes; ``None`` where they are not."""
        last = self.operators[-1] if self.operators else None
        return last if isinstance(last, ApplyChanges) else None

    def watermarks(self) -> tuple[WithWatermark, ...]:
        """Every place where event time is measured, inputs first."""
        return tuple(
            operator
            for chain in self.walk()
            for operator in chain.operators
            if isinstance(operator, WithWatermark)
        )
