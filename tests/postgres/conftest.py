import pytest

from tests.support.following import Shop
from tests.support.postgres import postgres_database, postgres_server

LOGICAL = "-c wal_level=logical -c max_replication_slots=40 -c max_wal_senders=40"


@pytest.fixture(scope="session")
def logical_url():
    """URL of a server whose log can be followed."""
    with postgres_server(LOGICAL) as url:
        yield url


@pytest.fixture
def shop(logical_url, tmp_path):
    """A database of its own, and a query that follows it."""
    with postgres_database(logical_url) as url:
        found = Shop(url, tmp_path)
        yield found
        found.drop_slot()
