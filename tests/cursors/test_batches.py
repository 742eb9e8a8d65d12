from dataclasses import replace
from datetime import timedelta

import pytest

from orchestration.cursors.records import Slice
from orchestration.errors import CursorStoreError
from tests.cursors.support import AT, dump, entries, make_plan, make_seal, run_batch


def test_a_batch_goes_from_plan_to_acknowledgement(store, generation, lease, clock):
    plan, start = make_plan(0, entries(0, 3)), clock.now()
    assert store.batches.last(generation) is None
    assert store.batches.count(generation) == 0
    store.batches.plan(lease, plan, listings={"files": {"last_key": "z"}})
    record = store.batches.last(generation)
    assert record.plan == plan
    assert record.plan.hash == plan.hash
    assert (record.planned_at, record.seal, record.sealed_at) == (start, None, None)
    clock.advance(1)
    seal = make_seal(plan)
    store.batches.seal(lease, generation, 0, seal)
    clock.advance(1)
    store.batches.commit(lease, generation, 0, {"rows_in": 3, "extra": [1, None]})
    clock.advance(1)
    store.batches.acknowledge(lease, generation, 0)
    record = store.batches.get(generation, 0)
    assert record.seal == seal
    steps = (record.sealed_at, record.committed_at, record.acked_at)
    assert steps == tuple(start + timedelta(seconds=n) for n in (1, 2, 3))
    assert record.progress == {"rows_in": 3, "extra": [1, None]}
    assert (record.failures, record.last_error, record.blocked, record.skip) == (
        0,
        None,
        False,
        False,
    )
    assert store.batches.count(generation) == 1
    assert store.ledger.listing(generation, "files") == {"last_key": "z"}


def test_every_write_made_twice_is_made_once(cursor_url, store, generation, lease):
    plan = make_plan(0, entries(0, 3))
    for write in (
        lambda: store.batches.plan(lease, plan),
        lambda: store.batches.seal(lease, generation, 0, make_seal(plan)),
        lambda: store.batches.commit(lease, generation, 0, {"rows_in": 3}),
        lambda: store.batches.acknowledge(lease, generation, 0),
    ):
        write()
        before = dump(cursor_url)
        write()
        assert dump(cursor_url) == before


def refused(cursor_url, match, write):
    before = dump(cursor_url)
    with pytest.raises(CursorStoreError, match=match):
        write()
    assert dump(cursor_url) == before


def test_plans_that_do_not_follow_are_refused(cursor_url, store, generation, lease):
    plan = store.batches.plan
    refused(cursor_url, "gap", lambda: plan(lease, make_plan(1, entries(0, 1))))
    ahead = make_plan(0, entries(0, 1), start=5)
    refused(cursor_url, "from 5; the ledger goes on at 0", lambda: plan(lease, ahead))
    first = make_plan(0, entries(0, 2))
    plan(lease, first)
    other = make_plan(0, entries(5, 7))
    refused(cursor_url, "planned already", lambda: plan(lease, other))
    second = make_plan(1, entries(2, 3), start=2)
    refused(cursor_url, "batch 0 is not committed", lambda: plan(lease, second))
    store.batches.seal(lease, generation, 0, make_seal(first))
    refused(cursor_url, "batch 0 is not committed", lambda: plan(lease, second))
    store.batches.commit(lease, generation, 0, {})
    refused(cursor_url, "next one is 1", lambda: plan(lease, make_plan(2, (), start=2)))
    skipping = make_plan(1, entries(3, 4), start=3)
    refused(
        cursor_url, r"from \{'files': 3\}.*ended at \{'files': 2\}", lambda: plan(lease, skipping)
    )
    again = make_plan(1, entries(0, 1))
    refused(cursor_url, "ended at", lambda: plan(lease, again))
    (part,) = second.slices
    uneven = replace(second, slices=(replace(part, end={"files": 9}),))
    refused(cursor_url, "names 1 files", lambda: plan(lease, uneven))
    foreign = replace(second, query_id="other")
    refused(cursor_url, "under the lease of 'clicks'", lambda: plan(lease, foreign))
    unknown = replace(second, generation=7)
    refused(cursor_url, "Generation 7 .* not in the cursor store", lambda: plan(lease, unknown))
    plan(lease, second)


def test_a_file_name_that_is_not_text_is_named(cursor_url, store, generation, lease):
    bad = replace(entries(0, 1)[0], path="in/caf\udce9.json")
    refused(cursor_url, r"caf\\udce9", lambda: store.batches.plan(lease, make_plan(0, (bad,))))


def test_sources_that_are_not_files_have_their_own_offsets(store, generation, lease):
    table = Slice("orders", {}, {"version": 4, "file": 2}, latest={"version": 9})
    plan = replace(make_plan(0, entries(0, 1)), slices=(*make_plan(0, entries(0, 1)).slices, table))
    run_batch(store, lease, generation, plan)
    assert store.batches.last(generation).plan == plan
    assert store.ledger.offset(generation, "orders") == {"version": 4, "file": 2}
    assert store.ledger.offset(generation, "files") == {"files": 1}
    following = replace(
        make_plan(1, ()), slices=(replace(table, start=table.end, end={"version": 5}),)
    )
    store.batches.plan(lease, following)  # a source without news may be left out


def test_a_seal_is_decided_once(cursor_url, store, generation, lease):
    plan, seal = make_plan(0, entries(0, 1)), store.batches.seal
    refused(cursor_url, "never planned", lambda: seal(lease, generation, 0, make_seal(plan)))
    store.batches.plan(lease, plan)
    other = make_seal(make_plan(0, entries(1, 2)))
    refused(cursor_url, "the seal is for plan", lambda: seal(lease, generation, 0, other))
    commit = store.batches.commit
    refused(cursor_url, "not sealed", lambda: commit(lease, generation, 0, {}))
    seal(lease, generation, 0, make_seal(plan, "a1"))
    late = make_seal(plan, "a2")
    refused(cursor_url, "decided already by attempt a1", lambda: seal(lease, generation, 0, late))


def test_a_seal_is_replaced_only_by_who_saw_it_and_before_the_commit(
    cursor_url, store, generation, lease
):
    plan, seal = make_plan(0, entries(0, 1)), store.batches.seal
    store.batches.plan(lease, plan)
    rebuilt = make_seal(plan, "a2")

    def replacing(old):
        seal(lease, generation, 0, rebuilt, replaces=old)

    refused(cursor_url, "attempt None", lambda: replacing("a1"))
    seal(lease, generation, 0, make_seal(plan, "a1"))
    refused(cursor_url, "attempt a1", lambda: replacing("a0"))
    replacing("a1")
    assert store.batches.get(generation, 0).seal == rebuilt
    replacing("a1")  # the answer was lost on the way, so it is asked again
    store.batches.commit(lease, generation, 0, {})
    third = make_seal(plan, "a3")
    refused(cursor_url, "a2", lambda: seal(lease, generation, 0, third, replaces="a2"))


def test_an_acknowledgement_needs_a_commit(cursor_url, store, generation, lease):
    plan = make_plan(0, entries(0, 1))
    store.batches.plan(lease, plan)
    store.batches.seal(lease, generation, 0, make_seal(plan))
    acknowledge = store.batches.acknowledge
    refused(cursor_url, "must keep it", lambda: acknowledge(lease, generation, 0))


def test_failing_the_same_way_blocks_until_retried(store, generation, lease):
    store.batches.plan(lease, make_plan(0, entries(0, 1)))

    def fail(kind):
        message = f"{kind}: at postgresql://u:s3cr3t-word@h/d"
        return store.batches.fail(lease, generation, 0, kind, message, 3)

    assert [fail("A"), fail("A"), fail("B"), fail("B"), fail("B")] == [False] * 4 + [True]
    record = store.batches.last(generation)
    assert (record.failures, record.blocked) == (3, True)
    assert "B: at postgresql://u:***@h/d" in record.last_error
    store.batches.unblock(lease, generation, 0)
    record = store.batches.last(generation)
    assert (record.failures, record.blocked, record.skip) == (0, False, False)
    assert not fail("B")


def test_an_undecided_batch_may_be_skipped_and_a_sealed_one_not(
    cursor_url, store, generation, lease
):
    plan = make_plan(0, entries(0, 2))
    store.batches.plan(lease, plan)
    skip = store.batches.mark_skip
    store.batches.fail(lease, generation, 0, "A", "broken", 1)
    skip(lease, generation, 0)
    record = store.batches.last(generation)
    assert (record.skip, record.blocked, record.last_error) == (True, False, "broken")
    store.batches.fail(lease, generation, 0, "A", "broken", 1)
    store.batches.unblock(lease, generation, 0)
    assert not store.batches.last(generation).skip
    store.batches.fail(lease, generation, 0, "A", "broken", 1)
    store.batches.seal(lease, generation, 0, make_seal(plan))
    refused(cursor_url, "is sealed", lambda: skip(lease, generation, 0))
    store.batches.commit(lease, generation, 0, {})
    assert not store.batches.last(generation).blocked


def test_files_of_a_skipped_batch_are_known_until_read_again(store, generation, lease):
    assert store.batches.skipped_files(generation, "files") == frozenset()
    store.batches.plan(lease, make_plan(0, entries(0, 2)))
    store.batches.fail(lease, generation, 0, "A", "broken", 1)
    store.batches.mark_skip(lease, generation, 0)
    paths = [entry.path for entry in entries(0, 2)]
    assert store.batches.skipped_files(generation, "files") == set(paths)
    store.batches.seal(lease, generation, 0, make_seal(make_plan(0, entries(0, 2))))
    store.batches.commit(lease, generation, 0, {})
    mended = replace(entries(0, 1)[0], size=1)
    run_batch(store, lease, generation, make_plan(1, (mended,), start=2))
    assert store.batches.skipped_files(generation, "files") == {paths[1]}


def test_history_and_sums(store, generation, lease, clock):
    empty = store.batches.totals(generation)
    assert set(empty.values()) == {0}
    assert store.batches.runs(generation) == []
    for number in range(4):
        plan = make_plan(
            number, entries(number, number + 1), start=number, run_id=f"run-{number // 2}"
        )
        progress = {
            "rows_in": 10,
            "rows_out": 9,
            "rows_bad": 1,
            "bytes_in": 2**40,
            "files_in": 1,
            "seconds": 0.25,
        }
        run_batch(store, lease, generation, plan, progress=progress)
        clock.advance(60)
    store.batches.plan(lease, make_plan(4, entries(4, 5), start=4, run_id="run-2"))
    assert store.batches.totals(generation) == {
        "batches": 4,
        "runs": 2,
        "rows": 40,
        "rows_out": 36,
        "rows_quarantined": 4,
        "bytes": 4 * 2**40,
        "files": 4,
        "seconds": 1.0,
    }
    newest, oldest = store.batches.runs(generation)
    assert (newest.run_id, newest.batches, newest.rows, newest.seconds) == ("run-1", 2, 20, 0.5)
    assert newest.started - oldest.started == timedelta(seconds=120)
    assert newest.finished - newest.started == timedelta(seconds=60)
    assert store.batches.runs(generation, limit=1) == [newest]
    history = store.batches.history
    assert [item.plan.batch_id for item in history(generation)] == [4, 3, 2, 1, 0]
    assert [i.plan.batch_id for i in history(generation, 2, newest_first=False)] == [0, 1]
    assert history(generation, 1)[0].plan.slices[0].files == ()
    full = history(generation, 1, with_files=True)[0]
    assert full.plan.slices[0].files == entries(4, 5)
    assert store.batches.last(generation, with_files=False).plan.slices[0].files == ()
    assert store.batches.get(generation, 99) is None


def test_a_progress_without_numbers_counts_as_nothing(store, generation, lease):
    run_batch(store, lease, generation, make_plan(0, ()), progress={"rows_in": None, "note": "x"})
    assert store.batches.totals(generation)["rows"] == 0


def test_a_lost_commit_is_as_if_it_never_was(store, generation, lease):
    run_batch(store, lease, generation, make_plan(0, entries(0, 1)))
    run_batch(store, lease, generation, make_plan(1, entries(1, 2), start=1))
    with pytest.raises(CursorStoreError, match="not its last"):
        store.batches.forget_commit(generation, 0)
    store.batches.forget_commit(generation, 1)
    record = store.batches.last(generation)
    assert record.seal is not None
    assert (record.committed_at, record.acked_at, record.progress) == (None, None, {})
    assert store.batches.totals(generation)["batches"] == 1


def test_microseconds_survive(store, generation, lease):
    plan = replace(make_plan(0, ()), timestamp=AT.replace(microsecond=123457))
    store.batches.plan(lease, plan)
    assert store.batches.last(generation).plan.timestamp == plan.timestamp
