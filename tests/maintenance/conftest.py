import pytest

from tests.maintenance.support import at_now
from tests.support.world import World


@pytest.fixture(params=["local", "s3"])
def world(request, tmp_path):
    places = {}
    if request.param == "s3":
        bucket = request.getfixturevalue("s3").uri
        places = {"tables": f"{bucket}/tables", "state": f"{bucket}/state"}
    return at_now(World(tmp_path, **places))


@pytest.fixture
def local(tmp_path):
    return at_now(World(tmp_path))


@pytest.fixture
def no_rewind(monkeypatch):
    """Only the last batch may be gone back to: a test need not run more than twenty."""
    monkeypatch.setattr("orchestration.runtime.table_care.KEPT_VERSIONS", 0)
