"""pgbench writes while the copying process is killed: a short one always, the long one if asked."""

import pytest

from benchmarks.soak_postgres import soak
from orchestration.cli.private_postgres import private_postgres


@pytest.mark.parametrize(
    ("seconds", "clients"), [(6, 2), pytest.param(120, 4, marks=pytest.mark.slow)]
)
def test_every_table_equals_its_source(tmp_path, seconds, clients):
    with private_postgres() as server:
        found = soak(tmp_path, server, seconds, clients, seed=4)
    assert found.wrong == [], (tmp_path / "copying.log").read_text()[-3000:]
    assert found.kills >= 1
    assert found.transactions > 10
