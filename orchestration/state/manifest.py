"""A version of the state: which immutable files it is made of.

Version N belongs to batch N and is made from version N-1. Most files are shared between
versions; a version is its manifest, a small JSON document that the batch's seal names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from orchestration.errors import CursorStoreError

__all__ = ["NEVER", "OperatorState", "Run", "StateVersion"]

_VERSION = 1

#: Expiry of what no watermark ever lets go, microseconds: after every possible time.
NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Run:
    """An immutable Parquet file with rows of one operator's state, sorted by expiry and key hash.

    Attributes:
        path: Relative to the generation's directory.
        rows, bytes: Its size.
        level: How often its rows were merged: runs of one level are about equally large.
        first_batch, last_batch: Batches its rows come from; runs of an operator never overlap.
        min_expiry, max_expiry: Microseconds; a row is dead once the watermark reaches its own.
        hash_name: Which hash function its key hashes are of; another engine's are not compared.
        part: Which of the operator's tables it belongs to: a join has two.
    """

    path: str
    rows: int
    bytes: int
    level: int
    first_batch: int
    last_batch: int
    min_expiry: int
    max_expiry: int
    hash_name: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class OperatorState:
    """The state of one operator.

    Attributes:
        rows: Live rows, as the operator counts them: groups, keys, sessions, joined rows.
        runs: Its files, oldest first.
        facts: Anything small that it keeps besides, JSON.
    """

    rows: int = 0
    runs: tuple[Run, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of its files."""
        return sum(run.bytes for run in self.runs)

    def of(self, part: str) -> tuple[Run, ...]:
        """The runs of one of its tables."""
        return tuple(run for run in self.runs if run.part == part)


@dataclass(frozen=True, slots=True)
class StateVersion:
    """The state of a query after one batch.

    Attributes:
        batch_id: The batch that made it.
        watermark_ms: Its watermark: rows that expire by then are dead.
        operators: By operator id.
    """

    batch_id: int
    watermark_ms: int
    operators: dict[str, OperatorState] = field(default_factory=dict)

    @property
    def paths(self) -> frozenset[str]:
        """All files it is made of."""
        return frozenset(run.path for state in self.operators.values() for run in state.runs)

    def to_bytes(self) -> bytes:
        """The manifest."""
        value = {"version": _VERSION, **asdict(self)}
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Self:
        """Inverse of :meth:`to_bytes`.

        Raises:
            CursorStoreError: It is damaged, or of a later version.
        """
        try:
            value = json.loads(data)
            if value["version"] > _VERSION:
                raise CursorStoreError(
                    f"{name} is state of format {value['version']}; this Headwater reads "
                    f"{_VERSION}",
                    remedy="install the Headwater that wrote it, or a newer one",
                )
            return cls(
                value["batch_id"],
                value["watermark_ms"],
                {
                    key: OperatorState(
                        item["rows"],
                        tuple(Run(**run) for run in item["runs"]),
                        item["facts"],
                    )
                    for key, item in value["operators"].items()
                },
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CursorStoreError(
                f"{name} is no state manifest ({error})",
                remedy="bring the state directory back from a backup, or reset the query",
            ) from error
