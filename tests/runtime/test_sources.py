"""Several sources in one query: each with its own offsets, limits and listing."""

import json

import pytest

from orchestration import available_now, delta_sink, files, once, stream
from orchestration.clock import ManualClock
from orchestration.config import Settings
from orchestration.runtime.preview import preview
from orchestration.runtime.query import StreamingQuery
from orchestration.sources.base import Limits
from orchestration.testing import CRASH_POINTS
from tests.support.event_time import StreamTest, add, die, source


def both(one, two):
    return stream(one).union(stream(two)).select("k", "v")


def ks(test):
    return sorted(row["k"] for row in test.table())


def test_a_plan_has_a_slice_of_every_source():
    one, two = source("one"), source("two")
    test = StreamTest(both(one, two))
    add(one, 1, 2, k="a")
    (first,) = test.drain()
    assert [(s.name, s.start_offset, s.end_offset) for s in first.progress.sources] == [
        ("one", {"rows": 0}, {"rows": 2}),
        ("two", {"rows": 0}, {"rows": 0}),
    ]
    add(two, 1, k="b")
    (second,) = test.drain()
    assert [(s.name, s.num_input_rows) for s in second.progress.sources] == [("one", 0), ("two", 1)]
    assert ks(test) == ["a", "a", "b"]
    assert test.drain() == []


def test_limits_are_each_sources_own():
    one, two = source("one", limits=Limits(max_rows=1)), source("two")
    test = StreamTest(both(one, two))
    add(one, 1, 2, 3)
    add(two, 1, 2, 3)
    found = [
        tuple(item.num_input_rows for item in batch.progress.sources) for batch in test.drain()
    ]
    assert found == [(1, 3), (1, 0), (1, 0)]
    add(one, 1, 2)
    add(two, 1)
    assert [batch.progress.num_input_rows for batch in test.drain(once())] == [3]
    add(one, 1, 2)
    add(two, 1, 2, 3)
    drained = test.drain(available_now(max_rows=2))
    assert [batch.progress.num_input_rows for batch in drained] == [4, 1]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_anywhere_changes_no_row_of_either(point):
    one, two = source("one"), source("two")
    test = StreamTest(both(one, two))
    add(one, 1, k="a")
    test.drain()
    add(one, 1, k="b")
    add(two, 1, k="c")
    assert die(test, point)
    add(two, 1, k="d")
    test.drain()
    assert ks(test) == ["a", "b", "c", "d"]


def test_a_lost_cursor_store_is_rebuilt_with_both(tmp_path):
    from orchestration.runtime.rebuild import rebuild

    one, two = source("one"), source("two")
    test = StreamTest(both(one, two), home=tmp_path)
    add(one, 1, k="a")
    add(two, 1, k="b")
    test.drain()
    for path in tmp_path.glob("cursors.db*"):
        path.unlink()
    with test.query.open(clock=test.clock) as session:
        rebuild(session)
    test.restart()
    assert test.drain()[0].progress.replayed
    add(two, 1, k="c")
    test.drain()
    assert ks(test) == ["a", "b", "c"]


def test_a_reset_reads_both_again():
    one, two = source("one"), source("two")
    test = StreamTest(both(one, two))
    add(one, 1, k="a")
    add(two, 1, k="b")
    test.drain()
    test.query.reset()
    assert ks(test) == []
    test.drain()
    assert ks(test) == ["a", "b"]


class Landing:
    """Two directories of newline JSON."""

    def __init__(self, root):
        self.root = root
        self.clock = ManualClock()
        self.settings = Settings.load(home=root / "home")

    def land(self, name, number, *lines):
        place = self.root / name
        place.mkdir(exist_ok=True)
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (place / f"{number}.json").write_text("".join(text + "\n" for text in texts))

    def query(self, **options):
        schema = {"id": "BIGINT", "v": "VARCHAR"}
        left, right = (
            stream(files(str(self.root / name), name=name, schema=schema, **options))
            for name in ("l", "r")
        )
        sink = delta_sink("both")
        return StreamingQuery("both", left.union(right), sink=sink, settings=self.settings)

    def run(self, **options):
        return self.query(**options).execute(clock=self.clock)

    def ids(self):
        from orchestration.runtime.contents import table_rows

        return sorted(row["id"] for row in table_rows(self.settings.tables_uri("both")))


def test_a_preview_says_what_each_would_read(tmp_path):
    landing = Landing(tmp_path)
    for name, number in (("l", 1), ("r", 2)):
        landing.land(name, number, {"id": number, "v": "x"})
    landing.run()
    landing.land("l", 3, {"id": 3, "v": "z"})
    with landing.query().open(clock=landing.clock) as session:
        found = preview(session)
    ((left, right),) = found.batches
    assert (len(left.files), len(right.files)) == (1, 0)
    assert [part.source for part in found.slices] == ["l"]
    assert (len(found.backlog.files), found.backlog.seen) == (1, 3)
    summary = landing.run()
    assert summary.seen_files == 3
    assert landing.ids() == [1, 2, 3]


def test_bad_records_of_either_are_set_aside(tmp_path):
    landing = Landing(tmp_path)
    landing.land("l", 1, {"id": 1, "v": "x"}, "{bad")
    landing.land("r", 2, {"id": 2, "v": "x"}, "{bad")
    (batch,) = landing.run().batches
    assert (batch.quarantined_rows, batch.num_output_rows) == (2, 2)
    assert [(item.files, item.num_input_rows) for item in batch.sources] == [(1, 2), (1, 2)]


def test_what_is_there_already_is_left_out_of_either(tmp_path):
    landing = Landing(tmp_path)
    landing.land("l", 1, {"id": 1, "v": "x"})
    landing.land("r", 2, {"id": 2, "v": "x"})
    assert landing.run(include_existing=False).batches == []
    landing.land("r", 3, {"id": 3, "v": "x"})
    landing.run(include_existing=False)
    landing.land("l", 4, {"id": 4, "v": "x"})
    landing.run(include_existing=False)
    assert landing.ids() == [3, 4]
    landing.query(include_existing=False).reset()
    landing.run(include_existing=False)
    assert landing.ids() == [3, 4]


def test_a_blocked_batch_names_its_files_and_is_skipped_whole(tmp_path):
    from orchestration.errors import BadRecords, BatchBlocked
    from orchestration.runtime.blocked import skip_to_quarantine

    landing = Landing(tmp_path)
    landing.land("l", 1, {"id": 1, "v": "x"})
    landing.land("r", 2, "{bad")
    for _ in range(landing.settings.max_failures):
        with pytest.raises(BadRecords):
            landing.run(on_bad_record="fail")
    with pytest.raises(BatchBlocked, match="1.json, 2.json"):
        landing.run(on_bad_record="fail")
    with landing.query().open(clock=landing.clock) as session:
        skip_to_quarantine(session)
    (batch,) = landing.run(on_bad_record="fail").batches
    assert (batch.skipped, batch.quarantined_rows) == (True, 2)
    landing.land("l", 3, {"id": 3, "v": "x"})
    landing.run(on_bad_record="fail")
    assert landing.ids() == [3]


def test_a_copy_for_a_proof_holds_both(tmp_path):
    from orchestration.runtime.scratch import copy_input, in_scratch

    landing = Landing(tmp_path)
    for number in range(6):
        landing.land("l", number, {"id": number, "v": "x"})
    landing.land("r", 9, {"id": 9, "v": "x"})
    copied = copy_input(landing.query(), tmp_path / "copy", max_bytes=10**6, clock=landing.clock)
    assert (copied.files, copied.left_out, copied.max_files, copied.batches) == (7, 0, 2, 3)
    scratch = in_scratch(landing.query(), copied.directory, tmp_path / "other")
    scratch.execute(available_now(max_files=copied.max_files), clock=landing.clock)
    landing.settings = scratch.settings
    assert landing.ids() == [0, 1, 2, 3, 4, 5, 9]
