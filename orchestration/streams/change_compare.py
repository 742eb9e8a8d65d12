"""Whether a table that one declaration filled with changes can be gone on with by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["compare_changes"]

#: Decides which row a change is about, or which of two is the newer: with another one, the table
#: and the memory would mean something else.
_REFUSED = ("keys", "sequence_by")
#: Columns of the table itself, which are compared as such.
_COLUMNS = ("columns", "except_columns", "soft_delete", "scd_type")
_SAID = {
    "delete_when": "which changes delete",
    "apply_truncates": "whether truncates are applied",
    "ignore_null_updates": "in which columns null means as before",
    "track_columns": "track_columns",
    "track_columns_except": "track_columns_except",
    "full_snapshots": "whether each sequence is a full snapshot",
    "retention_us": "tombstone_retention in microseconds",
}


def compare_changes(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    refused: list[str],
    accepted: list[str],
) -> None:
    """Name every difference.

    Args:
        old, new: As :meth:`orchestration.streams.change_resolving.Changes.described` gives them;
            ``None`` for a table that follows no changes.
        refused: Gets what the table cannot follow, a sentence each.
        accepted: Gets what it can.
    """
    if old is None or new is None:
        return  # said by the output mode
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was == now or key in _COLUMNS:
            continue
        line = f"{_SAID.get(key, key)} was {_text(was)} and is {_text(now)}"
        if key in _REFUSED:
            refused.append(line)
        else:
            accepted.append(f"{line}; changes from now on go by it")


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
