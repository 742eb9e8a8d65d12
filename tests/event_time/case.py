"""The form of a case: what is added, and every batch that this causes.

A case is data; it runs on any engine that has the verbs (``test_cases.py`` runs it here,
``spark/test_cases_on_spark.py`` on Apache Spark).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.event_time.observed import Observed

__all__ = ["Batch", "Case", "Step", "additions_of", "b", "step", "told"]

Rows = Sequence[Any]


@dataclass(frozen=True)
class Batch:
    """What one batch has to do.

    Attributes:
        rows: Its rows, as tuples of the case's columns; timestamps in seconds.
        wm: The watermark it uses, in seconds.
        late: Rows it drops as late (of sliding windows, once for each).
        st: Rows of state after it; ``None``: not looked at.
    """

    rows: tuple[tuple[Any, ...], ...]
    wm: float = 0
    late: int = 0
    st: int | None = None


@dataclass(frozen=True)
class Step:
    """Rows that are added at once, and the batches that the drain after it runs.

    Attributes:
        add: Source to rows; or the rows of the only source. A row is a tuple in the order of the
            schema, or its only value.
        batches: Every batch, in order.
        before: What happens first: ``restart``, or ``lose <batch id>``.
        once: Drain with ``once()``.
    """

    add: Mapping[str, Rows] | Rows
    batches: tuple[Batch, ...]
    before: tuple[str, ...] = ()
    once: bool = False


@dataclass(frozen=True)
class Case:
    """A query and what it does.

    Attributes:
        name: Its number in the specification, or one of ours, and what it is about.
        query: ``(dialect, **streams) -> stream``; the dialect has ``window`` and the like.
        sources: Source to schema: column to type.
        columns: Those that batches are compared by.
        steps: What happens.
        mode: Output mode.
        policy: Watermark policy.
        no_data_batches: Whether there may be any.
        differs: Why Spark does otherwise, on purpose; ``None`` where it does the same.
    """

    name: str
    query: Callable[..., Any]
    sources: Mapping[str, Mapping[str, str]]
    columns: tuple[str, ...]
    steps: Sequence[Step] = field(kw_only=True)
    mode: str = field(default="append", kw_only=True)
    policy: str = field(default="min", kw_only=True)
    no_data_batches: bool = field(default=True, kw_only=True)
    differs: str | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.name.replace(" ", "_")


def b(*rows: tuple[Any, ...], wm: float = 0, late: int = 0, st: int | None = None) -> Batch:
    """A batch."""
    return Batch(rows, wm, late, st)


def step(
    add: Mapping[str, Rows] | Rows,
    *batches: Batch,
    before: str | tuple[str, ...] = (),
    once: bool = False,
) -> Step:
    """An addition, and the batches it causes."""
    return Step(add, batches, (before,) if isinstance(before, str) else before, once)


def additions_of(case: Case, one: Step) -> dict[str, list[dict[str, Any]]]:
    """The rows of a step, by source, as mappings."""
    add = one.add if isinstance(one.add, Mapping) else {next(iter(case.sources)): one.add}
    return {
        name: [
            dict(zip(case.sources[name], row if isinstance(row, tuple) else (row,), strict=True))
            for row in rows
        ]
        for name, rows in add.items()
    }


def told(case: Case, batch: Batch | Observed, *, like: Batch | None = None) -> str:
    """A batch in the notation of the cases, so that a difference can be read.

    Args:
        case: Whose columns are shown.
        batch: Expected or observed.
        like: The expected one, for what of an observed one is looked at.
    """
    if isinstance(batch, Observed):
        rows = [tuple(row[name] for name in case.columns) for row in batch.rows]
        batch = Batch(
            tuple(rows),
            batch.watermark,
            batch.late,
            batch.state if like is None or like.st is not None else None,
        )
    parts = sorted("(" + ", ".join(_value(value) for value in row) + ")" for row in batch.rows)
    parts.append(f"wm={_value(batch.wm)}")
    if batch.late:
        parts.append(f"late={batch.late}")
    if batch.st is not None:
        parts.append(f"st={batch.st}")
    return f"b({', '.join(parts)})"


def _value(value: Any) -> str:
    if isinstance(value, float | Decimal):
        # Twelve digits: microseconds of small times stay, the last bits of a mean do not.
        value = int(value) if value == int(value) else float(f"{value:.12g}")
    return repr(value)
