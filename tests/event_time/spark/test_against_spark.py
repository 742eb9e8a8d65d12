"""Apache Spark as the judge: random streams, batch for batch, and the case table itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.event_time.case import Batch, additions_of, told
from tests.event_time.cases import CASES
from tests.event_time.run import kit, observe
from tests.event_time.spark.random_streams import KINDS, random_case

#: Streams of each kind: in ``make test``, and in the long version.
_FEW, _MANY = 1, 14


def _seeds(numbers):
    return pytest.mark.parametrize(
        ("kind", "seed"), [(kind, seed) for seed in numbers for kind in KINDS]
    )


@_seeds(range(_FEW))
def test_a_random_stream(play, tmp_path, kind, seed):
    _agree(play, tmp_path, kind, seed)


@pytest.mark.slow
@_seeds(range(_FEW, _MANY))
def test_many_random_streams(play, tmp_path, kind, seed):
    _agree(play, tmp_path, kind, seed)


def _agree(play, tmp_path, kind, seed):
    made = random_case(kind, seed)
    case = made.case
    test, sources = kit(
        case.query,
        case.sources,
        tmp_path,
        output_mode=case.mode,
        watermark_policy=case.policy,
        no_data_batches=case.no_data_batches,
        home=tmp_path / "home",
    )
    ours = []
    for number, step in enumerate(case.steps):
        if number in made.restarts:
            test.restart()
        for name, rows in additions_of(case, step).items():
            sources[name].add(rows)
        ours.append([observe(batch) for batch in test.drain()])
    spark = _on_spark(play, case)
    shown = [
        f"{made.about}; policy {case.policy}, no-data batches: {case.no_data_batches}",
        *(f"  {step.add}" for step in case.steps),
    ]
    for number, (mine, wanted) in enumerate(zip(ours, spark, strict=True)):
        assert [_shown(made, batch) for batch in mine] == [
            _shown(made, batch) for batch in wanted
        ], "\n".join([f"after addition {number} (ours, then Spark's)", *shown])


def _shown(made, batch):
    """Rows, watermark and, where they are counted alike, late rows and rows of state."""
    late = min(batch.late, 1) if made.counts_groups else batch.late
    like = None if made.state else Batch(())
    return told(made.case, replace(batch, late=late), like=like)


def _on_spark(play, case):
    return play(
        case.query,
        case.sources,
        [additions_of(case, step) for step in case.steps],
        mode=case.mode,
        watermark_policy=case.policy,
        no_data_batches=case.no_data_batches,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.differs is None], ids=str)
def test_a_case_of_the_table(play, case):
    found, wanted = [], []
    for step, batches in zip(case.steps, _on_spark(play, case), strict=True):
        wanted.append([told(case, _late_or_not(batch)) for batch in step.batches])
        likes = [*step.batches, *[None] * len(batches)]
        found.append(
            [
                told(case, _late_or_not(batch), like=like)
                for batch, like in zip(batches, likes, strict=False)
            ]
        )
    assert found == wanted


def _late_or_not(batch):
    # Spark counts late groups where we count late rows: that there are any must agree.
    return replace(batch, late=min(batch.late, 1))
