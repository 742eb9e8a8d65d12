from datetime import timedelta

from tests.cursors.support import AT


def record(store, clock_minutes, **changes):
    values = {
        "offsets": {"files": {"files": 9}},
        "rows": 2**40,
        "bytes": 2**50,
        "files": 9,
        "seconds": 1.25,
        "table_version": 3,
        "finished_at": AT + timedelta(minutes=clock_minutes),
        "run_id": f"run-{clock_minutes}",
    }
    store.costs.record_reprocess("clicks", **{**values, **changes})


def test_reprocesses_are_kept_the_newest_first(store):
    assert store.costs.reprocesses("clicks") == []
    record(store, 1)
    record(store, 2, table_version=None)
    newest, oldest = store.costs.reprocesses("clicks")
    assert (newest.run_id, newest.table_version) == ("run-2", None)
    assert (oldest.rows, oldest.bytes, oldest.seconds) == (2**40, 2**50, 1.25)
    assert (oldest.offsets, oldest.finished_at) == (
        {"files": {"files": 9}},
        AT + timedelta(minutes=1),
    )
    assert store.costs.reprocesses("clicks", 1) == [newest]
    assert store.costs.reprocesses("other") == []


def test_the_latest_verification_is_known(store):
    assert store.costs.latest_verification("clicks") is None
    for verdict in ("different", "equal"):
        store.costs.record_verification(
            "clicks",
            verdict=verdict,
            offsets={"files": {"files": 9}},
            table_version=4,
            twin_version=None,
            detail={"only_in_table": [["é", None]]},
            checked_at=AT,
            run_id="run-1",
        )
    latest = store.costs.latest_verification("clicks")
    assert (latest.verdict, latest.twin_version) == ("equal", None)
    assert latest.detail == {"only_in_table": [["é", None]]}
