"""When batches run, and what is in each (semantics §9-E)."""

import threading

import pytest

from orchestration import available_now, once, processing_time
from orchestration.errors import DeclarationError, SourceUnavailable
from orchestration.runtime.triggers import parse_trigger
from orchestration.sources.file_source import FileSource
from tests.support.world import World


def land_in_order(world, *mtimes):
    return [world.land(1, mtime=mtime) for mtime in mtimes]


def counts(batches):
    return [batch.num_output_rows for batch in batches]


def test_f1_files_go_by_modification_time_in_batches(tmp_path):
    world = World(tmp_path)
    land_in_order(world, 3, 2, 1, 4, 5)
    batches = world.run(available_now(max_files=2))
    assert counts(batches) == [2, 2, 1]
    with world.query.open() as session:
        ledger = session.store.ledger
        generation = session.store.queries.get(world.name)
        dates = [item.modified_us // 1_000_000 for item in ledger.files(generation, "files", 0, 5)]
    assert dates == [1, 2, 3, 4, 5]


def test_f2_nothing_new_is_no_batch(tmp_path):
    world = World(tmp_path)
    world.land(1)
    world.run()
    version = world.delta().version()
    assert world.run() == []
    assert world.run(once()) == []
    assert world.delta().version() == version


def test_f3_an_unseen_file_with_an_older_date_is_read(tmp_path):
    world = World(tmp_path)
    world.land(1, mtime=2_000)
    world.run()
    world.land(1, mtime=1_000)
    world.land(1, mtime=2_000)
    world.run()
    assert world.ids() == [0, 1, 2]


def test_f4_a_rewritten_file_follows_the_policy(tmp_path):
    for policy, ids in (("ignore", [0]), ("reprocess", [0, 1])):
        world = World(tmp_path / policy, on_rewrite=policy)
        world.land(1, name="a.json", mtime=1_000)
        world.run()
        world.land(1, name="a.json", mtime=2_000)
        world.run()
        assert world.ids() == ids


def test_r1_a_lost_commit_is_replayed_with_its_old_range(tmp_path):
    world = World(tmp_path)
    world.land(1)
    world.run()
    world.land(1)
    assert world.crash_at("after_sink_commit")
    world.land(1)
    assert [(b.batch_id, b.num_output_rows) for b in world.run()] == [(1, 1), (2, 1)]
    assert world.ids() == [0, 1, 2]


def test_once_takes_everything_in_one_commit(tmp_path):
    world = World(tmp_path, max_files=1)
    land_in_order(world, 1, 2, 3)
    assert counts(world.run(once())) == [3]
    assert world.delta().version() == 1


def test_processing_time_runs_a_batch_each_interval_until_stopped(tmp_path):
    world = World(tmp_path)
    world.land(1)
    stop = threading.Event()
    started = world.clock.monotonic()

    def then(batch):
        if batch.batch_id == 2:
            stop.set()
        else:
            world.land(1)

    batches = world.run(processing_time("10 seconds"), on_batch=then, stop=stop)
    assert counts(batches) == [1, 1, 1]
    assert world.clock.monotonic() - started == pytest.approx(20)


def test_stop_ends_after_the_batch_in_hand(tmp_path):
    world = World(tmp_path)
    land_in_order(world, 1, 2, 3)
    stop = threading.Event()
    batches = world.run(available_now(max_files=1), on_batch=lambda _: stop.set(), stop=stop)
    assert counts(batches) == [1]
    assert counts(world.run(available_now(max_files=1))) == [1, 1]


@pytest.mark.parametrize("text", ["once", "available_now", "processing_time=10 seconds"])
def test_the_command_line_spells_every_trigger(text):
    assert parse_trigger(text).kind == text.partition("=")[0]


@pytest.mark.parametrize(
    "text", ["", "hourly", "once=1 second", "processing_time", "processing_time=0 seconds"]
)
def test_other_spellings_are_refused(text):
    with pytest.raises(DeclarationError):
        parse_trigger(text)


def test_a_limit_that_lets_nothing_through_is_refused():
    with pytest.raises(DeclarationError, match="no batch"):
        available_now(max_files=0)


def failing_polls(monkeypatch, numbers):
    """The landing place does not answer when it is asked for the n-th time."""
    poll, asked = FileSource.poll, []

    def sometimes(self, *args, **options):
        asked.append(True)
        if len(asked) in numbers:
            raise SourceUnavailable("no answer")
        return poll(self, *args, **options)

    monkeypatch.setattr(FileSource, "poll", sometimes)


def test_a_query_that_stays_up_outlasts_a_failure_that_passes(tmp_path, monkeypatch):
    world = World(tmp_path)
    stop = threading.Event()
    failing_polls(monkeypatch, {2, 3})
    world.land(1)

    def on_batch(batch):
        if batch.batch_id:
            stop.set()
        world.land(1)

    world.run(processing_time("10 seconds"), on_batch=on_batch, stop=stop)
    assert world.ids() == [0, 1]


def test_a_failure_at_the_start_shows_at_once(tmp_path, monkeypatch):
    world = World(tmp_path)
    failing_polls(monkeypatch, {1})
    with pytest.raises(SourceUnavailable):
        world.run(processing_time("10 seconds"))


def test_a_failure_that_does_not_pass_is_given_up(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.land(1)
    failing_polls(monkeypatch, range(2, 1000))
    began = world.clock.monotonic()
    with pytest.raises(SourceUnavailable):
        world.run(processing_time("10 seconds"))
    assert 600 < world.clock.monotonic() - began < 3600
