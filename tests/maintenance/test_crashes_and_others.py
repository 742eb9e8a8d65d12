"""Killed, or beside other runners and writers: no row is lost or doubled."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from orchestration.errors import (
    CursorStoreBehindSink,
    QueryAlreadyRunning,
    SinkConflict,
)
from tests.maintenance.support import batches, crash_at, data_files, later, maintained, of


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
