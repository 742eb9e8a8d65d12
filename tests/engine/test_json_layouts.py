"""Layouts that several threads learn at once."""

from __future__ import annotations

import numpy as np

from orchestration.engine.json_layouts import Layouts
from orchestration.streams.schema import parse_schema


def test_a_layout_that_another_thread_has_just_learned_is_used() -> None:
    """Else a whole chunk would be read line by line."""
    data = b"".join(b'{"page":"p%d","n":%d}\n' % (n, n) for n in range(500))
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate(([0], ends))
    open_ = np.ones(500, dtype=bool)
    layouts = Layouts(parse_schema({"page": "VARCHAR", "n": "BIGINT"}), rescue=False)
    rows: list[int] = []

    def meanwhile(_: bytes) -> bool:
        if not rows:
            rows.append(0)
            ((_, numbers),) = layouts.cut(data, offsets, open_, lambda _: True)
            rows[0] = len(numbers)
        return True

    ((_, numbers),) = layouts.cut(data, offsets, open_, meanwhile)

    assert rows == [500]
    assert numbers.tolist() == list(range(1, 501))
