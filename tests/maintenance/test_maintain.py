"""Tables kept small: the same rows in fewer files, whatever crashes, and nothing needed is gone."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration import available_now, delta, delta_sink, once, stream
from orchestration.errors import (
    BatchUnfinished,
    ConfigError,
    CursorStoreBehindSink,
    QueryAlreadyRunning,
    SinkConflict,
)
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.maintenance import maintain
from orchestration.runtime.query import StreamingQuery
from tests.support.world import Crash, World

DAY = timedelta(days=1)


@pytest.fixture(params=["local", "s3"])
def world(request, tmp_path):
    places = {}
    if request.param == "s3":
        bucket = request.getfixturevalue("s3").uri
        places = {"tables": f"{bucket}/tables", "state": f"{bucket}/state"}
    return at_now(World(tmp_path, **places))


@pytest.fixture
def local(tmp_path):
    return at_now(World(tmp_path))


@pytest.fixture
def no_rewind(monkeypatch):
    """Only the last batch may be gone back to: a test need not run more than twenty."""
    monkeypatch.setattr("orchestration.runtime.table_care.KEPT_VERSIONS", 0)


def at_now(world):
    """Its clock shows the real time, by which files are old or young."""
    world.clock.advance(datetime.now(UTC) - world.clock.now())
    return world


def later(world, days=8):
    world.clock.advance(days * DAY)


def batches(world, number, rows=3, bad=0):
    for _ in range(number):
        world.land(rows, bad=bad)
        world.run(once())


def maintained(world, *, reach=None, **options):
    with world.query.open(clock=world.clock) as session:
        return maintain(session, reach=reach, **options)


def of(done, role="sink"):
    return next(item for item in done.tables if item.role == role)


def data_files(world, suffix=""):
    return sorted(Path(world.uri + suffix).glob("*.parquet"))


def log_files(world):
    return sorted(path.name for path in Path(world.uri, "_delta_log").iterdir())


def crash_at(world, point, **options):
    def reach(name):
        if name == point:
            raise Crash(point)

    with pytest.raises(Crash):
        maintained(world, reach=reach, **options)


# -- packing ---------------------------------------------------------------------------------------


def test_small_files_become_one_and_the_rows_stay(world, no_rewind):
    batches(world, 6, bad=1)
    done = maintained(world)
    assert [(item.role, item.files_before, item.files_after) for item in done.tables] == [
        ("sink", 6, 1),
        ("quarantine", 6, 1),
    ]
    assert (of(done).packed, of(done).packed_into) == (6, 1)
    assert world.ids() == list(range(18))
    assert len(world.bad()) == 6
    assert world.delta().count() == 18  # by the log's numbers
    batches(world, 2)
    assert world.ids() == list(range(24))
    # What was packed is packed again with what came since, until it is large.
    assert of(maintained(world)).files_after == 1
    again = maintained(world)
    assert not again.changed
    assert world.ids() == list(range(24))
    batches(world, 1)
    later(world)
    # Six, those two, and the first packed one.
    assert of(maintained(world)).deleted == 9
    assert world.ids() == list(range(27))


def test_statistics_of_packed_files_hide_nothing(local):
    batches(local, 5)
    maintained(local)
    action = local.delta().get_add_actions(flatten=True)
    row = pl.DataFrame(action).to_dicts()[0]
    assert (row["num_records"], row["min.id"], row["max.id"], row["null_count.id"]) == (
        15,
        0,
        14,
        0,
    )
    found = pl.scan_delta(local.uri).filter(pl.col("id") == 7).collect()
    assert found["upper"].to_list() == ["V7"]


def test_the_commit_says_that_no_data_changed(local):
    batches(local, 3)
    version = of(maintained(local)).version
    entry = Path(local.uri, "_delta_log", f"{version:020d}.json").read_text().splitlines()
    actions = [json.loads(line) for line in entry]
    changes = [a.get("add") or a.get("remove") for a in actions if "add" in a or "remove" in a]
    assert len(changes) == 4
    assert not any(item["dataChange"] for item in changes)
    assert any(item.get("txn", {}).get("appId") == "clicks__maintenance" for item in actions)
    assert local.delta().history(1)[0]["headwater.maintenance"] == "pack"


def test_partitions_are_packed_apart_and_odd_names_survive(tmp_path, no_rewind):
    odd = ["a b", "100%", "é/ü", "x=y", "a%20b", "'", "", None, "ok"]

    class Parted(World):
        @property
        def query(self):
            rows = stream(delta(str(tmp_path / "source")))
            sink = delta_sink(self.name, partition_by="p")
            return StreamingQuery(self.name, rows, sink=sink, settings=self.settings)

    world = at_now(Parted(tmp_path))

    def feed(start, values):
        rows = pl.DataFrame({"id": [start * 100 + n for n in range(len(values))], "p": values})
        write_deltalake(str(tmp_path / "source"), rows.to_arrow(), mode="append")
        world.run()

    for start in range(3):
        feed(start, odd)
    before = pl.read_delta(world.uri).sort("id")
    assert len(before) == 3 * len(odd)
    # Delta keeps an empty text as null: that partition takes six files.
    done = of(maintained(world))
    assert done.files_after == len(odd) - 1
    assert pl.read_delta(world.uri).sort("id").equals(before)
    assert world.delta().count() == len(before)
    feed(9, ["ok"])
    later(world)
    assert of(maintained(world)).deleted == 3 * (len(odd) - 1)
    before = pl.concat([before, pl.DataFrame({"id": [900], "p": ["ok"]})]).sort("id")
    assert pl.read_delta(world.uri).sort("id").equals(before)


def test_columns_added_by_others_are_kept(local):
    batches(local, 2)
    extra = pl.DataFrame({"id": [99], "upper": ["X"], "note": ["by hand"]}).to_arrow()
    write_deltalake(local.uri, extra, mode="append", schema_mode="merge")
    assert of(maintained(local)).files_after == 1
    assert pl.read_delta(local.uri).filter(pl.col("id") == 99)["note"].to_list() == ["by hand"]


def test_large_files_are_left_alone(local, monkeypatch):
    batches(local, 4)
    from orchestration.runtime.table_care import Care

    smallest = min(path.stat().st_size for path in data_files(local))
    monkeypatch.setattr(Care, "_goal", lambda self, role: smallest)
    assert of(maintained(local)).files_after == 4


def test_a_dry_run_changes_nothing(local):
    batches(local, 12)
    later(local)
    before = log_files(local), data_files(local)
    done = of(maintained(local, dry_run=True))
    assert (done.packed, done.packed_into, done.files_before, done.files_after) == (12, 1, 12, 1)
    assert done.checkpoint == local.delta().version()
    assert (log_files(local), data_files(local)) == before


# -- upserts ---------------------------------------------------------------------------------------


def totals(tmp_path):
    class Totals(World):
        @property
        def query(self):
            rows = self.stream().select("id % 5 AS k", "id").group_by("k").agg(n="count(*)")
            sink = delta_sink(self.name, output_mode="update")
            return StreamingQuery(self.name, rows, sink=sink, settings=self.settings)

        def counts(self):
            return dict(pl.read_delta(self.uri).sort("k").iter_rows())

    return at_now(Totals(tmp_path))


def test_upserts_go_on_over_packed_files(tmp_path):
    world = totals(tmp_path)
    for _ in range(4):
        batches(world, 2, rows=2)
        maintained(world)
        assert sum(world.counts().values()) == world.next_id
    assert world.query.reprocess() is not None
    assert world.query.verify().passed


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_an_upsert_that_a_crash_left_is_finished_over_packed_files(tmp_path, point):
    world = totals(tmp_path)
    batches(world, 3, rows=2)
    world.land(3)
    assert world.crash_at(point)
    decided = CRASH_POINTS.index("after_seal"), CRASH_POINTS.index("after_mark_committed")
    if decided[0] <= CRASH_POINTS.index(point) < decided[1]:
        with pytest.raises(BatchUnfinished, match="headwater run clicks"):
            maintained(world)
    else:
        maintained(world)
    world.run()
    assert sum(world.counts().values()) == world.next_id
    maintained(world)
    assert sum(world.counts().values()) == world.next_id


# -- streams that follow, and the twin -------------------------------------------------------------


def test_a_stream_that_follows_the_table_reads_nothing_of_it(world):
    followers = [
        StreamingQuery(
            f"copy_{name}",
            stream(delta(world.uri)),
            sink=delta_sink(f"copy_{name}"),
            settings=world.settings,
        )
        for name in ("before", "after")
    ]

    def copied(query):
        query.execute(available_now(), clock=world.clock)
        options = world.storage_options()
        uri = world.settings.tables_uri(query.name)
        return sorted(pl.read_delta(uri, storage_options=options)["id"])

    batches(world, 3)
    assert copied(followers[0]) == world.ids()
    batches(world, 2)  # not read yet: the follower finds them although they are packed
    maintained(world)
    assert copied(followers[0]) == list(range(15))
    batches(world, 1)
    assert [copied(item) for item in followers] == [list(range(18))] * 2
    assert followers[0].execute(available_now(), clock=world.clock).batches == []


def test_the_twin_is_still_held_against_the_table(local):
    batches(local, 3)
    for _ in range(2):
        local.query.reprocess()
    assert local.query.verify().passed
    # Small files of the twin too, as a stateful one leaves them.
    table = DeltaTable(local.uri + "__full")
    assert of(maintained(local), "twin").version == table.version()
    assert local.query.verify().passed
    later(local)
    done = of(maintained(local), "twin")
    assert done.deleted == 1  # what the first full reprocess wrote
    assert local.query.verify().passed


def test_a_packed_twin_says_what_it_covers(local, monkeypatch):
    batches(local, 3)
    local.query.reprocess()
    path = Path(local.uri + "__full")
    (whole,) = path.glob("*.parquet")
    from deltalake.transaction import AddAction, RemoveAction

    rows = pl.read_parquet(whole)
    table = DeltaTable(path)
    claim = {k: v for k, v in table.history(1)[0].items() if k.startswith("headwater.")}
    adds = []
    for n in range(3):
        part = path / f"split-{n}.parquet"
        rows.slice(n * 3, 3).write_parquet(part)
        adds.append(
            AddAction(part.name, part.stat().st_size, {}, 0, True, '{"numRecords": 3}')  # noqa: FBT003
        )
    remove = RemoveAction(
        path=whole.name, data_change=True, deletion_timestamp=0, partition_values={}, size=1
    )
    from deltalake import CommitProperties

    table.create_write_transaction(
        [*adds, remove], mode="append", schema=table.schema(),
        commit_properties=CommitProperties(custom_metadata=claim),
    )  # fmt: skip
    assert local.query.verify().passed
    assert (
        of(maintained(local), "twin").files_before,
        of(maintained(local), "twin").files_after,
    ) == (3, 1)
    assert local.query.verify().passed


# -- what is deleted, and what is not --------------------------------------------------------------


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


# -- crashes, other runners and other writers ------------------------------------------------------


@pytest.mark.parametrize(
    "point", ["after_pack_write", "after_pack_commit", "after_checkpoint", "after_vacuum"]
)
def test_killed_at_any_point_and_run_again(local, no_rewind, point):
    batches(local, 10)
    later(local)
    crash_at(local, point)
    assert local.ids() == list(range(30))
    batches(local, 1)
    done = maintained(local)
    assert of(done).files_after == 1
    assert local.ids() == list(range(33))
    batches(local, 1)
    later(local)
    maintained(local)
    assert local.ids() == list(range(36))
    # What is active, and the two files that it was packed of after the last batch: no orphan.
    assert len(data_files(local)) == 3


def test_a_process_killed_before_the_commit_leaves_the_table_as_it_was(local, tmp_path):
    batches(local, 5)
    version, ids = local.delta().version(), local.ids()
    program = f"""
        import os, signal, sys
        from orchestration import delta_sink, files, stream
        from orchestration.config import Settings
        from orchestration.runtime.maintenance import maintain
        from orchestration.runtime.query import StreamingQuery

        raw = stream(files({str(local.landing)!r}, schema={{"id": "BIGINT", "v": "VARCHAR"}}))
        query = StreamingQuery("clicks", raw.where("id >= 0").select("id", upper="upper(v)"),
            sink=delta_sink("clicks"), settings=Settings.load(home={str(tmp_path / "home")!r}))
        with query.open() as session:
            maintain(session, reach=lambda point: os.kill(os.getpid(), signal.SIGKILL))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert local.delta().version() == version
    assert len(data_files(local)) == 6  # the packed file, in no version
    assert local.ids() == ids
    assert of(maintained(local)).files_after == 1  # the dead holder's lease is taken over at once
    assert local.ids() == ids


def test_beside_a_running_batch_it_is_refused(local):
    batches(local, 3)
    local.land(3)
    refused = []

    def reach(point):
        if point == "after_write":
            with pytest.raises(QueryAlreadyRunning):
                maintained(local)
            assert of(maintained(local, dry_run=True)).packed == 3  # looking is always allowed
            refused.append(point)

    local.run(reach=reach)
    assert refused == ["after_write"]

    def run_beside(point):
        if point == "after_pack_write":
            with pytest.raises(QueryAlreadyRunning):
                local.run()
            refused.append(point)

    maintained(local, reach=run_beside)
    assert refused == ["after_write", "after_pack_write"]
    assert local.ids() == list(range(12))


def test_a_twin_that_is_being_reprocessed_is_left_alone(local):
    batches(local, 2)
    local.query.reprocess()
    with local.query.open() as session, session.store.leases.acquire("clicks__full", "other"):
        done = maintained(local)
    assert [item.role for item in done.tables] == ["sink"]
    assert "is being reprocessed" in done.notes[0]


def test_a_foreign_append_in_between_is_no_harm(local):
    batches(local, 4)

    def append(point):
        if point == "after_pack_write":
            rows = pl.DataFrame({"id": [99], "upper": ["X"]}).to_arrow()
            write_deltalake(local.uri, rows, mode="append")

    assert of(maintained(local, reach=append)).packed >= 4
    # In every round one comes: what came meanwhile waits for the next maintenance.
    assert local.ids() == [*range(12), 99, 99]


def test_a_foreign_compaction_in_between_wins(local):
    batches(local, 4)

    def compact(point):
        if point == "after_pack_write":
            local.delta().optimize.compact()

    with pytest.raises(SinkConflict, match="another writer changed"):
        maintained(local, reach=compact)
    assert local.ids() == list(range(12))
    assert not of(maintained(local)).packed


def test_a_lost_lease_commits_nothing(local):
    from orchestration.errors import LeaseLost

    batches(local, 4)
    version = local.delta().version()

    def steal(point):
        if point == "after_pack_write":
            with local.query.open() as session:
                database = session.store.leases._database
                from sqlalchemy import update

                from orchestration.cursors.models import leases

                with database.write() as connection:
                    connection.execute(update(leases).values(nonce="another"))

    with pytest.raises(LeaseLost):
        maintained(local, reach=steal)
    assert local.delta().version() == version
    assert local.ids() == list(range(12))


def test_an_older_cursor_store_is_noticed(local):
    batches(local, 2)
    backup = (local.settings.home / "cursors.db").read_bytes()
    batches(local, 2)
    for path in local.settings.home.glob("cursors.db*"):
        path.unlink()
    (local.settings.home / "cursors.db").write_bytes(backup)
    with pytest.raises(CursorStoreBehindSink):
        maintained(local)


def test_a_query_that_never_ran(local):
    done = maintained(local)
    assert done.tables == ()
    assert done.notes == ("it has never run",)
