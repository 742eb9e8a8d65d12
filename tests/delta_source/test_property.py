"""Any writers, any crashes, any cuts: each appended row once, each change once, in order."""

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration import once
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.delta_source.table import Follower

APPENDS = st.sampled_from(["append", "many", "optimize", "delete", "checkpoint", "property"])
READS = st.one_of(
    st.just("run"), st.just("once"), st.sampled_from([f"crash {p}" for p in CRASH_POINTS])
)
MANY = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Writer:
    """Writes, and remembers what a stream from the start has to give."""

    def __init__(self, follower):
        self.follower = follower
        self.given = []
        self.held = {}

    def do(self, what):
        f = self.follower
        if what == "append":
            self.append()
        elif what == "many":  # several files in one commit
            self.append(count=4, parts=3)
        elif what == "optimize":
            f.there.optimize.compact()
        elif what == "delete":
            f.there.delete(f"id % 7 = {f.next_id % 7}")
            self.held = {k: v for k, v in self.held.items() if k % 7 != f.next_id % 7}
        elif what == "update":
            f.there.update({"v": f"'u{f.next_id}'"}, predicate="id % 3 = 0")
            new = f"u{f.next_id}"
            self.held = {k: new if k % 3 == 0 else v for k, v in self.held.items()}
        elif what == "checkpoint":
            f.there.create_checkpoint()
        else:
            f.there.alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "3"})

    def append(self, count=2, parts=1):
        f = self.follower
        table = f.rows(count)
        table = table.append_column("p", pa.array([str(n % parts) for n in range(count)]))
        f.write(table, partition_by=["p"])
        ids = table["id"].to_pylist()
        self.given += ids
        self.held |= {number: f"v{number}" for number in ids}


def carry_out(follower, what):
    if what == "run":
        follower.run()
    elif what == "once":
        follower.run(once())
    else:
        follower.crash_at(what.removeprefix("crash "))


@MANY
@given(
    steps=st.lists(st.one_of(APPENDS, READS), min_size=1, max_size=12),
    limit=st.sampled_from([None, 1, 2]),
)
def test_every_appended_row_comes_once(steps, limit):
    with tempfile.TemporaryDirectory() as root:
        f = Follower(root, on_change="ignore_deletes", starting_version=0, max_files=limit)
        writer = Writer(f)
        writer.append()
        for step in steps:
            if step == "run" or " " in step or step == "once":
                carry_out(f, step)
            else:
                writer.do(step)
        f.run()
        assert f.ids() == sorted(writer.given)
        assert f.run() == []


@MANY
@given(
    steps=st.lists(
        st.one_of(st.sampled_from(["append", "many", "optimize", "delete", "update"]), READS),
        min_size=1,
        max_size=12,
    ),
    limit=st.sampled_from([None, 1, 2]),
    start=st.sampled_from([None, 0]),
)
def test_the_changes_give_the_table_whatever_happens(steps, limit, start):
    with tempfile.TemporaryDirectory() as root:
        options = {} if start is None else {"starting_version": start}
        f = Follower(Path(root), change_feed=True, preimages="delete", max_files=limit, **options)
        writer = Writer(f)
        f.write(
            f.rows(1).append_column("p", pa.array(["0"])),
            configuration={"delta.enableChangeDataFeed": "true"},
            partition_by=["p"],
        )
        writer.held[0] = "v0"
        for step in steps:
            if step == "run" or " " in step or step == "once":
                carry_out(f, step)
            else:
                writer.do(step)
        f.run()
        held = {}
        found = f.copied().sort("_sequence")
        assert found["_sequence"].n_unique() == len(found)
        for op, key, value in found.select("_op", "id", "v").rows():
            if op == "delete":
                held.pop(key, None)
            else:
                held[key] = value
        assert held == writer.held
        assert f.run() == []
