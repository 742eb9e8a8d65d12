"""The job ``maintain_<name>``."""

import dagster as dg
import pytest

from tests.defs.lake import Lake


@pytest.fixture
def lake(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lake(tmp_path, instance)


def maintain(lake, **options):
    job = lake.definitions().resolve_job_def("maintain_clicks")
    return job.execute_in_process(instance=lake.instance, **options)


def test_every_pipeline_has_a_job_that_keeps_its_tables_small(lake):
    for number in range(3):
        lake.land(f"{number}.json", number)
        lake.materialize()
    result = maintain(lake)
    (output,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = output.event_specific_data.metadata
    assert metadata["sink: files"].value == "3 → 1"
    assert lake.ids() == [0, 1, 2]
    lake.land("9.json", 9)
    lake.materialize()
    assert lake.ids() == [0, 1, 2, 9]


def test_it_says_why_it_does_not(lake):
    lake.land("0.json", 0)
    lake.materialize()
    config = {"ops": {"maintain_clicks_tables": {"config": {"retention": "1 hour"}}}}
    with pytest.raises(dg.Failure, match="not safe"):
        maintain(lake, run_config=config)
    with lake.pipeline.query.open() as session, session.store.leases.acquire("clicks", "other"):
        result = maintain(lake, raise_on_error=False)
    assert not result.success
