"""Verify says what it knows: never "identical" or "different" of versions it cannot see."""

import shutil

import pytest
from deltalake import DeltaTable

from orchestration import delta_sink, files, stream
from orchestration.runtime.blocked import skip_to_quarantine
from orchestration.runtime.query import StreamingQuery
from orchestration.runtime.rebuild import rebuild
from tests.support.world import SCHEMA, World


@pytest.fixture
def gone_on(tmp_path):
    """A twin of the first batch, and two more batches since."""
    world = World(tmp_path)
    world.land(2)
    world.run()
    world.query.reprocess()
    for _ in range(2):
        world.land(2)
        world.run()
    assert world.query.verify().passed
    return world


def test_a_vacuumed_version_is_not_comparable(gone_on):
    table = DeltaTable(gone_on.uri)
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    found = gone_on.query.verify()
    assert found.outcome == "not_comparable"
    assert "run the twin again" in found.reason
    gone_on.query.reprocess()
    assert gone_on.query.verify().passed


def test_a_version_whose_log_was_cleaned_is_not_comparable(gone_on):
    DeltaTable(gone_on.uri).create_checkpoint()
    log = gone_on.settings.home / "tables/clicks/_delta_log"
    for entry in sorted(log.glob("*.json"))[:-1]:
        entry.unlink()
    found = gone_on.query.verify()
    assert found.outcome == "not_comparable"
    assert "run the twin again" in found.reason


def test_an_older_store_is_not_comparable(tmp_path):
    world = World(tmp_path)
    world.land(2)
    world.run()
    backup = shutil.copytree(world.settings.home, tmp_path / "backup")
    world.land(2)
    world.run()
    world.query.reprocess()
    for path in world.settings.home.glob("cursors.db*"):
        path.unlink()
    for path in backup.glob("cursors.db*"):
        shutil.copy(path, world.settings.home)
    found = world.query.verify()
    assert found.outcome == "not_comparable"
    assert "older copy" in found.reason


def test_files_skipped_by_hand_are_left_out_on_both_sides_also_after_a_rebuild(tmp_path):
    world = World(tmp_path)
    world.land(2)
    assert world.crash_at("after_plan_log")
    with world.query.open() as session:
        skip_to_quarantine(session)
    world.land(3)
    world.run()
    for lost in (False, True):
        if lost:
            for path in world.settings.home.glob("cursors.db*"):
                path.unlink()
            with world.query.open() as session:
                rebuild(session)
            world.run()
        world.query.reprocess()
        found = world.query.verify()
        assert (found.outcome, found.full_rows) == ("identical", 3)
        assert any("skipped" in note for note in found.notes)


def test_a_reset_and_the_twin_follow_other_columns_and_partitions(tmp_path):
    world = World(tmp_path)
    world.land(3)
    world.run()
    world.query.reprocess()
    changed = StreamingQuery(
        world.name,
        stream(files(str(world.landing), schema=SCHEMA)).select(
            "id", upper="length(v)", p="id % 2"
        ),
        sink=delta_sink(world.name, partition_by="p"),
        settings=world.settings,
    )
    changed.reset()
    changed.run()
    assert world.ids() == [0, 1, 2]
    changed.reprocess()
    assert changed.verify().passed
    assert DeltaTable(world.uri + "__full").metadata().partition_columns == ["p"]


def test_a_changed_declaration_is_named_when_the_tables_differ(tmp_path):
    world = World(tmp_path)
    world.land(2)
    world.run()
    world.land(2)
    other = stream(files(str(world.landing), schema=SCHEMA)).select("id", upper="lower(v)")
    changed = StreamingQuery(
        world.name, other, sink=delta_sink(world.name), settings=world.settings
    )
    changed.run()
    changed.reprocess()
    found = changed.verify()
    assert found.outcome == "not_comparable"
    assert "after batch 0" in found.reason
    assert "reset clicks" in found.reason
    changed.reset()
    changed.run()
    changed.reprocess()
    assert changed.verify().passed


def test_an_added_column_is_named_and_the_rest_compared(tmp_path):
    world = World(tmp_path)
    world.land(2)
    world.run()
    world.land(2)
    wider = StreamingQuery(
        world.name,
        world.stream().select("*", doubled="id * 2"),
        sink=delta_sink(world.name, schema_evolution="add_columns"),
        settings=world.settings,
    )
    wider.run()
    wider.reprocess()
    found = wider.verify()
    assert found.passed
    assert found.notes == ("columns added since are not compared: doubled",)
