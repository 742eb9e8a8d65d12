"""Small versions of the soak by event time; `make soak` runs the long ones."""

import pytest

from benchmarks.soak_events import QUERIES, servers, soak_query


def test_a_windowed_query_killed_at_random_equals_its_twin(tmp_path):
    result = soak_query(tmp_path / "soak", "page_views_5m", kills=3, seed=20261125, environment={})
    assert result.kills == 3
    assert result.same, result.verdict


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_thirty_times_with_an_object_store_and_postgresql(tmp_path, name):
    with servers(tmp_path / "servers", s3=True, postgres=True) as environments:
        result = soak_query(tmp_path / "soak", name, 30, 7, next(environments))
    assert result.same, result.verdict
