"""Any changes, in any order and batches, however often, whatever dies: the model's table."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.testing import CRASH_POINTS
from tests.scd.runtime.feeds import Feed, cleared, gone, model2, seq, sorted_rows, up

_keys = st.integers(0, 3)
_moments = st.integers(0, 12)


def _moved(key, other, at, name):
    """A key that changes: its row is deleted, and inserted under another key right after."""
    before, after = gone(key, at), up(other, at, name, op="insert")
    return [
        {**before, "_sequence": f"{seq(at)}/0"},
        {**after, "_sequence": f"{seq(at)}/1"},
    ]


_change = st.one_of(
    st.builds(
        lambda *a: [up(*a)], _keys, _moments, st.sampled_from(["a", "b", None]), st.integers(0, 2)
    ),
    st.builds(lambda *a: [up(*a)], _keys, _moments, st.sampled_from("ab"), st.integers(0, 2)),
    st.builds(lambda *a: [gone(*a)], _keys, _moments),
    st.builds(_moved, _keys, _keys, _moments, st.sampled_from("ab")),
    st.builds(lambda at: [cleared(at)], _moments),
)
_log = st.lists(_change, min_size=1, max_size=24).map(
    lambda found: [c for part in found for c in part]
)


@st.composite
def histories(draw):
    """A log of changes, shuffled and partly doubled, cut into batches, with where each dies."""
    log = draw(_log)
    doubled = draw(st.lists(st.sampled_from(log), max_size=6))
    order = draw(st.permutations([*log, *doubled]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=3)))
    edges = [0, *cuts, len(order)]
    batches = [order[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]
    points = st.none() | st.sampled_from(CRASH_POINTS)
    return [(batch, draw(points)) for batch in batches]


@pytest.mark.parametrize(
    ("scd_type", "untracked", "partition_by"),
    [(1, (), ()), (1, (), "name"), (2, (), ()), (2, ("seen",), ())],
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_the_table_is_what_the_model_says(scd_type, untracked, partition_by, history):
    options = {"partition_by": partition_by}
    if untracked:
        options["track_columns_except"] = untracked
    feed = Feed(scd_type, sink_options=options)
    for changes, point in history:
        feed.add(*changes)
        if point is not None:
            feed.die(point)
        feed.test.drain()
    expected = feed.expected()
    if untracked:
        expected = sorted_rows(model2(feed.given, untracked=untracked))
    assert feed.rows() == expected
    feed.test.query.reprocess()
    found = feed.test.query.verify()
    assert found.passed, found.reason


@st.composite
def snapshots(draw):
    """Rows of full snapshots, shuffled and cut into batches."""
    contents = st.dictionaries(_keys, st.sampled_from("ab"), min_size=1)
    of = draw(st.dictionaries(_moments, contents, min_size=1, max_size=5))
    rows = [up(key, at, name) for at, found in of.items() for key, name in found.items()]
    order = draw(st.permutations(rows))
    cut = draw(st.integers(0, len(order)))
    return [batch for batch in (order[:cut], order[cut:]) if batch]


@pytest.mark.parametrize("scd_type", [1, 2])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(snapshots())
def test_full_snapshots_in_any_order(scd_type, history):
    feed = Feed(scd_type, sink_options={"full_snapshots": True})
    for rows in history:
        feed.add(*rows)
        feed.test.drain()
    marks = [cleared(int(item["_sequence"])) for item in feed.given]
    feed.given += marks
    expected = feed.expected()
    if scd_type == 2:
        expected = sorted_rows(model2(feed.given, spares=True))
    assert feed.rows() == expected


def test_a_row_says_what_an_upsert_of_its_sequence_had_said_otherwise():
    """Two upserts of one sequence: the first altered a row in place, the greater one began its own."""
    feed = Feed(2, sink_options={"track_columns_except": "seen"})
    feed.batch(up(2, 21, "a", 1), up(2, 53, "c", 2))
    feed.batch(up(2, 37, "a", 2), up(2, 40, "a", 0))
    feed.batch(up(2, 37, "b", 2))
    feed.batch(gone(2, 1))
    assert feed.rows() == sorted_rows(model2(feed.given, untracked=("seen",)))
