"""Change streams in memory, and what their tables have to hold: a model of a few lines."""

import contextlib

from orchestration import stream
from orchestration.sinks.scd import scd1_sink, scd2_sink
from orchestration.testing import MemoryStream, SimulatedCrash, StreamTest

SCHEMA = {
    "_op": "VARCHAR",
    "_sequence": "VARCHAR",
    "id": "BIGINT",
    "name": "VARCHAR",
    "seen": "BIGINT",
}
VALUES = ("name", "seen")


def seq(number):
    """A sequence as sources write it: it sorts bytewise."""
    return f"{number:08d}"


def up(key, number, name, seen=0, op="update"):
    return {"_op": op, "_sequence": seq(number), "id": key, "name": name, "seen": seen}


def gone(key, number):
    return {"_op": "delete", "_sequence": seq(number), "id": key, "name": None, "seen": None}


def cleared(number):
    return {"_op": "truncate", "_sequence": seq(number), "id": None, "name": None, "seen": None}


class Feed:
    """A change stream in memory into an SCD table of its own.

    Args:
        scd_type: 1 or 2.
        sink_options: For the sink.
        options: For :class:`StreamTest`.
    """

    def __init__(self, scd_type=1, *, schema=None, declare=None, sink_options=None, **options):
        self.scd_type = scd_type
        self.source = MemoryStream(schema or SCHEMA)
        made = scd1_sink if scd_type == 1 else scd2_sink
        declared = (declare or (lambda rows: rows))(stream(self.source))
        sink = made("table", **{"keys": "id", **(sink_options or {})})
        self.test = StreamTest(declared, sink=sink, **options)
        self.given = []

    def add(self, *changes):
        self.given += changes
        self.source.add([dict(change) for change in changes])

    def batch(self, *changes):
        """Changes as one batch; what it did."""
        self.add(*changes)
        (done,) = self.test.drain()
        return done

    def counts(self, *changes):
        """Changes as one batch; inserted, updated, deleted, ignored."""
        return tuple(self.batch(*changes).progress.details["changes"].values())

    def die(self, point):
        """Die there in the next drain, if it gets there."""
        self.test.crash_at(point)
        with contextlib.suppress(SimulatedCrash):
            self.test.drain()
            self.test.restart()
            return False
        self.test.restart()
        return True

    def rows(self):
        return sorted_rows(self.test.table())

    def expected(self):
        """What the table has to hold of everything that was given."""
        return sorted_rows(model1(self.given) if self.scd_type == 1 else model2(self.given))

    @property
    def uri(self):
        return self.test.settings.tables_uri("table")


def sorted_rows(rows):
    return sorted(rows, key=lambda row: (row["id"], row.get("__start_at") or "", row["name"] or ""))


def model1(changes):
    """Current rows: all changes applied in the order of their sequence."""
    return [
        {**row, "__sequence": since}
        for rows in _histories(changes)
        for row, since in rows[-1:]
        if row
    ]


def model2(changes, untracked=(), *, spares=False):
    """History: a row for each state, from when until when."""
    found = []
    for states in _histories(changes, spares=spares):
        open_ = None
        for row, since in states:
            if open_ is not None and row is not None and _same(open_, row, untracked):
                open_ |= {name: row[name] for name in untracked}
                continue
            if open_ is not None:
                open_["__end_at"] = since
            open_ = None
            if row is not None:
                open_ = {**row, "__start_at": since, "__end_at": None}
                found.append(open_)
    return found


def _same(left, right, untracked):
    return all(left[name] == right[name] for name in VALUES if name not in untracked)


def _histories(changes, *, spares=False):
    """For each key its states in time: the row, or None where there is none, and since when."""
    truncates = {item["_sequence"] for item in changes if item["_op"] == "truncate"}
    keys = {item["id"] for item in changes if item["_op"] != "truncate"}
    for key in sorted(keys):
        ours = [item for item in changes if item["id"] == key]
        states = []
        for at in sorted({item["_sequence"] for item in ours} | truncates):
            now = [item for item in ours if item["_sequence"] == at]
            if at in truncates and not (spares and now):
                states.append((None, at))  # what was before ends, even where it begins anew
            if any(item["_op"] == "delete" for item in now):
                row = None
            elif now:
                best = max(
                    now, key=lambda item: [(item[v] is not None, item[v] or 0) for v in VALUES]
                )
                row = {name: best[name] for name in ("id", *VALUES)}
            else:
                row = None  # truncated
            states.append((row, at))
        yield states
