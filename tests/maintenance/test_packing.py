"""The same rows in fewer files, also under upserts, followers and the twin."""

import json
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from orchestration import available_now, delta, delta_sink, stream
from orchestration.errors import BatchUnfinished
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.query import StreamingQuery
from tests.maintenance.support import (
    at_now,
    batches,
    data_files,
    later,
    log_files,
    maintained,
    of,
)
from tests.support.world import World

# -- packing ------------------------------------------------------------------------------------------


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


# -- upserts ------------------------------------------------------------------------------------------


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


# -- streams that follow, and the twin ----------------------------------------------------------------


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
