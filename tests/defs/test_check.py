"""incremental_equals_full: proved, refuted, or said not to be proved."""

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from orchestration import full_reprocess_asset, incremental_asset
from orchestration.defs.keys import CHECK
from tests.defs.lake import Lake, evaluation


def numbers(found):
    return {name: value.value for name, value in found.metadata.items()}


def test_a_small_input_is_proved_in_the_same_run(lake):
    lake = lake()
    lake.land("a.json", 1, 2)
    result = lake.materialize()
    found = evaluation(result)
    assert found.passed
    assert found.asset_check_key == dg.AssetCheckKey(lake.key, CHECK)
    assert numbers(found)["incremental_rows"] == numbers(found)["full_rows"] == 2
    assert numbers(found)["offsets"] == {"files": {"files": 1}}
    # The twin that was run for it is shown on its own page.
    assert lake.instance.get_latest_materialization_event(lake.full) is not None
    assert lake.ids("clicks__full") == [1, 2]


def test_a_foreign_row_is_found_and_shown(lake):
    lake = lake()
    lake.land("a.json", 1, 2)
    lake.materialize()
    rows = pa.table({"id": pa.array([666]), "page": ["/evil"]})
    write_deltalake(lake.settings.tables_uri("clicks"), rows, mode="append")
    found = evaluation(lake.check_alone())
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert numbers(found)["only_incremental"] == 1
    assert numbers(found)["only_full"] == 0
    assert [dict(r.data) for r in numbers(found)["only_in_incremental"].records] == [
        {"id": 666, "page": "/evil"}
    ]
    assert "headwater reset clicks" in found.description


def test_a_row_that_was_lost_is_found_and_shown(lake):
    from deltalake import DeltaTable

    lake = lake()
    lake.land("a.json", 1, 2)
    lake.materialize()
    DeltaTable(lake.settings.tables_uri("clicks")).delete("id = 2")
    result = lake.materialize()  # a run that takes in nothing checks, too
    found = evaluation(result)
    assert not found.passed
    assert [dict(r.data) for r in numbers(found)["only_in_full"].records] == [
        {"id": 2, "page": "/2"}
    ]


def test_the_check_alone_takes_nothing_in(lake):
    lake = lake()
    lake.land("a.json", 1)
    lake.materialize()
    lake.land("b.json", 2)
    found = evaluation(lake.check_alone())
    assert found.passed
    assert lake.ids() == [1]


def test_the_twin_alone_puts_its_verdict_on_the_incremental_assets_page(lake):
    lake = lake(verify="manual")
    lake.land("a.json", 1)
    found = evaluation(lake.materialize())
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "clicks__full" in found.description
    result = lake.materialize(lake.full)
    found = evaluation(result)
    assert found.passed
    assert found.asset_check_key == dg.AssetCheckKey(lake.key, CHECK)
    assert lake.metadata(result, lake.full)["rows"] == 1
    records = lake.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(lake.key, CHECK), limit=1
    )
    assert records[0].status.value == "SUCCEEDED"


def test_above_the_limit_a_run_says_how_far_it_was_proved(lake):
    lake = lake(verify="10 B")
    lake.land("a.json", 1, 2)
    found = evaluation(lake.materialize())
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "above the 10" in found.description
    lake.materialize(lake.full)
    lake.land("b.json", 3)
    found = evaluation(lake.materialize())
    assert found.passed
    assert "1 batch came since" in found.description
    assert numbers(found)["batches_since"] == 1
    assert lake.ids("clicks__full") == [1, 2]


def test_a_reset_makes_old_proofs_worthless(lake):
    lake = lake(verify="manual")
    lake.land("a.json", 1)
    lake.materialize()
    lake.materialize(lake.full)
    assert evaluation(lake.materialize()).passed
    lake.pipeline.query.reset()
    assert not evaluation(lake.materialize()).passed


def test_a_reprocess_that_runs_elsewhere_does_not_fail_the_run(lake):
    lake = lake()
    lake.land("a.json", 1)
    with lake.pipeline.query.open() as session:
        lease = session.store.leases.acquire("clicks__full", "elsewhere")
        result = lake.materialize()
        lease.release()
    assert lake.ids() == [1]
    found = evaluation(result)
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN


def test_rewritten_files_are_named_and_nothing_is_claimed(lake):
    lake = lake()
    lake.land("a.json", 1)
    lake.materialize()
    lake.land("a.json", 1, 2, 3)
    lake.land("b.json", 4)
    found = evaluation(lake.materialize())
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "a.json" in found.description


def test_the_halves_work_alone(lake, tmp_path, instance):
    lake = lake()
    lake.land("a.json", 1)
    declared = lake.pipeline.query
    common = {"sink": declared.sink, "settings": lake.settings}
    incremental = incremental_asset("clicks", declared.stream, **common)
    assert not incremental.check_specs
    assert dg.materialize([incremental], instance=instance).success
    full = full_reprocess_asset("clicks", declared.stream, **common)
    result = dg.materialize([full], instance=instance)
    found = evaluation(result)
    assert found.passed
    assert found.asset_check_key.asset_key == lake.full


@pytest.mark.parametrize("which", ["everything", "both"])
def test_both_assets_in_one_run(lake, which):
    lake = lake()
    lake.land("a.json", 1)
    keys = (lake.key, lake.full)
    selection = dg.AssetSelection.all() if which == "everything" else None
    result = lake.materialize(*keys, selection=selection)
    assert all(found.passed for found in result.get_asset_check_evaluations())


def test_what_the_command_proved_counts_here_too(lake):
    lake = lake(verify="manual")
    lake.land("a.json", 1)
    lake.materialize()
    lake.pipeline.query.reprocess()
    assert lake.pipeline.query.verify().passed
    found = evaluation(lake.materialize())
    assert found.passed
    assert "verified" in found.description


def test_tables_on_s3_are_proved_and_shown_too(s3, tmp_path, instance):
    lake = Lake(tmp_path, instance, tables=f"s3://{s3.name}/tables")
    lake.land("a.json", 1, 2)
    result = lake.materialize()
    assert evaluation(result).passed
    metadata = lake.metadata(result)
    assert metadata["dagster/uri"] == f"s3://{s3.name}/tables/clicks"
    assert [dict(r.data) for r in metadata["preview"].records][0] == {"id": 1, "page": "/1"}
    shown = str([event.__dict__ for event in result.all_events])
    assert s3.server.secret_key not in shown
