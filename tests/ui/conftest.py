import pytest

from tests.support.dagster_dev import DagsterDev


@pytest.fixture(scope="session")
def dagster_dev(tmp_path_factory):
    """One `dagster dev` for all tests of what it does and shows."""
    with DagsterDev(tmp_path_factory.mktemp("project")) as running:
        yield running
