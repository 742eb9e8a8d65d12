"""The logical operators a stream is made of, in the order the user wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

__all__ = ["MapBatches", "Operator", "Select", "Where"]


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the rows for which an SQL condition is true."""

    expression: str


@dataclass(frozen=True, slots=True)
class Select:
    """Replace the columns by named SQL expressions, in this order."""

    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MapBatches:
    """Replace the rows of each Arrow table by what a function makes of them.

    Attributes:
        function: Called with tables of bounded size; has no say over where they are cut.
        schema: What it returns.
    """

    function: Callable[[pa.Table], pa.Table]
    schema: pa.Schema


Operator = Where | Select | MapBatches
