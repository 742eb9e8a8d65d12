"""The project as Dagster loads it, and the commands that the README names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dagster_dev import ROOT, environment, write_web_logs

PIPELINES = [
    "ad_clicks",
    "customer_totals",
    "page_views_5m",
    "payments_once",
    "shop_customers",
    "shop_customers_history",
    "shop_orders",
    "shop_orders_history",
    "top_pages",
    "visits",
    "web_logs_bronze",
    "web_logs_clean",
]
SOURCES = [
    "landing/ads/clicks",
    "landing/ads/impressions",
    "landing/cdc/customers",
    "landing/cdc/orders",
    "landing/orders",
    "landing/payments",
    "landing/web_logs",
]


def run(root, *command):
    """A command in the project's root; its output, warnings and all."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    # Dagster calls two of its own commands superseded; nothing else may be warned of.
    warned = [line for line in done.stdout.splitlines() if "Warning" in line]
    assert [line for line in warned if "SupersessionWarning" not in line] == []
    return done.stdout


def test_the_composition_root_stays_small():
    lines = (ROOT / "orchestration" / "definitions.py").read_text().splitlines()
    assert len(lines) <= 60


def test_definitions_load_lightly_and_without_warnings(tmp_path):
    code = (
        "import json, sys\n"
        "from orchestration.definitions import defs\n"
        "repository = defs().get_repository_def()\n"
        "graph = repository.asset_graph\n"
        "heavy = {'duckdb', 'deltalake', 'boto3', 'obstore', 'alembic', 'polars'}\n"
        "print(json.dumps({\n"
        "    'heavy': sorted(heavy & set(sys.modules)),\n"
        "    'assets': sorted(k.to_user_string() for k in graph.get_all_asset_keys()),\n"
        "    'checks': sorted(k.to_user_string() for k in graph.asset_check_keys),\n"
        "    'sensors': sorted(s.name for s in repository.sensor_defs),\n"
        "}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heavy"] == []
    assert set(found["assets"]) == {
        *SOURCES,
        *PIPELINES,
        *(f"{name}__full" for name in PIPELINES),
    }
    assert found["checks"] == sorted(f"{name}:incremental_equals_full" for name in PIPELINES)
    assert found["sensors"] == sorted(f"{name}_sensor" for name in PIPELINES)


@pytest.mark.parametrize(
    "command",
    [
        ("dagster", "definitions", "validate", "-w", "workspace.yaml"),
        ("dagster", "definitions", "validate"),
        ("dg", "check", "defs"),
        ("dg", "list", "defs"),
    ],
    ids=" ".join,
)
def test_the_project_validates(tmp_path, command):
    run(tmp_path, *command)


def test_materializing_from_the_command_line_does_it_once_and_then_says_so(tmp_path):
    command = ("dagster", "asset", "materialize", "-m", "orchestration.definitions", "--select")
    # On a fresh clone: the declared table, empty, and a check that passes on nothing.
    said = run(tmp_path, *command, "web_logs_bronze")
    assert "RUN_SUCCESS" in said
    assert "incremental_equals_full" in said
    write_web_logs(tmp_path, "1200-001.json", range(100), bad=1)
    said = run(tmp_path, *command, "web_logs_bronze")
    assert "batch 0: 101 rows from 1 file, 1 of them set aside" in said
    said = run(tmp_path, *command, "web_logs_bronze")
    assert "nothing new: 0 of 1 file; last batch 0 at" in said


def test_dg_launch_materializes(tmp_path):
    write_web_logs(tmp_path, "1200-001.json", range(100))
    said = run(tmp_path, "dg", "launch", "--assets", "web_logs_clean")
    assert "batch 0: 100 rows from 1 file" in said
    assert Path(tmp_path, "home", "tables", "web_logs_clean", "day=2026-03-01").is_dir()


def test_a_windowed_asset_materializes_on_a_fresh_clone_and_then_says_what_it_waits_for(tmp_path):
    command = ("dagster", "asset", "materialize", "-m", "orchestration.definitions", "--select")
    said = run(tmp_path, *command, "page_views_5m")
    assert "RUN_SUCCESS" in said
    write_web_logs(tmp_path, "1200-001.json", range(700))
    said = run(tmp_path, *command, "page_views_5m")
    assert "window 12:00 closes at event time 12:15; the watermark is 12:01:39" in said
