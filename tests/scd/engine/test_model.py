"""Whatever changes come in whatever order and batches, the table is what the model says."""

from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.streams.change_spec import ChangeSpec
from tests.scd.engine.kept import Kept
from tests.scd.engine.model import Model

SCHEMA = pa.schema(
    [
        ("k", pa.int64()),
        ("j", pa.string()),
        ("a", pa.string()),
        ("b", pa.string()),
        ("c", pa.string()),
        ("s", pa.string()),
        ("op", pa.string()),
        ("unchanged", pa.list_(pa.string())),
    ]
)


def spec(scd_type, **more):
    return ChangeSpec(
        scd_type=scd_type,
        keys=("k", "j"),
        sequence="s",
        columns=("a", "k", "b", "j", "c"),
        delete_when="op = 'delete'",
        **more,
    )


TRUNCATES = {"truncate_when": "op = 'truncate'"}
SPECS = {
    "what is": spec(1, **TRUNCATES),
    "what is, no truncates": spec(1),
    "what is, unchanged": spec(1, unchanged="unchanged", **TRUNCATES),
    "what is, nulls ignored": spec(1, ignore_null_updates=("a", "c")),
    "what is, both": spec(1, ignore_null_updates=("b",), unchanged="unchanged", **TRUNCATES),
    "what is, flagged": spec(1, soft_delete="gone", **TRUNCATES),
    "what is, flagged, unchanged": spec(1, soft_delete="gone", unchanged="unchanged", **TRUNCATES),
    "history": spec(2, tracked=("a", "b", "c"), **TRUNCATES),
    "history of a column": spec(2, tracked=("a",), **TRUNCATES),
    "history of nothing": spec(2, tracked=()),
    "history, unchanged": spec(2, tracked=("a", "b", "c"), unchanged="unchanged", **TRUNCATES),
    "what is, snapshots": spec(1, spares=True, **TRUNCATES),
    "history, snapshots": spec(2, tracked=("a", "b"), spares=True, **TRUNCATES),
    "history, unchanged, snapshots": spec(
        2, tracked=("a", "c"), unchanged="unchanged", spares=True, **TRUNCATES
    ),
    "history of two, both": spec(
        2, tracked=("a", "b"), unchanged="unchanged", ignore_null_updates=("c",), **TRUNCATES
    ),
}

_values = st.sampled_from([None, "", "x", "y"])
_moments = st.integers(0, 9).map("{:04d}".format)


@st.composite
def _changes(draw, truncates):
    op = draw(st.sampled_from(["upsert"] * 5 + ["delete"] * 2 + ["truncate"] * truncates))
    change = {
        "k": draw(st.integers(1, 2) | st.integers(1, 6)),
        "j": draw(st.sampled_from(["p", "q"])) if draw(st.booleans()) else "p",
        **{name: draw(_values) for name in "abc"},
        "s": draw(_moments),
        "op": op,
        "unchanged": draw(st.none() | st.lists(st.sampled_from("abc"), max_size=2, unique=True)),
    }
    if op == "truncate":
        change |= dict.fromkeys("kjabc")
    if op == "delete" and draw(st.booleans()):
        change |= dict.fromkeys("abc")
    return change


@st.composite
def _batches(draw, truncates):
    """Batches of changes, some of them delivered again with or after the first time."""
    log = draw(st.lists(_changes(truncates), min_size=1, max_size=14))
    again = draw(st.lists(st.sampled_from(log), max_size=6))
    log = draw(st.permutations(log + again)) if draw(st.booleans()) else log + again
    batches = [[]]
    for change in log:
        if draw(st.integers(0, 2)) == 0:
            batches.append([])
        batches[-1].append(change)
    return [batch for batch in batches if batch]


def follow(spec, batches):
    """Put the batches in one after another; after each the table is as the model says."""
    seen = []
    with closing(Kept(spec, SCHEMA)) as kept:
        for batch in batches:
            before = kept.rows()
            kept.batch(batch)
            seen += batch
            wanted = Model(spec).rows(seen)
            assert kept.rows() == wanted
            # Nothing is rewritten but what differs.
            assert kept.added == len(set(wanted) - set(before))
            assert kept.removed == len(set(before) - set(wanted))
        for batch in batches:
            kept.batch(batch)
            assert (kept.added, kept.removed, kept.remembered) == (0, 0, 0)


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_batches_equal_the_model(name, data):
    spec = SPECS[name]
    follow(spec, data.draw(_batches(spec.truncate_when is not None)))


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_batches_equal_the_model_at_length(name, data):
    spec = SPECS[name]
    follow(spec, data.draw(_batches(spec.truncate_when is not None)))
