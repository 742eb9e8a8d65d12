import pytest

from tests.support.postgres import postgres_database, postgres_server

pytest_plugins = ["tests.support.s3"]


@pytest.fixture(scope="session")
def postgres_url():
    """URL of a PostgreSQL server that lives as long as the test session."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def cursor_url(request, tmp_path):
    """URL of an empty cursor store, once on each database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/cursors/cursors.db"
        return
    with postgres_database(request.getfixturevalue("postgres_url")) as url:
        yield url
