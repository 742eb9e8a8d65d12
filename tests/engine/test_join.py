"""Joins: semantics §6, and the cases J1, J2, J3 and J8 of §9, batch for batch."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.engine.stateful.job import LateRows
from orchestration.errors import FileChanged
from orchestration.streams.operators import DropDuplicates
from orchestration.streams.plan import Chain, JoinRoot, JoinSide
from tests.engine.join_support import (
    JoinQuery,
    Rows,
    interval_join,
    plain_join,
    static_join,
    watermarked,
    window_join,
)
from tests.engine.stateful_support import schema


def lefts(*rows):
    return [{"k": key, "lt": time} for key, time in rows]


def rights(*rows):
    return [{"k2": key, "rt": time} for key, time in rows]


def seconds(moment):
    return None if moment is None else moment.timestamp()


def shown(rows):
    """Rows as tuples, times in seconds, sorted."""
    found = [
        tuple(seconds(value) if hasattr(value, "timestamp") else value for value in row.values())
        for row in rows
    ]
    return sorted(found, key=str)


def test_j1_inner_without_watermark(tmp_path):
    query = JoinQuery(tmp_path, plain_join())
    assert query.batch(left=[{"k": 1, "a": 1}]) == []
    assert shown(query.batch(right=[{"k2": 1, "b": 5}])) == [(1, 1, 5)]
    assert shown(query.batch(right=[{"k2": 1, "b": 6}])) == [(1, 1, 6)]
    assert shown(query.batch(left=[{"k": 1, "a": 2}])) == [(1, 2, 5), (1, 2, 6)]
    assert query.counts == (4, 0, 0)
    assert query.batch(left=[{"k": None, "a": 3}], right=[{"k2": None, "b": 7}]) == []
    assert query.counts == (4, 0, 0)


def test_j2_inner(tmp_path):
    query = JoinQuery(tmp_path, interval_join())
    assert shown(query.batch(left=lefts((1, 10), (2, 10)), right=rights((1, 12)))) == [
        (1, 10, 1, 12)
    ]
    assert query.counts == (3, 0, 0)
    assert query.batch(right=rights((3, 20))) == []
    assert query.counts == (4, 0, 0)
    assert shown(query.batch(left=lefts((9, 30)), right=rights((9, 30)))) == [(9, 30, 9, 30)]
    assert query.counts == (6, 0, 0)
    assert query.batch() == []
    assert (query.watermark, query.counts) == (20_000, (3, 3, 0))
    assert query.batch(left=lefts((4, 10)), right=rights((4, 13))) == []
    assert query.counts == (3, 0, 2)
    assert query.batch(left=lefts((6, 20))) == []
    assert query.counts == (3, 0, 1)
    assert shown(query.batch(left=lefts((9, 50)), right=rights((9, 50)))) == [(9, 50, 9, 50)]
    assert query.batch() == []
    assert (query.watermark, query.counts) == (40_000, (2, 3, 0))


def test_j2_left_outer(tmp_path):
    query = JoinQuery(tmp_path, interval_join("left"))
    assert shown(query.batch(left=lefts((1, 10), (2, 10)), right=rights((1, 12)))) == [
        (1, 10, 1, 12)
    ]
    assert query.batch(right=rights((3, 20))) == []
    assert shown(query.batch(left=lefts((9, 30)), right=rights((9, 30)))) == [(9, 30, 9, 30)]
    assert shown(query.batch()) == [(2, 10, None, None)]
    assert query.counts == (3, 3, 0)
    assert query.batch(left=lefts((4, 10)), right=rights((4, 13))) == []
    assert query.counts == (3, 0, 2)
    assert query.batch() == []


def test_j3_left_outer_by_windows(tmp_path):
    query = JoinQuery(tmp_path, window_join("left"))
    first = query.batch(
        left=lefts(*((n, n) for n in range(1, 6))), right=rights(*((n, n) for n in range(3, 8)))
    )
    assert shown(first) == [(3, 3, 3, 3), (4, 4, 4, 4), (5, 5, 5, 5)]
    assert query.counts == (10, 0, 0)
    assert shown(query.batch(left=lefts((0, 30)), right=rights((0, 30)))) == [(0, 30, 0, 30)]
    assert shown(query.batch()) == [(1, 1, None, None), (2, 2, None, None)]
    assert (query.watermark, query.counts) == (20_000, (2, 10, 0))
    assert query.batch(left=lefts((1, 5))) == []
    assert query.counts == (2, 0, 1)


@pytest.mark.parametrize("how", ["right", "full"])
def test_right_rows_come_out_alone_when_they_leave(tmp_path, how):
    query = JoinQuery(tmp_path, interval_join(how))
    assert shown(query.batch(left=lefts((1, 10), (2, 10)), right=rights((1, 12), (7, 13)))) == [
        (1, 10, 1, 12)
    ]
    assert query.batch(left=lefts((9, 30)), right=rights((8, 30))) == []
    alone = [(None, None, 7, 13)]
    if how == "full":
        alone = [(2, 10, None, None), *alone]
    assert shown(query.batch()) == sorted(alone, key=str)
    assert query.counts == (2, 4, 0)


def test_an_old_row_matched_later_does_not_come_out_alone(tmp_path):
    query = JoinQuery(tmp_path, interval_join("full"))
    query.batch(left=lefts((1, 10), (2, 10)))
    assert shown(query.batch(right=rights((1, 12)))) == [(1, 10, 1, 12)]
    assert shown(query.batch(right=rights((1, 13)))) == [(1, 10, 1, 13)]
    flags = [run for run in query.state.operators["join_1"].runs if run.part == "left_matched"]
    assert sum(run.rows for run in flags) == 1
    query.batch(left=lefts((9, 40)), right=rights((9, 40)))
    assert shown(query.batch()) == [(2, 10, None, None)]
    assert query.counts == (2, 4, 0)


def test_rows_that_leave_in_the_batch_they_come_in(tmp_path):
    query = JoinQuery(tmp_path, interval_join("left"))
    query.batch(left=lefts((9, 40)), right=rights((9, 40)))
    # Not late (by the watermark before), and already past the one in force.
    given = query.batch(left=lefts((1, 10), (2, 11)), right=rights((1, 12)))
    assert shown(given) == [(1, 10, 1, 12), (2, 11, None, None)]
    assert query.counts == (2, 0, 0)
    assert query.batch() == []


def test_semi_gives_a_row_once(tmp_path):
    query = JoinQuery(tmp_path, interval_join("semi"))
    assert shown(query.batch(left=lefts((1, 10), (2, 10)), right=rights((1, 12)))) == [(1, 10)]
    assert query.counts == (2, 0, 0)  # left 2 and right 1: what had its match is not kept
    assert query.batch(right=rights((1, 13))) == []
    assert shown(query.batch(right=rights((2, 13), (2, 14)))) == [(2, 10)]
    assert query.batch(right=rights((2, 15))) == []
    assert shown(query.batch(left=lefts((2, 11)))) == [(2, 11)]


def test_anti_gives_what_leaves_without_a_match(tmp_path):
    query = JoinQuery(tmp_path, interval_join("anti"))
    assert query.batch(left=lefts((1, 10), (2, 10), (3, 10)), right=rights((1, 12))) == []
    assert query.batch(right=rights((2, 13))) == []
    assert query.batch(left=lefts((9, 40)), right=rights((9, 40))) == []
    assert shown(query.batch()) == [(3, 10)]


def test_null_keys_of_an_outer_side_come_out_alone(tmp_path):
    query = JoinQuery(tmp_path, interval_join("left"))
    assert query.batch(left=lefts((None, 10)), right=rights((None, 12))) == []
    assert query.counts == (1, 0, 0)
    query.batch(left=lefts((9, 40)), right=rights((9, 40)))
    assert shown(query.batch()) == [(None, 10, None, None)]


def test_null_event_times_never_match_and_never_leave(tmp_path):
    query = JoinQuery(tmp_path, interval_join("left"))
    assert query.batch(left=lefts((1, None)), right=rights((1, None))) == []
    assert query.counts == (1, 0, 0)


def test_a_condition_over_both_sides(tmp_path):
    query = JoinQuery(tmp_path, plain_join("inner", "l.a + r.b > 10"))
    query.batch(left=[{"k": 1, "a": 1}, {"k": 1, "a": 9}])
    assert shown(query.batch(right=[{"k2": 1, "b": 5}])) == [(1, 9, 5)]


def test_keys_of_two_types_meet(tmp_path):
    static = schema(k2="INTEGER", name="VARCHAR")
    table = pa.table({"k2": [1, 2], "name": ["x", "y"]}, schema=static)
    query = JoinQuery(tmp_path, static_join("inner", static), statics={"pages": Rows(table)})
    assert shown(query.batch(left=[{"k": 2, "a": "p"}])) == [(2, "p", 2, "y")]


PAGES = schema(k2="BIGINT", name="VARCHAR")
XYZ = pa.table({"k2": [1, 1, 2], "name": ["x", "y", "z"]}, schema=PAGES)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("inner", [(1, "p", 1, "x"), (1, "p", 1, "y")]),
        ("left", [(1, "p", 1, "x"), (1, "p", 1, "y"), (3, "q", None, None)]),
        ("semi", [(1, "p")]),
        ("anti", [(3, "q")]),
    ],
)
def test_j8_stream_and_static(tmp_path, how, expected):
    query = JoinQuery(tmp_path, static_join(how, PAGES), statics={"pages": Rows(XYZ)})
    rows = [{"k": 1, "a": "p"}, {"k": 3, "a": "q"}]
    for _ in range(2):  # and nothing is remembered
        assert shown(query.batch(left=rows)) == expected
        assert query.output.operators == ()
    assert query.batch() == []


def test_static_join_with_a_condition(tmp_path):
    plan = static_join("left", PAGES, "r.name <> 'x' OR l.a = 'x'")
    query = JoinQuery(tmp_path, plan, statics={"pages": Rows(XYZ)})
    assert shown(query.batch(left=[{"k": 1, "a": "p"}, {"k": 2, "a": "q"}])) == [
        (1, "p", 1, "y"),
        (2, "q", 2, "z"),
    ]


def test_arrival_order_outlives_a_static_join(tmp_path):
    joined = static_join("inner", PAGES)
    plan = Chain(joined.root, (DropDuplicates("dedup_1", ("k",)),))
    query = JoinQuery(tmp_path, plan, statics={"pages": Rows(XYZ)})
    # Each row meets two; the first row of the key wins, and one of what it became.
    rows = [{"k": 1, "a": "late in the alphabet"}, {"k": 1, "a": "early"}]
    assert shown(query.batch(left=rows)) == [(1, "late in the alphabet", 1, "x")]


KEYS = st.sampled_from([1, 2, 3, None])
TIMES = st.one_of(st.none(), st.integers(0, 60))
SIDE = st.lists(st.tuples(KEYS, TIMES), max_size=5)
BATCHES = st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=8)
HOWS = ["inner", "left", "right", "full", "semi", "anti"]


class Model:
    """The rules, one row after the other."""

    def __init__(self, how):
        self.how = how
        self.state = ([], [])  # of [row, expiry, matched]

    def batch(self, left, right, late, due):
        """What a batch gives, and the numbers of its state: rows, removed, late."""
        fresh = ([], [])
        dropped = 0
        for place, rows in enumerate((left, right)):
            for key, time in rows:
                if time is not None and time <= late:
                    dropped += 1
                    continue
                expiry = None if time is None else time + (5 if place == 0 else 0)
                fresh[place].append([(key, time), expiry, False])
        pairs = [(one, two) for one in self.state[0] + fresh[0] for two in fresh[1]]
        pairs += [(one, two) for one in fresh[0] for two in self.state[1]]
        given = []
        for one, two in pairs:
            (key, time), (other, at) = one[0], two[0]
            if None in (key, other, time, at) or key != other or not time <= at <= time + 5:
                continue
            if self.how in HOWS[:4]:
                given.append((key, time, other, at))
            if self.how == "semi" and not one[2]:
                given.append((key, time))
            one[2] = two[2] = True
        removed = 0
        for place, alone in ((0, {"left", "full", "anti"}), (1, {"right", "full"})):
            kept = []
            for item in self.state[place] + fresh[place]:
                row, expiry, matched = item
                old = any(item is other for other in self.state[place])
                if expiry is not None and expiry < due:
                    removed += old
                    if self.how in alone and not matched:
                        empty = (None, None)
                        both = (*row, *empty) if place == 0 else (*empty, *row)
                        given.append(row if self.how == "anti" else both)
                    continue
                outer = self.how in alone
                if not old and not outer and None in row:
                    continue
                if not old and place == 0 and self.how in {"semi", "anti"} and matched:
                    continue
                kept.append(item)
            self.state[place][:] = kept
        return sorted(given, key=str), (sum(map(len, self.state)), removed, dropped)


@pytest.mark.parametrize("how", HOWS)
@given(batches=BATCHES)
@settings(max_examples=6, deadline=None)
def test_batches_follow_the_rules_and_equal_the_full_reprocess(how, batches):
    with TemporaryDirectory() as directory:
        query = JoinQuery(Path(directory) / "batches", interval_join(how))
        model = Model(how)
        everything, late_files = Counter(), []
        for left, right in [*batches, ([], []), ([], [])]:
            given = shown(query.batch(left=lefts(*left), right=rights(*right)))
            expected, counts = model.batch(left, right, query.late / 1000, query.watermark / 1000)
            assert given == expected
            assert query.counts == counts
            everything += Counter(given)
            late_files += [str(query.directory / "late" / file.path) for file in query.output.late]
        full = JoinQuery(
            Path(directory) / "full", interval_join(how), full=LateRows(tuple(late_files), 99)
        )
        full.watermark = query.watermark
        whole = full.batch(
            left=[row for left, _ in batches for row in lefts(*left)],
            right=[row for _, right in batches for row in rights(*right)],
        )
        assert Counter(shown(whole)) == everything


def test_what_goes_wrong_in_a_static_table_is_told_as_it_was(tmp_path):
    class Broken(Rows):
        def reader(self):
            def batches():
                raise FileChanged("pages.parquet was planned and has changed since")
                yield

            return pa.RecordBatchReader.from_batches(self.table.schema, batches())

    query = JoinQuery(tmp_path, static_join("inner", PAGES), statics={"pages": Broken(XYZ)})
    with pytest.raises(FileChanged, match=r"pages\.parquet"):
        query.batch(left=[{"k": 1, "a": "p"}])


@pytest.mark.parametrize("how", HOWS)
def test_a_window_join_equals_its_full_reprocess(tmp_path, how):
    query = JoinQuery(tmp_path / "batches", window_join(how))
    batches = [
        (lefts((1, 3), (2, 4), (None, 5), (1, None)), rights((2, 4), (3, 9))),
        (lefts((5, 41)), rights((5, 42), (6, 33))),
        ([], []),
        (lefts((3, 9), (6, 34)), rights((3, 9))),  # late, and in time
        (lefts((7, 90)), rights((7, 91))),
    ]
    everything, late_files = Counter(), []
    for left, right in [*batches, ([], [])]:
        everything += Counter(shown(query.batch(left=left, right=right)))
        late_files += [str(query.directory / "late" / file.path) for file in query.output.late]
    assert late_files
    full = JoinQuery(tmp_path / "full", window_join(how), full=LateRows(tuple(late_files), 99))
    full.watermark = query.watermark
    whole = full.batch(
        left=[row for left, _ in batches for row in left],
        right=[row for _, right in batches for row in right],
    )
    assert Counter(shown(whole)) == everything


def test_late_rows_of_one_side_are_not_left_out_on_the_other(tmp_path):
    both = schema(k="BIGINT", lt="TIMESTAMPTZ")
    sides = [
        JoinSide(watermarked(name, both, "lt"), ('"k"',), "lt", expiry_expression="epoch_us(lt)")
        for name in ("left", "right")
    ]
    chosen = (("k", 'l."k"'), ("r", 'r."k"'))
    plan = Chain(JoinRoot("join_1", *sides, "full", "l.lt = r.lt", chosen))
    query = JoinQuery(tmp_path / "batches", plan)
    given = shown(query.batch(left=lefts((1, 5), (9, 40)), right=lefts((9, 40))))
    given += shown(query.batch())
    given += shown(query.batch(right=lefts((1, 5))))  # the same as a row of the other, but late
    assert sorted(given, key=str) == [(1, None), (9, 9)]
    late_files = tuple(str(query.directory / "late" / file.path) for file in query.output.late)
    full = JoinQuery(tmp_path / "full", plan, full=LateRows(late_files, 99))
    full.watermark = query.watermark
    assert shown(full.batch(left=lefts((1, 5), (9, 40)), right=lefts((9, 40), (1, 5)))) == [
        (1, None),
        (9, 9),
    ]
