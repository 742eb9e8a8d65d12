"""Event time that only the engine knows the type of."""

from __future__ import annotations

import pytest

from orchestration import stream, window
from orchestration.errors import ExpressionError
from orchestration.testing import MemoryStream, StreamTest


@pytest.mark.parametrize("computed", ["coalesce(day, day)", "if(v > 1, day, day)"])
def test_a_computed_event_time_that_is_no_moment_is_refused(computed: str) -> None:
    source = MemoryStream({"day": "DATE", "v": "BIGINT"})
    query = (
        stream(source)
        .select("v", t=computed)
        .with_watermark("t", "1 second")
        .group_by(window("t", "1 minute"))
        .agg(n="count(*)")
    )

    with pytest.raises(ExpressionError, match=r"is a TIMESTAMPTZ, and this is DATE") as caught:
        StreamTest(query, output_mode="append").drain()

    assert "to_timestamp" in (caught.value.remedy or "")


def test_a_computed_moment_serves() -> None:
    source = MemoryStream({"seconds": "BIGINT"})
    query = (
        stream(source)
        .select(t="coalesce(to_timestamp(seconds), to_timestamp(0))")
        .with_watermark("t", "1 second")
        .group_by(window("t", "1 minute"))
        .agg(n="count(*)")
    )
    test = StreamTest(query, output_mode="append")
    source.add([{"seconds": 10}, {"seconds": 200}])

    rows = [row for batch in test.drain() for row in batch.rows]

    assert [row["n"] for row in rows] == [1]
