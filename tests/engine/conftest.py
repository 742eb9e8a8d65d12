import pytest

from orchestration.engine.duckdb import DuckDBEngine
from tests.engine.support import Files, run


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    engine = DuckDBEngine("512MiB", 2, tmp_path_factory.mktemp("spill"))
    yield engine
    engine.close()


@pytest.fixture
def ingest(engine, tmp_path):
    """Write bytes to a file and read them as one batch."""

    def go(data, schema, operators=(), *, name="in.json", job=None, **format_):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        given = Files([path], schema, **format_)
        return run(engine, tmp_path / "out", given, operators, **(job or {}))

    return go
