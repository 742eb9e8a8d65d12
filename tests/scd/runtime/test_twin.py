"""The full reprocess of changes: all of them in one pass, and the same table."""

import pytest

from orchestration.errors import IncompatibleQuery
from orchestration.sinks.scd import scd1_sink, scd2_sink
from tests.scd.runtime.feeds import Feed, gone, up


def proved(feed):
    done, found = feed.test.query.reprocess(), feed.test.query.verify()
    assert found.passed, found.reason
    return done


def test_after_what_was_deleted_is_forgotten_it_runs_batch_by_batch():
    feed = Feed(sink_options={"tombstone_retention": "1 hour"})
    feed.batch(up(1, 1, "a"), up(2, 1, "b"))
    feed.batch(gone(1, 5), up(2, 7, "B"))
    feed.test.clock.advance(3700)
    feed.batch(up(1, 3, "late"), gone(2, 9))
    feed.batch(up(3, 1, "c"))
    done = proved(feed)
    assert done.replayed
    assert any("forgotten" in note for note in done.notes)


def test_a_change_of_the_table_by_others_shows():
    from deltalake import DeltaTable

    feed = Feed()
    feed.batch(up(1, 1, "a"), up(2, 1, "b"))
    DeltaTable(feed.uri).delete("id = 1")
    feed.test.query.reprocess()
    found = feed.test.query.verify()
    assert (found.outcome, found.only_full) == ("different", 1)


# -- another declaration -----------------------------------------------------------------------------


def declared_anew(feed, sink):
    feed.test.query = type(feed.test.query)(
        feed.test.query.name, feed.test.query.stream, sink=sink, settings=feed.test.settings
    )


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        (scd2_sink("table", "id"), "output mode"),
        (scd1_sink("table", ["id", "name"]), "keys was id and is id, name"),
        (scd1_sink("table", "id", sequence_by="seen"), "sequence_by"),
        (scd1_sink("table", "id", except_columns="seen"), '"seen"'),
        (scd1_sink("table", "id", soft_delete="dead"), '"dead"'),
        (scd1_sink("table", "id", partition_by="name"), "partition_by"),
    ],
)
def test_what_the_table_cannot_carry_is_refused(sink, said):
    feed = Feed()
    feed.batch(up(1, 1, "a"))
    declared_anew(feed, sink)
    feed.add(up(1, 2, "b"))
    with pytest.raises(IncompatibleQuery, match=said):
        feed.test.drain()


@pytest.mark.parametrize(
    "sink",
    [
        scd1_sink("table", "id", delete_when="name = 'x'"),
        scd1_sink("table", "id", apply_truncates=False),
        scd1_sink("table", "id", ignore_null_updates=True),
        scd1_sink("table", "id", tombstone_retention="1 hour"),
        scd1_sink("table", "id", soft_delete="dead", schema_evolution="add_columns"),
    ],
)
def test_what_it_can_goes_on(sink):
    feed = Feed()
    feed.batch(up(1, 1, "a"), up(2, 1, "b"))
    feed.batch(gone(2, 5))
    declared_anew(feed, sink)
    feed.batch(up(1, 2, "c"), up(2, 3, "late"))
    there = [row for row in feed.rows() if not row.get("dead")]
    assert [(row["id"], row["name"]) for row in there] == [(1, "c")]
    feed.test.query.reprocess()
    assert feed.test.query.verify().outcome in {"identical", "not_comparable"}
