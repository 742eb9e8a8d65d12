"""What nobody needs any more is deleted, and nothing else."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration.errors import ConfigError
from tests.maintenance.support import (
    DAY,
    batches,
    data_files,
    later,
    log_files,
    maintained,
    of,
)


def test_nothing_that_the_retention_covers_is_deleted(local):
    batches(local, 5)
    before = local.delta().version()
    maintained(local)
    later(local, 6)
    assert of(maintained(local)).deleted == 0
    assert pl.read_delta(local.uri, version=before).height == 15


def test_old_files_go_and_the_last_batches_stay_readable(local, monkeypatch):
    monkeypatch.setattr("orchestration.runtime.table_care.KEPT_VERSIONS", 4)
    batches(local, 6)
    maintained(local)
    batches(local, 2)
    later(local)
    done = of(maintained(local))
    # Batch 3 and what came since stays, version by version, for a rewind may want it.
    assert done.deleted == 0
    batches(local, 3)
    later(local)
    done = of(maintained(local))
    assert done.deleted == 6
    history = local.delta().history()
    oldest = next(item["version"] for item in history if item.get("headwater.batch_id") == "6")
    for version in range(oldest, local.delta().version() + 1):
        pl.read_delta(local.uri, version=version)
    assert local.ids() == list(range(33))


def test_an_old_log_goes_and_the_table_stays_whole(local, no_rewind):
    batches(local, 12)
    first = of(maintained(local))
    assert first.checkpoint == local.delta().version()
    assert first.log_deleted == 0
    batches(local, 2)
    later(local, 20)
    assert of(maintained(local)).log_deleted == 0  # Delta keeps the log for thirty days
    later(local, 20)
    # Readers are told of an older checkpoint, where a crash came before the newer hint.
    hint = Path(local.uri, "_delta_log", "_last_checkpoint")
    right = hint.read_text()
    hint.write_text(json.dumps({**json.loads(right), "version": 3}))
    assert of(maintained(local)).log_deleted == 0
    hint.write_text(right)
    done = of(maintained(local))
    assert done.log_deleted == first.checkpoint
    assert log_files(local)[0] == f"{first.checkpoint:020d}.checkpoint.parquet"
    assert local.ids() == list(range(42))
    for version in range(first.checkpoint, local.delta().version() + 1):
        DeltaTable(local.uri, version=version)
    batches(local, 2)
    assert local.ids() == list(range(48))
    assert of(maintained(local)).notes == ()
    local.query.reprocess()
    assert local.query.verify().passed


def test_orphans_of_dead_attempts_go_when_they_are_old(local):
    batches(local, 3)
    local.land(3)
    assert local.crash_at("after_write")
    assert len(data_files(local)) == 4
    later(local)
    maintained(local)  # newer than the last seal: not to be touched
    assert local.ids() == list(range(9))
    orphan = [path for path in data_files(local) if path.name.startswith("part-0000000003-")]
    assert len(orphan) == 1
    local.run()
    stranger = Path(local.uri, "part-0000000001-nobody.parquet")
    stranger.write_bytes(b"never committed")
    kept = Path(local.uri, "README.txt")
    kept.write_text("not ours")
    done = of(maintained(local))
    assert not stranger.exists()
    assert done.deleted >= 1
    assert kept.exists()
    assert local.ids() == list(range(12))


def test_a_table_further_down_is_none_of_its_business(local):
    batches(local, 2)
    inner = str(Path(local.uri, "inner"))
    write_deltalake(inner, pl.DataFrame({"a": [1]}).to_arrow())
    later(local)
    maintained(local)
    assert pl.read_delta(inner)["a"].to_list() == [1]


def test_a_young_orphan_stays(local):
    batches(local, 2)
    stranger = Path(local.uri, "part-0000000001-nobody.parquet")
    stranger.write_bytes(b"of a commit that is still to come, perhaps")
    later(local, 5)
    maintained(local)
    assert stranger.exists()


def test_a_table_whose_files_are_missing_loses_no_other(local):
    batches(local, 3)
    maintained(local)
    later(local)
    (active,) = [Path(uri) for uri in local.delta().file_uris()]
    hidden = active.with_suffix(".away")
    active.rename(hidden)
    done = of(maintained(local))
    assert done.deleted == 0
    assert "do not lie where it says" in done.notes[0]
    hidden.rename(active)
    assert of(maintained(local)).notes == ()


def test_a_log_cleaned_by_others_keeps_files(local):
    batches(local, 5)
    maintained(local)
    local.delta().create_checkpoint()
    for version in range(3):
        Path(local.uri, "_delta_log", f"{version:020d}.json").unlink()
    done = of(maintained(local))
    assert done.deleted == 0
    assert "does not reach as far back" in done.notes[0]


def test_the_tables_own_retention_counts_where_it_is_longer(local):
    batches(local, 3)
    local.delta().alter.set_table_properties(
        {"delta.deletedFileRetentionDuration": "interval 20 days"}
    )
    maintained(local)
    later(local, 10)
    Path(local.uri, "part-0000000001-nobody.parquet").write_bytes(b"x")
    assert of(maintained(local)).deleted == 0
    later(local, 20)
    assert of(maintained(local)).deleted >= 1


def test_too_short_a_retention_is_refused(local):
    batches(local, 2)
    with pytest.raises(ConfigError, match="not safe"):
        maintained(local, retention=timedelta(hours=23))
    assert of(maintained(local, retention=DAY)).packed == 2


def test_a_reset_lets_the_old_generation_go(local):
    batches(local, 4)
    local.query.reset()
    later(local)
    done = of(maintained(local))
    assert done.deleted == 4
    local.run()
    assert local.ids() == list(range(12))
