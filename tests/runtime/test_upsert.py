"""Changed groups in the place of old ones: right after any history, whoever else writes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.engine.duckdb import DuckDBEngine
from orchestration.errors import SinkError, SinkReplaced, SinkSchemaChanged
from orchestration.runtime.upsert import attempt_of, rebuild
from orchestration.sinks.outdated import UpsertOutdated
from orchestration.sinks.snapshot import read_snapshot
from tests.support.upserts import Upserts, ordered, replaced

SCHEMA = pa.schema([("p", pa.string()), ("k", pa.int64()), ("n", pa.int64())])
ODD = ["a b", "100%", "a#b", "é/ü", "x=y", "a%20b", "[z]*", "'\"", "?", ":", "+&", "\\", None]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = DuckDBEngine("512MiB", 2, tmp_path_factory.mktemp("spill"))
    yield engine
    engine.close()


@pytest.fixture
def world(engine, tmp_path):
    return Upserts(engine, tmp_path, SCHEMA, ("p", "k"))


def row(p, k, n=0):
    return {"p": p, "k": k, "n": n}


# -- what an upsert does ---------------------------------------------------------------------------


def test_changed_groups_replace_old_ones_and_the_rest_stays(world):
    world.batch([row("a", 1), row("a", 2), row(None, 1), row("a", None)])
    seal = world.batch([row("a", 2, 9), row(None, 1, 9), row("b", 7, 9)])
    assert ordered(world.rows()) == ordered(
        [row("a", 1), row("a", None), row("a", 2, 9), row(None, 1, 9), row("b", 7, 9)]
    )
    changes = seal.tables["sink"]
    assert sum(item.rows for item in changes.given) == 3
    assert sum(item.rows for item in changes.adds) == 5
    assert world.delta().count() == 5  # by the log's numbers


def test_files_without_a_key_are_not_touched(world):
    for number in range(4):
        world.batch([row("a", 10 * number + k) for k in range(3)])
    before = world.paths()
    seal = world.batch([row("a", 11, 9), row("a", 21, 9), row("a", 25, 9)])
    removed = {item.path for item in seal.tables["sink"].removes}
    assert len(removed) == 2
    assert before - world.paths() == removed


def test_a_file_of_which_nothing_is_left_is_only_taken_out(world):
    world.batch([row("a", 1), row("a", 2)])
    seal = world.batch([row("a", 1, 9), row("a", 2, 9)])
    assert len(seal.tables["sink"].adds) == len(world.paths()) == 1


def test_without_keys_the_table_is_one_row(engine, tmp_path):
    world = Upserts(engine, tmp_path, pa.schema([("n", pa.int64())]), ())
    for n in range(3):
        world.batch([{"n": n}])
        assert world.rows() == [{"n": n}]
    assert not world.seal([]).tables["sink"]


def test_little_is_left_lying_about(world):
    """Many small batches over the same keys do not leave as many files."""
    for number in range(30):
        world.batch([row("a", (number * 5 + step) % 12, number) for step in (0, 1, 7)])
    assert len(world.paths()) < 8


@pytest.mark.parametrize("keys", [("p", "k"), ("k",)])
def test_partitions_of_any_name(engine, tmp_path, keys):
    world = Upserts(engine, tmp_path, SCHEMA, keys, partition_by=("p",))
    first = [row(p, 2 * n + k) for n, p in enumerate(ODD) for k in range(2)]
    second = [row(p, 2 * n, 1) for n, p in enumerate(ODD)]
    world.batch(first)
    seal = world.batch(second)
    assert len(seal.tables["sink"].removes) == len(ODD)
    assert ordered(world.rows()) == ordered(replaced(first, second, keys))
    # Moved to another partition, if the partition is no part of the key.
    moved = [row("a b", 2 * n, 2) for n in range(len(ODD))]
    world.batch(moved)
    assert ordered(world.rows()) == ordered(replaced(replaced(first, second, keys), moved, keys))
    entry = Path(world.uri) / f"_delta_log/{world.delta().version():020d}.json"
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    removes = [item["remove"] for item in actions if "remove" in item]
    assert all(item["path"].startswith("p=") and item["size"] > 0 for item in removes)
    assert {item["partitionValues"]["p"] for item in removes} <= set(ODD)


def test_partitions_without_a_key_of_the_batch_are_not_opened(engine, tmp_path, monkeypatch):
    world = Upserts(engine, tmp_path, SCHEMA, ("p", "k"), partition_by=("p",))
    world.batch([row(f"p{n}", 1) for n in range(8)])
    done = []
    rewrite = engine.rewrite
    monkeypatch.setattr(engine, "rewrite", lambda job: done.append(rewrite(job)) or done[-1])
    world.batch([row("p3", 1, 9), row("p9", 1, 9)])
    assert [(one.looked_at, len(one.removed)) for one in done] == [(1, 1)]


def test_partitions_of_every_type(engine, tmp_path):
    schema = pa.schema(
        [("day", pa.date32()), ("at", pa.timestamp("us", "UTC")), ("b", pa.bool_()),
         ("i", pa.int32()), ("n", pa.int64())]
    )  # fmt: skip
    keys = ("day", "at", "b", "i")
    world = Upserts(engine, tmp_path, schema, keys, partition_by=keys)
    at = datetime(2026, 1, 1, 0, 0, 0, 123999, UTC)
    places = [
        {"day": at.date(), "at": at, "b": True, "i": 1},
        {"day": at.date(), "at": at + timedelta(microseconds=1), "b": False, "i": -1},
        dict.fromkeys(keys),
    ]
    world.batch([{**place, "n": 0} for place in places])
    values = [item.partition_values for item in read_snapshot(world.table).files]
    assert {
        "day": "2026-01-01", "at": "2026-01-01 00:00:00.123999", "b": "true", "i": "1"
    } in values  # fmt: skip
    seal = world.batch([{**places[0], "n": 1}, {**places[2], "n": 1}])
    assert len(seal.tables["sink"].removes) == 2
    assert sorted(row["n"] for row in world.rows()) == [0, 1, 1]


def test_a_partition_of_empty_text_is_not_taken_for_another_group(engine, tmp_path):
    world = Upserts(engine, tmp_path, SCHEMA, ("p", "k"), partition_by=("p",))
    world.batch([row("a", 1)])
    with pytest.raises(SinkError, match="2 rows for 1 values of its key") as caught:
        world.seal([row("", 1), row(None, 1)])
    assert "coalesce" in caught.value.remedy


# -- others write too ------------------------------------------------------------------------------


def test_a_foreign_append_between_compute_and_commit_is_replaced_too(world):
    world.batch([row("a", 1), row("a", 2)])
    seal = world.seal([row("a", 1, 9)])
    world.foreign_append([row("a", 1, 5), row("b", 1, 5)])
    with pytest.raises(UpsertOutdated, match="added rows"):
        world.commit_once(seal)
    new = world.commit(seal)
    assert ordered(world.rows()) == ordered([row("a", 2), row("a", 1, 9), row("b", 1, 5)])
    assert world.rebuilt == 1
    assert new.attempt != seal.attempt == attempt_of(new, "quarantine")
    assert new.tables["sink"].given == seal.tables["sink"].given


def test_a_foreign_compaction_between_compute_and_commit_doubles_nothing(world):
    for k in range(3):
        world.batch([row("a", k), row("b", k)])
    seal = world.seal([row("a", 1, 9)])
    world.foreign_compact()
    world.commit(seal)
    assert world.rebuilt == 1
    rows = [row(p, k) for p in "ab" for k in range(3)]
    assert ordered(world.rows()) == ordered(replaced(rows, [row("a", 1, 9)], ("p", "k")))


def test_a_compaction_of_other_files_does_not_matter(engine, tmp_path):
    world = Upserts(engine, tmp_path, SCHEMA, ("p", "k"), partition_by=("p",))
    world.batch([row("a", 1), row("a", 2)])
    world.batch([row("b", 1)])
    world.batch([row("b", 2)])
    seal = world.seal([row("a", 1, 9)])
    world.foreign_compact()
    world.commit(seal)
    assert world.rebuilt == 0
    assert ordered(world.rows()) == ordered([row("a", 2), row("b", 1), row("b", 2), row("a", 1, 9)])


@pytest.mark.parametrize("foreign", ["append", "compact", "delete", "properties"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_commit_between_check_and_commit(world, foreign, overwrite):
    first = [row("a", 1), row("a", 2), row("b", 3)]
    world.batch(first[:2])
    world.batch(first[2:])
    done = []

    def get_in_between():
        if done:
            return
        done.append(True)
        if foreign == "append":
            world.foreign_append([row("a", 1, 5), row("c", 1, 5)])
        elif foreign == "compact":
            world.foreign_compact()
        elif foreign == "delete":
            world.delta().delete("k = 2")
        else:
            world.delta().alter.set_table_name("renamed")

    new = [row("a", 1, 9)]
    world.commit(world.seal(new, overwrite=overwrite), still_ours=get_in_between)
    others = [row("c", 1, 5)] if foreign == "append" else []
    stay = [item for item in first if foreign != "delete" or item["k"] != 2]
    expected = new if overwrite else replaced([*stay, *others], new, ("p", "k"))
    assert ordered(world.rows()) == ordered(expected)


def test_a_log_entry_that_is_gone_is_not_trusted(world):
    world.batch([row("a", 1)])
    seal = world.seal([row("a", 1, 9)])
    world.foreign_append([row("a", 1, 5)])
    version = world.delta().version()
    world.delta().create_checkpoint()
    (Path(world.uri) / f"_delta_log/{version:020d}.json").unlink()
    with pytest.raises(UpsertOutdated, match="is gone"):
        world.commit_once(seal)


def test_a_rebuild_may_itself_be_outdated(world):
    world.batch([row("a", 1)])
    seal = world.seal([row("a", 1, 9)])
    for n in range(3):
        world.foreign_append([row("a", 1, n)])
        seal = rebuild(world.session, world.plan(), seal)
    world.foreign_append([row("a", 1, 7)])
    world.commit(seal)
    assert world.rows() == [row("a", 1, 9)]


def test_a_crash_after_the_commit_and_then_again(world):
    world.batch([row("a", 1), row("a", 2)])
    seal = world.seal([row("a", 1, 9)])
    first = world.commit_once(seal)
    world.foreign_append([row("a", 1, 5)])
    world.foreign_compact()
    again = world.commit_once(seal)
    assert (again.version, again.repeated) == (first.version, True)
    assert ordered(world.rows()) == ordered([row("a", 1, 9), row("a", 2), row("a", 1, 5)])


def test_an_old_seal_of_a_rebuilt_batch_never_commits(world):
    world.batch([row("a", 1), row("a", 2)])
    old = world.seal([row("a", 1, 9)])
    world.foreign_append([row("a", 3)])
    world.commit(old)
    from orchestration.errors import CursorStoreBehindSink

    with pytest.raises(CursorStoreBehindSink):
        world.commit_once(old)
    assert len(world.rows()) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.alter.set_table_properties({"delta.appendOnly": "true"}), "additions"),
        (
            lambda t: t.alter.set_table_properties({"delta.enableChangeDataFeed": "true"}),
            "change data feed",
        ),
        (
            lambda t: t.alter.add_feature(
                _features().DeletionVectors, allow_protocol_versions_increase=True
            ),
            "deletion vectors",
        ),
    ],
)
def test_a_table_that_cannot_be_changed_this_way_is_refused(world, change, why):
    world.batch([row("a", 1)])
    change(world.delta())
    with pytest.raises(SinkSchemaChanged, match=why):
        world.seal([row("a", 1, 9)])
    assert world.rows() == [row("a", 1)]


def _features():
    from deltalake import TableFeatures

    return TableFeatures


def test_a_file_that_another_writer_named_its_own_way_is_not_doubled(world):
    world.batch([row("a", 1), row("a", 2)])
    (path,) = world.paths()
    (Path(world.uri) / path).rename(Path(world.uri) / "é.parquet")
    entry = Path(world.uri) / f"_delta_log/{world.delta().version():020d}.json"
    entry.write_text(entry.read_text().replace(path, "é.parquet"))
    with pytest.raises(SinkError, match="delta-rs cannot take out"):
        world.seal([row("a", 1, 9)])
    seal = world.seal([row("b", 1, 9)])
    world.commit_once(seal)
    assert len(world.rows()) == 3


def test_a_table_that_is_gone(world):
    import shutil

    shutil.rmtree(world.uri)
    with pytest.raises(SinkReplaced, match="gone"):
        world.seal([row("a", 1)])


# -- complete --------------------------------------------------------------------------------------


def test_complete_replaces_everything_in_one_commit(world):
    world.batch([row("a", 1), row("b", 2)], overwrite=True)
    world.foreign_append([row("z", 1)])
    version = world.delta().version()
    world.batch([row("a", 1, 9)], overwrite=True)
    assert world.rows() == [row("a", 1, 9)]
    assert world.delta().version() == version + 1


def test_complete_does_not_replace_a_table_that_only_takes_additions(world):
    world.batch([row("a", 1)], overwrite=True)
    world.delta().alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    world.batch([row("a", 2)], overwrite=True)
    world.delta().alter.set_table_properties({"delta.appendOnly": "true"})
    seal = world.seal([row("a", 3)], overwrite=True)
    with pytest.raises(SinkSchemaChanged, match="additions"):
        world.commit_once(seal)
    feed = pa.table(world.delta().load_cdf(starting_version=3).read_all())
    kinds = zip(feed["_change_type"].to_pylist(), feed["k"].to_pylist(), strict=True)
    assert sorted(kinds) == [("delete", 1), ("insert", 2)]


def test_complete_without_rows_empties_the_table_once(world):
    world.batch([row("a", 1)])
    seal = world.seal([], overwrite=True)
    first = world.commit_once(seal)
    assert world.rows() == []
    assert world.commit_once(seal).repeated
    assert world.delta().version() == first.version


# -- readers, and any history ----------------------------------------------------------------------


@pytest.mark.parametrize("partition_by", [(), ("p",)])
def test_readers_agree_and_skip_nothing(engine, tmp_path, partition_by):
    world = Upserts(engine, tmp_path, SCHEMA, ("p", "k"), partition_by=partition_by)
    names = ["a b", "x/y%", "é", None, "z" * 40]
    rows = []
    for number in range(6):
        new = [row(p, (3 * number + n) % 7, number) for n, p in enumerate(names)]
        rows = replaced(rows, new, ("p", "k"))
        world.batch(new)
    truth = duckdb.connect()
    truth.register("t", pa.Table.from_pylist(rows, schema=SCHEMA))
    for predicate in [
        "true",
        *(f"k = {k}" for k in range(8)),
        *(f"p = '{p}'" for p in names if p),
        "p IS NULL",
        "n > 3 AND k < 4",
        "p >= 'x' AND n = 5",
        f"p > '{'z' * 32}'",
    ]:
        query = f"SELECT p, k, n FROM t WHERE {predicate}"
        expected = ordered(truth.sql(query).to_arrow_table().to_pylist())
        found = QueryBuilder().register("t", DeltaTable(world.uri)).execute(query)
        assert ordered(pa.table(found.read_all()).to_pylist()) == expected
        frame = pl.SQLContext(t=pl.scan_delta(world.uri)).execute(query).collect()
        assert ordered(frame.to_dicts()) == expected
        arrow = duckdb.connect()
        arrow.register("t", DeltaTable(world.uri).to_pyarrow_dataset())
        assert ordered(arrow.sql(query).to_arrow_table().to_pylist()) == expected


_rows = st.lists(
    st.builds(
        row,
        st.sampled_from(["a b", "é%", "#", "z" * 33, None]),
        st.none() | st.integers(0, 6) | st.sampled_from([-(2**63), 2**63 - 1]),
        st.integers(0, 99),
    ),
    max_size=6,
    unique_by=lambda item: (item["p"], item["k"]),
)
_foreign = st.sampled_from([None, None, "append", "compact", "delete"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(_rows, _foreign, _foreign, st.booleans()), min_size=1, max_size=6),
    st.sampled_from([(), ("p",)]),
    st.sampled_from([("p", "k"), ("k",)]),
)
def test_any_history_equals_the_oracle(engine, tmp_path_factory, history, partition_by, keys):
    world = Upserts(engine, tmp_path_factory.mktemp("any"), SCHEMA, keys, partition_by=partition_by)
    rows = []

    def interfere(kind):
        if kind == "append":
            theirs = [row("é%", 3, 1000), row(None, None, 1000)]
            world.foreign_append(theirs)
            rows.extend(theirs)
        elif kind == "compact":
            world.foreign_compact()
        elif kind == "delete":
            world.delta().delete("n >= 50 AND n < 1000")
            rows[:] = [item for item in rows if not 50 <= item["n"] < 1000]

    for given_, before, between, crash in history:
        new = list({tuple(item[key] for key in keys): item for item in given_}.values())
        seal = world.seal(new)
        interfere(before)
        done = []

        def once(kind=between, done=done):
            if not done:
                done.append(True)
                interfere(kind)

        seal = world.commit(seal, still_ours=once)
        rows[:] = replaced(rows, new, keys)
        if crash and seal.tables["sink"]:
            assert world.commit_once(seal).repeated
        assert ordered(world.rows()) == ordered(rows)


def test_on_an_object_store(engine, tmp_path, s3, monkeypatch):
    monkeypatch.setattr("orchestration.runtime.upsert._GROUP_FILES", 2)
    world = Upserts(
        engine, tmp_path, SCHEMA, ("p", "k"), partition_by=("p",), uri=f"{s3.uri}/lake/totals"
    )
    first = [row(p, k) for p in ("a b", "100%", "é", None) for k in range(3)]
    second = [row(p, 1, 1) for p in ("a b", "100%", None, "new")]
    world.batch(first)
    seal = world.seal(second)
    world.foreign_append([row("100%", 1, 5), row("100%", 9, 5)])
    world.commit(seal)
    assert world.rebuilt == 1
    expected = replaced([*first, row("100%", 9, 5)], second, ("p", "k"))
    assert ordered(world.rows()) == ordered(expected)
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    seal = world.seal([row("é", 0, 2)])
    world.foreign_compact()
    world.commit(seal)
    assert ordered(world.rows()) == ordered(replaced(expected, [row("é", 0, 2)], ("p", "k")))
