"""Joins of two inputs; the streams among them remember their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.relation import Relation
    from orchestration.streams.plan import JoinRoot

__all__ = ["run_join"]


def run_join(execution: Execution, root: JoinRoot, left: Relation, right: Relation) -> Relation:
    """What a join gives in this batch."""
    raise NotImplementedError
