"""JSON objects from columns of texts, a column at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["json_objects"]

_QUOTE, _BACKSLASH, _SPACE = 0x22, 0x5C, 0x20
_SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def json_objects(names: Sequence[str], columns: Sequence[Any], rows: int) -> Any:
    """A text column of JSON objects whose values are all texts or null.

    Args:
        names: Keys, in order.
        columns: Arrow arrays of text, one a key.
        rows: Their length; needed where there is no column.
    """
    if not names:
        return pa.array(["{}"] * rows, pa.string())
    pieces: list[Any] = []
    fixed = "{"
    for name, column in zip(names, columns, strict=True):
        key = json.dumps(name, ensure_ascii=False)
        text = _escaped(column)
        if column.null_count == rows:
            fixed += f"{key}:null,"
            continue
        if column.null_count:
            quoted = pc.binary_join_element_wise('"', text, '"', "")
            pieces += [fixed + f"{key}:", pc.fill_null(quoted, "null")]
            fixed = ","
        else:
            pieces += [fixed + f'{key}:"', text]
            fixed = '",'
    # The last comma closes the object instead.
    end = fixed.removesuffix(",") + "}"
    if not pieces:
        return pa.array([end] * rows, pa.string())
    join: Any = pc.binary_join_element_wise
    return join(*pieces, end, "")


def _escaped(column: Any) -> Any:
    """The texts as they stand between the quotes of JSON."""
    data = _bytes(column)
    special = (data < _SPACE) | (data == _QUOTE) | (data == _BACKSLASH)
    if not special.any():
        return column
    found = set(np.unique(data[special]).tolist())
    replace: Any = pc.replace_substring
    if _BACKSLASH in found:
        column = replace(column, "\\", "\\\\")
    if _QUOTE in found:
        column = replace(column, '"', '\\"')
    for code in sorted(found - {_BACKSLASH, _QUOTE}):
        char = chr(code)
        column = replace(column, char, _SHORT.get(char, f"\\u{code:04x}"))
    return column


def _bytes(column: Any) -> Any:
    """The bytes of a text array that starts at its buffers' start."""
    data = column.buffers()[2]
    offsets = column.buffers()[1]
    if data is None or offsets is None or not len(column):
        return np.zeros(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
