"""What the commands and Dagster's pages say of a query that applies changes."""

import json

import dagster as dg
import pytest

from orchestration import files, pipeline, scd1_sink, stream
from orchestration.config import Settings
from orchestration.defs.keys import CHECK, full_key, incremental_key
from tests.cli.conftest import project  # noqa: F401 - a fixture
from tests.scd.runtime.feeds import SCHEMA, gone, up

DECLARED = f"""
from orchestration import StreamingQuery, files, scd1_sink, scd2_sink, stream

raw = stream(files("landing", format="json", schema={SCHEMA!r}))
customers = StreamingQuery("customers", raw, sink=scd1_sink("customers", "id"))
history = StreamingQuery("history", raw, sink=scd2_sink(
    "customers_history", "id", track_columns="name", apply_truncates=False,
    ignore_null_updates="seen", tombstone_retention=None))
"""


def land(directory, name, *changes):
    directory.mkdir(exist_ok=True)
    (directory / name).write_text("".join(f"{json.dumps(change)}\n" for change in changes))


@pytest.fixture
def shop(project):  # noqa: F811 - the fixture
    project.declare(DECLARED)
    project.put = lambda name, *changes: land(project.landing, name, *changes)
    return project


def test_the_commands_count_what_changes_did(shop):
    shop.put("1.json", up(1, 1, "a"), up(2, 1, "b"), up(3, 1, "c"))
    done = shop("run", "customers")
    assert done.exit_code == 0, done.output
    assert "1 batch, 3 changes from 1 file" in done.stdout
    assert "3 inserted, 0 updated, 0 deleted, 0 ignored as older" in done.stdout
    shop.put("2.json", up(1, 2, "A"), gone(2, 2), up(3, 0, "old"), up(4, 2, "d"))
    assert "1 inserted, 1 updated, 1 deleted, 1 ignored" in shop("run", "customers").stdout
    history = shop("history", "customers").stdout
    head, newest = history.splitlines()[:2]
    assert [word for word in head.split() if word.endswith("ed")] == [
        "inserted", "updated", "deleted", "ignored",
    ]  # fmt: skip
    assert "rows out" not in head
    assert newest.split().count("1") >= 4
    found = shop.json("history", "customers")[0]["details"]["changes"]
    assert found == {"inserted": 1, "updated": 1, "deleted": 1, "ignored": 1}
    told = shop("status", "customers").stdout
    assert "1 inserted, 1 updated, 1 deleted, 1 ignored as older" in told
    assert shop.json("status", "customers")["changes"] == found
    assert shop("verify", "customers").exit_code == 0


def test_plan_and_state_describe_it(shop):
    shop.put("1.json", gone(1, 1))
    told = shop("plan", "history").stdout
    for line in (
        "scd2",
        "a change of the row with its id",
        "_sequence",
        "where \"_op\" = 'delete'",
        "is left out",
        "in seen",
        "a change of name",
        "for ever",
    ):
        assert line in told, told
    assert shop.json("plan", "history")["event_time"]["changes"]["newest by"] == '"_sequence"'
    assert "7 days" in shop("plan", "customers").stdout
    assert shop("run", "customers").exit_code == 0
    state = shop("state", "customers").stdout
    assert "changes" in state
    assert "scd1" in state
    assert shop.json("state", "customers")["state"]["operators"][0]["rows"] == 1


@pytest.mark.slow
def test_proved_by_killing_it_everywhere(shop):
    for number in range(4):
        shop.put(
            f"{number}.json", up(1, number, f"v{number}"), up(10 + number, 1, "x"), gone(10, 9)
        )
    done = shop("prove", "customers")
    assert done.exit_code == 0, done.output


def test_dagster_plots_what_changes_did(tmp_path):
    landing = tmp_path / "landing"
    found = pipeline(
        "customers",
        stream(files(str(landing), format="json", schema=SCHEMA, max_files=1)),
        sink=scd1_sink("customers", keys="id"),
        settings=Settings.load(home=tmp_path / "home", threads=1),
    )
    land(landing, "1.json", up(1, 1, "a"), up(2, 1, "b"))
    land(landing, "2.json", up(1, 2, "A"), gone(2, 2), up(1, 0, "old"))
    with dg.instance_for_test() as instance:
        done = dg.materialize(
            found.assets,
            selection=dg.AssetSelection.assets(incremental_key(found)),
            instance=instance,
        )
        events = done.asset_materializations_for_node("customers")
        (event,) = [event for event in events if event.asset_key == incremental_key(found)]
        metadata = {name: value.value for name, value in event.metadata.items()}
        assert [metadata[f"rows_{name}"] for name in ("inserted", "updated", "deleted", "ignored")] == [
            2, 1, 1, 1,
        ]  # fmt: skip
        assert "inserted | updated | deleted | ignored" in metadata["progress"]
        assert "2 inserted, 1 updated, 1 deleted, 1 ignored as older" in metadata["summary"]
        (own,) = [c for c in metadata["dagster/column_schema"].columns if c.name == "__sequence"]
        assert "newest change" in (own.description or "")
        dg.materialize(
            found.assets,
            selection=dg.AssetSelection.assets(full_key(found)),
            instance=instance,
        )
        checked = dg.materialize(
            found.assets,
            selection=dg.AssetSelection.checks(dg.AssetCheckKey(incremental_key(found), CHECK)),
            instance=instance,
        )
        (evaluation,) = checked.get_asset_check_evaluations()
        assert evaluation.passed
    (spec,) = [
        spec
        for asset in found.assets
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
        if spec.key == incremental_key(found)
    ]
    assert spec.tags["headwater/output_mode"] == "scd1"
    assert "one row per key" in (spec.description or "")
    assert "late_rows_go_to" not in spec.metadata
