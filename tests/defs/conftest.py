import dagster as dg
import pytest

from tests.defs.lake import Lake


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def lake(tmp_path, instance):
    """Makes a lake; what it is given are options of ``pipeline``, and ``source=`` of ``files``."""
    return lambda **options: Lake(tmp_path, instance, **options)
