"""Ids of stateful operators: by kind, inputs before what stands over them.

An id says nothing of stateless operators, so adding one changes none. State is kept under ids.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from orchestration.streams.operators import (
    Aggregate,
    ApplyWithState,
    DropDuplicates,
    Limit,
    WithWatermark,
)
from orchestration.streams.plan import Chain, JoinRoot, UnionRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.streams.operators import Operator

__all__ = ["numbered"]

_WithId = WithWatermark | Aggregate | DropDuplicates | Limit | ApplyWithState

_KINDS: tuple[tuple[type, str], ...] = (
    (WithWatermark, "watermark"),
    (Aggregate, "aggregate"),
    (DropDuplicates, "drop_duplicates"),
    (Limit, "limit"),
    (ApplyWithState, "apply"),
)


def numbered(chain: Chain) -> Chain:
    """A plan with ids: ``watermark-0``, ``aggregate-0``, ``join-0``, ``drop_duplicates-1``."""
    return _numbered(chain, {})


def _numbered(chain: Chain, counters: dict[str, Iterator[int]]) -> Chain:
    root = chain.root
    if isinstance(root, UnionRoot):
        root = UnionRoot(tuple(_numbered(item, counters) for item in root.inputs))
    elif isinstance(root, JoinRoot):
        left = replace(root.left, chain=_numbered(root.left.chain, counters))
        right = replace(root.right, chain=_numbered(root.right.chain, counters))
        root = replace(root, id=_next("join", counters), left=left, right=right)
    return Chain(root, tuple(_with_id(item, counters) for item in chain.operators))


def _with_id(operator: Operator, counters: dict[str, Iterator[int]]) -> Operator:
    if not isinstance(operator, _WithId):
        return operator
    kind = next(name for cls, name in _KINDS if isinstance(operator, cls))
    return replace(operator, id=_next(kind, counters))


def _next(kind: str, counters: dict[str, Iterator[int]]) -> str:
    return f"{kind}-{next(counters.setdefault(kind, count()))}"
