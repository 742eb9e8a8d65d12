"""``apply_in_arrow_with_state``: a user's function for each key, with state of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.relation import Relation
    from orchestration.streams.operators import ApplyWithState

__all__ = ["run_apply"]


def run_apply(
    execution: Execution, relation: Relation, operator: ApplyWithState, lag: int
) -> Relation:
    """What the function gives in this batch."""
    raise NotImplementedError
