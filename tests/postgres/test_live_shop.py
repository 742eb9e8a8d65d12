"""The example over a live database: copied, held against its source, and shown."""

import json
import subprocess
import sys

import psycopg
import pytest

from orchestration.cli.live_shop import LiveShop
from tests.support.postgres import postgres_database


@pytest.fixture
def live(logical_url, tmp_path, monkeypatch):
    with postgres_database(logical_url) as url:
        monkeypatch.setenv("SHOP_DSN", url)
        monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "home"))
        shop = LiveShop(url)
        shop.open_shop()
        with psycopg.connect(url, autocommit=True) as connection:
            yield shop, connection
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE slot_name = 'headwater_shop'"
            )


def headwater(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "-m", "assets.live_shop", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_commands_and_definitions(live):
    shop, connection = live
    for name in ("live_shop_changes", "live_customers", "live_customers_history", "live_orders"):
        headwater("run", name)
    for _ in range(40):
        shop.work(connection)
    headwater("run", "live_shop_changes")
    found = json.loads(headwater("match", "--json"))
    assert {item["outcome"] for item in found} == {"identical"}
    assert found[0]["moving_keys"] > 0
    headwater("run", "live_customers")
    headwater("run", "live_orders")
    assert "live_orders: the same" in headwater("match", "live_orders")
    assert json.loads(headwater("status", "live_shop_changes", "--json"))["warnings"] == []
    code = (
        "import dagster as dg\n"
        "from orchestration.defs.collect import definitions_from\n"
        "defs = definitions_from('assets.live_shop')\n"
        "keys = {key.to_user_string() for key in defs.resolve_all_asset_keys()}\n"
        "assert 'live_shop_changes__full' not in keys, keys\n"
        "assert 'live_customers__full' in keys, keys\n"
        "assert 'postgres/headwater_shop' in keys, keys\n"
        "graph = defs.resolve_asset_graph()\n"
        "log = dg.AssetKey('live_shop_changes')\n"
        "assert log in graph.get(dg.AssetKey('live_customers')).parent_keys\n"
        "check = next(item for item in graph.asset_check_keys if item.name == 'matches_source')\n"
        "with dg.DagsterInstance.ephemeral() as instance:\n"
        "    job = defs.resolve_implicit_global_asset_job_def()\n"
        "    done = job.execute_in_process(instance=instance, asset_selection=[log])\n"
        "    values = done.asset_materializations_for_node('live_shop_changes')[0].metadata\n"
        "    print(sorted(values))\n"
        "from assets.live_shop import live_customers_match\n"
        "one = live_customers_match.definition()\n"
        "assert one.passed, one\n"
        "print(one.description)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same as public.customers" in done.stdout
    assert "lag_seconds" in done.stdout


def test_without_a_database_there_is_no_example(monkeypatch):
    monkeypatch.delenv("SHOP_DSN", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", "import assets.live_shop as m; print(m.__all__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
