"""Every case of the table, batch for batch: rows, watermark, late rows, state."""

from __future__ import annotations

import pytest

from tests.event_time.case import told
from tests.event_time.cases import CASES
from tests.event_time.run import kit, run_steps


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case, tmp_path):
    test, sources = kit(
        case.query,
        case.sources,
        tmp_path,
        output_mode=case.mode,
        watermark_policy=case.policy,
        no_data_batches=case.no_data_batches,
        home=tmp_path / "home",
    )
    found, wanted = [], []
    for step, batches in run_steps(case, test, sources):
        wanted.append([told(case, batch) for batch in step.batches])
        likes = [*step.batches, *[None] * len(batches)]
        found.append(
            [told(case, batch, like=like) for batch, like in zip(batches, likes, strict=False)]
        )
    assert found == wanted


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
